/* One process that holds many WebSocket clients, counts the events they receive and samples their latency,
 * cheaply enough never to be the bottleneck.
 *
 * usage: ws_sink HOST PORT PATH CLIENTS HEADERS_FILE SUBSCRIBE
 *   HEADERS_FILE  one line for each client: more request headers, separated by `|` ("-": none)
 *   SUBSCRIBE     a text frame each client sends once it is connected ("-": none)
 * Prints {"connected": N} when every client is connected (and every `subscribed` has come), then obeys lines on stdin:
 *   start STRIDE TARGET  count from zero, sample each STRIDE-th event; prints {"reached": ns} at TARGET events (0: never)
 *   report               prints the counts since `start`
 * An event is a text frame with the mark `sent_ns=` and 19 digits of CLOCK_MONOTONIC. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (1 << 20)
#define SLOTS 1000000 /* latency histogram: 10 µs each, the last one holds all above 10 s */
static const char MARK[] = "sent_ns=";

struct client { int fd; size_t have, room; char *rest; };
static struct client *clients;
static int total, subscribed, closed, waiting_for_subscribed;
static char chunk[CHUNK];
static uint32_t latency[SLOTS];
static uint64_t events, others, gaps, bytes, target, stride = 1, sampled;
static int64_t first_sent, last_received, began, worst;
static double cpu_began;
static ptrdiff_t mark_at;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void fail(const char *what) { perror(what); exit(1); }

/* The digits behind the mark, looked for first where the last event had them. */
static const char *stamp(const char *text, size_t size) {
    const size_t mark = sizeof MARK - 1;
    if (mark_at + mark + 19 <= size && !memcmp(text + mark_at, MARK, mark))
        return text + mark_at + mark;
    const char *found = memmem(text, size, MARK, mark);
    if (!found || found + mark + 19 > text + size)
        return NULL;
    mark_at = found - text;
    return found + mark;
}

static void on_event(const char *digits, int64_t now) {
    int64_t sent = 0;
    if (++events == target) {
        printf("{\"reached\": %lld}\n", (long long)now);
        fflush(stdout);
    }
    last_received = now;
    if (first_sent && events % stride)
        return;
    for (int i = 0; i < 19; i++)
        sent = sent * 10 + (digits[i] - '0');
    if (!first_sent || sent < first_sent)
        first_sent = sent;
    int64_t took = now - sent, slot = took < 0 ? 0 : took / 10000;
    latency[slot < SLOTS ? slot : SLOTS - 1]++;
    sampled++;
    if (took > worst)
        worst = took;
}

static void on_text(const char *text, size_t size, int64_t now) {
    const char *digits = stamp(text, size);
    if (digits) {
        on_event(digits, now);
        return;
    }
    others++;
    if (memmem(text, size, "\"type\":\"gap\"", 12))
        gaps++;
    else if (memmem(text, size, "\"subscribed\"", 12) && ++subscribed == total && waiting_for_subscribed) {
        waiting_for_subscribed = 0;
        printf("{\"connected\": %d}\n", total);
        fflush(stdout);
    }
}

