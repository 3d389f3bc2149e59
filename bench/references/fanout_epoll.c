/* Fan-out by a plain C program: each frame is built once and handed to send() for every socket.
 * The handshake is not checked; commands come as `run BURST RATE SECONDS` lines on stdin.
 * usage: fanout_epoll PORT */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SIZE 300
static int clients[4096], count;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void send_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EAGAIN) {
                struct pollfd room = {fd, POLLOUT, 0};
                poll(&room, 1, 1000);
                continue;
            }
            return;
        }
        data += sent;
        size -= sent;
    }
}

static void publish(int burst, int64_t stamp) {
    static char frames[64 * (SIZE + 4)];
    char text[SIZE + 1];
    int head = snprintf(text, sizeof text, "{\"type\":\"memory_update\",\"exchange\":{\"content\":\"sent_ns=%019lld ",
                        (long long)stamp);
    memset(text + head, 'x', SIZE - head - 3);
    memcpy(text + SIZE - 3, "\"}}", 3);
    for (int i = 0; i < burst; i++) {
        char *frame = frames + i * (SIZE + 4);
        memcpy(frame, (char[]){(char)0x81, 126, SIZE >> 8, SIZE & 255}, 4);
        memcpy(frame + 4, text, SIZE);
    }
    for (int i = 0; i < count; i++)
        send_all(clients[i], frames, (size_t)burst * (SIZE + 4));
}

static void run(int burst, double rate, double seconds) {
    int64_t began = now_ns(), end = began + (int64_t)(seconds * 1e9), step = rate > 0 ? (int64_t)(burst / rate * 1e9) : 0;
    long sent = 0;
    for (int64_t due = began; (step ? due : now_ns()) < end; due += step, sent += burst) {
        while (step && now_ns() < due) {
            int64_t rest = due - now_ns() - 100000;
            if (rest > 0)
                nanosleep(&(struct timespec){0, rest < 999999999 ? rest : 999999999}, NULL);
        }
        publish(burst, step ? due : now_ns());
    }
    printf("{\"events\": %ld, \"seconds\": %.6f}\n", sent, (now_ns() - began) / 1e9);
    fflush(stdout);
}

static void welcome(int listener) {
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    char request[4096];
    int fd = accept(listener, NULL, NULL), one = 1;
    if (fd < 0 || count == 4096 || recv(fd, request, sizeof request, 0) <= 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    send_all(fd, answer, sizeof answer - 1);
    clients[count++] = fd;
}

int main(int argc, char **argv) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024))
        return perror("listen"), 1;
    struct pollfd sources[2] = {{listener, POLLIN, 0}, {0, POLLIN, 0}};
    setvbuf(stdin, NULL, _IONBF, 0);
    while (poll(sources, 2, -1) >= 0) {
        char line[256];
        int burst;
        double rate, seconds;
        if (sources[0].revents)
            welcome(listener);
        if (sources[1].revents) {
            if (!fgets(line, sizeof line, stdin))
                return 0;
            if (sscanf(line, "run %d %lf %lf", &burst, &rate, &seconds) == 3 && burst <= 64)
                run(burst, rate, seconds);
        }
    }
    return 0;
}