static void send_frame(int fd, int opcode, const char *data, size_t size) {
    char frame[8 + 1000] = {(char)(0x80 | opcode)}; /* the mask is zero: the text goes as it is */
    int head = 2;
    if (size > 1000)
        size = 1000;
    frame[1] = (char)(0x80 | (size < 126 ? size : 126));
    if (size >= 126) {
        frame[2] = size >> 8, frame[3] = size & 255;
        head = 4;
    }
    memcpy(frame + head + 4, data, size);
    if (send(fd, frame, head + 4 + size, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
        closed++;
}

/* Handle the whole frames in data; returns how many bytes they took. */
static size_t take_frames(struct client *client, const char *data, size_t size, int64_t now) {
    size_t at = 0;
    while (size - at >= 2) {
        const unsigned char *head = (const unsigned char *)data + at;
        size_t length = head[1] & 127, skip = 2;
        if (length == 126) {
            if (size - at < 4)
                break;
            length = head[2] << 8 | head[3], skip = 4;
        } else if (length == 127) {
            if (size - at < 10)
                break;
            length = (size_t)head[6] << 24 | head[7] << 16 | head[8] << 8 | head[9], skip = 10;
        }
        if (size - at < skip + length)
            break;
        const char *payload = data + at + skip;
        switch (head[0] & 15) {
        case 1: case 2: on_text(payload, length, now); break;
        case 8: fprintf(stderr, "closed by the server: %d\n", length >= 2 ? (uint8_t)payload[0] << 8 | (uint8_t)payload[1] : 0); break;
        case 9: send_frame(client->fd, 10, payload, length); break;
        }
        at += skip + length;
    }
    return at;
}

static void keep_rest(struct client *client, const char *data, size_t size) {
    if (size > client->room && !(client->rest = realloc(client->rest, client->room = size)))
        fail("realloc");
    client->have = size;
    memmove(client->rest, data, size);
}

static void on_readable(struct client *client) {
    memcpy(chunk, client->rest, client->have);
    ssize_t got = recv(client->fd, chunk + client->have, CHUNK - client->have, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        closed++;
        close(client->fd);
        return;
    }
    bytes += got;
    size_t size = client->have + got, taken = take_frames(client, chunk, size, now_ns());
    keep_rest(client, chunk + taken, size - taken);
}

static void join(struct client *client, struct sockaddr_in *address, const char *host, const char *path, const char *headers) {
    char request[16384], *end = NULL;
    int one = 1, size = snprintf(request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", path, host, ntohs(address->sin_port));
    for (const char *c = headers; *c && *c != '\n' && size < (int)sizeof request - 8; c++)
        size += *c == '|' ? sprintf(request + size, "\r\n") : (request[size] = *c, 1);
    size += sprintf(request + size, *headers && *headers != '\n' ? "\r\n\r\n" : "\r\n");
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(client->fd, (struct sockaddr *)address, sizeof *address) || send(client->fd, request, size, 0) != size)
        fail("connect");
    for (size = 0; !end; end = memmem(chunk, size, "\r\n\r\n", 4)) {
        ssize_t got = recv(client->fd, chunk + size, 65536 - size, 0);
        if (got <= 0)
            fail("handshake");
        size += got;
    }
    if (memcmp(chunk, "HTTP/1.1 101", 12)) {
        fprintf(stderr, "handshake refused: %.*s\n", size, chunk);
        exit(1);
    }
    keep_rest(client, end + 4, size - (end + 4 - chunk));
}

static double at_share(double share) {
    uint64_t seen = 0, wanted = (uint64_t)(share * sampled);
    for (int i = 0; i < SLOTS; i++)
        if ((seen += latency[i]) > wanted)
            return (i + 0.5) / 100;
    return 0;
}

static void report(void) {
    double wall = (now_ns() - began) / 1e9;
    printf("{\"events\": %llu, \"others\": %llu, \"gaps\": %llu, \"closed\": %d, \"bytes\": %llu, \"seconds\": %.6f, "
           "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"samples\": %llu, \"cpu_share\": %.4f}\n",
           (unsigned long long)events, (unsigned long long)others, (unsigned long long)gaps, closed, (unsigned long long)bytes,
           events ? (last_received - first_sent) / 1e9 : 0, at_share(0.5), at_share(0.99), worst / 1e6,
           (unsigned long long)sampled, (cpu_seconds() - cpu_began) / wall);
    fflush(stdout);
}

static void obey(const char *line) {
    unsigned long long every, wanted;
    if (sscanf(line, "start %llu %llu", &every, &wanted) == 2) {
        memset(latency, 0, sizeof latency);
        events = others = gaps = bytes = sampled = 0;
        first_sent = last_received = worst = 0;
        stride = every ? every : 1, target = wanted;
        cpu_began = cpu_seconds(), began = now_ns();
        printf("{\"started\": %lld}\n", (long long)began);
        fflush(stdout);
    } else if (sscanf(line, "expect %llu", &wanted) == 1) {
        target = wanted;
        if (events >= target) {
            printf("{\"reached\": %lld}\n", (long long)last_received);
            fflush(stdout);
        }
    } else
        report();
}

int main(int argc, char **argv) {
    if (argc != 7)
        return fprintf(stderr, "usage: ws_sink HOST PORT PATH CLIENTS HEADERS_FILE SUBSCRIBE\n"), 2;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    struct epoll_event ready[1024], interest = {.events = EPOLLIN};
    char line[8192] = "";
    int poller = epoll_create1(0), subscribe = strcmp(argv[6], "-") != 0;
    FILE *headers = strcmp(argv[5], "-") ? fopen(argv[5], "r") : NULL;
    inet_pton(AF_INET, argv[1], &address.sin_addr);
    total = atoi(argv[4]);
    clients = calloc(total, sizeof *clients);
    for (int i = 0; i < total; i++) {
        if (headers && !fgets(line, sizeof line, headers))
            return fprintf(stderr, "%s has fewer than %d lines\n", argv[5], total), 1;
        join(&clients[i], &address, argv[1], argv[3], line);
        fcntl(clients[i].fd, F_SETFL, O_NONBLOCK);
        interest.data.ptr = &clients[i];
        epoll_ctl(poller, EPOLL_CTL_ADD, clients[i].fd, &interest);
        size_t taken = take_frames(&clients[i], clients[i].rest, clients[i].have, now_ns());
        keep_rest(&clients[i], clients[i].rest + taken, clients[i].have - taken);
        if (subscribe)
            send_frame(clients[i].fd, 1, argv[6], strlen(argv[6]));
    }
    waiting_for_subscribed = subscribe;
    if (!subscribe)
        printf("{\"connected\": %d}\n", total);
    fflush(stdout);
    interest.data.ptr = NULL;
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &interest);
    setvbuf(stdin, NULL, _IONBF, 0);
    for (;;) {
        int count = epoll_wait(poller, ready, 1024, -1);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.ptr)
                on_readable(ready[i].data.ptr);
            else if (fgets(line, sizeof line, stdin))
                obey(line);
            else
                return 0;
        }
    }
}
