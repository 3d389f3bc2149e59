// The connection to the gateway: a small state machine that keeps itself alive and resumes where it stopped.
//
//   idle → authorising → opening → subscribing → live
//             ↑______________ waiting (countdown) ←__________/     stopped: only a person can go on from here

import { ApiError } from "./api.js";
import { newMessageId, Requests } from "./requests.js";

const DISPLAY = "system.gateway";
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;
const HANDSHAKE_MS = 10_000;
const SILENCE_MS = 20_000;
const PONG_MS = 10_000;
const STEADY_MS = 5_000;
// How many past events a page that has seen none yet asks for.
const HISTORY = 200;
// Urgent events may overtake others, so a resumed connection can bring some of the last ones again.
const REMEMBERED = 5_000;

const CONTROL = new Set([
  "connected", "subscribed", "response", "error", "pong", "ping", "gap", "duplicate_ack", "curator_checkin",
  "connection_quality", "summary", "peripheral_update", "warmup", "gateway_state", "replay_started", "replay_controlled",
  "replay_ended",
]);
const ANSWERS = new Set(["response", "error", "duplicate_ack", "replay_started", "replay_controlled"]);

// Errors that may be gone at the next try.
const PASSING = new Set(["unavailable", "timeout", "rate_limited", "internal"]);

// Close codes after which coming back at once would not help.
const STOPPING = {
  4403: "The gateway does not let this page in: its address is not among the allowed origins.",
  4409: "Too many dashboards are open in this browser, or under this name. Close one, then reconnect.",
};
const REASONS = {
  1001: "The gateway is shutting down",
  1006: "The gateway can't be reached",
  1011: "The gateway made a mistake",
  1012: "The gateway is restarting",
  1013: "The gateway can't read the event log now",
  4000: "This page read too slowly",
  4401: "The connection's token ended",
  4408: "The gateway got no token in time",
  4429: "The gateway refused the rate of messages",
};

/** Wait before attempt n (from 1): doubles from 0.5 s up to 30 s, of which the upper half is left to chance. */
export function delay(attempt, random = Math.random) {
  const whole = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt - 1, 10));
  return whole / 2 + (whole / 2) * random();
}

/**
 * One connection for the life of a sign-in.
 *
 * `token()` gives a fresh WebSocket token, `url()` the gateway's address; both may reject with an ApiError.
 * `onState({phase, attempt, retryAt, reason, epoch, head, id})` is told of every step (`head` is the newest cursor there
 * was when the gateway let us in, `id` the connection's), `onEvent(frame, text)` of every event,
 * `onGatewayState(frame)` of the status display while it is watched, `onReplay(frame, text)` of a replay's events and end,
 * `onGap(frame, text)` of what the gateway says is missing, `onRefused(error)` when the ingress no longer knows us.
 */
export class Connection {
  constructor({ token, url, onState, onEvent, onGap, onGatewayState, onReplay, onRefused }) {
    Object.assign(this, { token, url, onState, onEvent, onGap, onGatewayState, onReplay, onRefused });
    this.state = { phase: "idle", attempt: 0, retryAt: null, reason: "", epoch: null, head: null, id: "" };
    this.requests = new Requests();
    this.watching = false;
    // Everything up to this cursor has come: where to resume from.
    this.upTo = null;
    this.seen = new Set();
    this.round = 0;
    this.pingedAt = 0;
  }

  /** Connect now, whatever was planned; nothing when connected or about to be. */
  async start() {
    if (["authorising", "opening", "subscribing", "live"].includes(this.state.phase)) return;
    clearTimeout(this.timer);
    this.round += 1;
    const round = this.round;
    this.#set({ phase: "authorising", retryAt: null });
    try {
      const [url, { token }] = await Promise.all([this.url(), this.token()]);
      if (round === this.round) this.#open(url, token);
    } catch (error) {
      if (round === this.round) this.#onApiError(error);
    }
  }

  /** Close for good: no reconnecting, no further callbacks but the last state. */
  stop() {
    this.#drop();
    this.#set({ phase: "idle", attempt: 0, retryAt: null, reason: "" });
  }

  /** Run a command over the socket; rejects with an ApiError. */
  command(name, data, messageId) {
    if (this.state.phase === "live") return this.requests.send(this.socket, name, data, messageId);
    return Promise.reject(new ApiError("unreachable", "There is no connection to the gateway just now."));
  }

  /** Ask for a replay, or for something of one: `{type: replay | replay_control, …}`. Rejects with an ApiError. */
  replay(frame) {
    if (this.state.phase === "live") return this.requests.ask(this.socket, { ...frame, message_id: newMessageId() });
    return Promise.reject(new ApiError("unreachable", "There is no connection to the gateway just now."));
  }

  /** Have the gateway's status display sent every few seconds, or no longer. */
  watchGateway(wanted) {
    if (this.watching === wanted) return;
    this.watching = wanted;
    if (this.state.phase === "live") this.#askForDisplay();
  }

  #askForDisplay() {
    this.#say({ type: this.watching ? "subscribe" : "unsubscribe", topics: [DISPLAY] });
  }

  #say(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  #open(url, token) {
    this.#set({ phase: "opening" });
    const socket = new WebSocket(url, ["switchyard.v1", `token.${token}`]);
    this.socket = socket;
    this.timer = setTimeout(() => this.#lost("The gateway did not answer in time"), HANDSHAKE_MS);
    socket.onmessage = ({ data }) => this.#onFrame(data);
    socket.onclose = ({ code, reason }) => this.#onClose(code, reason);
  }

  #onFrame(text) {
    this.heardAt = Date.now();
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (frame.type === "replay_ended" || (frame.replay_id && !CONTROL.has(frame.type))) {
      this.onReplay(frame, text);
    } else if (!CONTROL.has(frame.type)) {
      this.#acknowledge(frame);
      if (this.#isNew(frame)) this.onEvent(frame, text);
    } else if (frame.type === "connected") {
      this.#subscribe(frame);
    } else if (frame.type === "subscribed") {
      if (this.state.phase === "subscribing") this.#onLive();
    } else if (frame.type === "gap") {
      this.#onGapFrame(frame, text);
    } else if (frame.type === "error" && this.state.phase === "subscribing") {
      const said = `The gateway refused the subscription: ${frame.message ?? frame.code}`;
      if (PASSING.has(frame.code)) this.#lost(said);
      else this.#halt(said);
    } else if (ANSWERS.has(frame.type)) {
      this.requests.settle(frame);
    } else if (frame.type === "gateway_state") {
      this.onGatewayState(frame);
    } else if (frame.type === "curator_checkin") {
      // Whatever it asks for has come: it was sent before, on this same line.
      for (const { message_id } of frame.missing_updates ?? []) this.#say({ type: "ack", message_id });
    }
  }

  // Whoever sends a critical event wants to know that it was seen; of those before our time nobody asks.
  #acknowledge({ priority, message_id, cursor }) {
    if (priority !== "critical" || !message_id || !(cursor > (this.state.head ?? -1))) return;
    this.#say({ type: "ack", message_id });
  }

  // An event that overtook older ones says in `since` from where to resume; any other stands for all before it.
  #isNew({ cursor, since }) {
    if (!Number.isSafeInteger(cursor)) return true;
    this.upTo = Number.isSafeInteger(since) ? since : cursor;
    if (this.seen.has(cursor)) return false;
    this.seen.add(cursor);
    if (this.seen.size > REMEMBERED) this.seen.delete(this.seen.values().next().value);
    return true;
  }

  #subscribe({ cursor, epoch, connection_id: id }) {
    const head = Number.isSafeInteger(cursor) ? cursor : 0;
    this.#noteEpoch(epoch, head);
    this.historyTo = this.upTo === null ? head : -1;
    this.upTo ??= Math.max(-1, head - HISTORY);
    const since = this.upTo;
    this.#set({ phase: "subscribing", epoch, head: cursor >= 0 ? cursor : null, id });
    this.#say({ type: "subscribe", topics: ["#"], mode: "everything", since });
  }

  // A new epoch whose cursors begin below ours has forgotten what we were at.
  #noteEpoch(epoch, head) {
    if (this.state.epoch === null || this.state.epoch === epoch) return;
    this.seen.clear();
    if (!(this.upTo > head)) return;
    const gap = { type: "gap", from: this.upTo + 1, to: null, reason: "epoch" };
    this.upTo = null;
    this.onGap(gap, JSON.stringify(gap));
  }

  // Asking for the last few events of a short log is no loss, so what retention lacks of them is not shown.
  #onGapFrame(frame, text) {
    if (frame.reason !== "retention" || !(frame.to <= this.historyTo)) this.onGap(frame, text);
  }

  #onLive() {
    clearTimeout(this.timer);
    this.#set({ phase: "live", retryAt: null, reason: "" });
    if (this.watching) this.#askForDisplay();
    const since = Date.now();
    this.watch = setInterval(() => this.#watchSilence(since), 5_000);
  }

  // A browser does not see protocol pings, so a quiet line is tried with a frame, and given up when that stays unanswered.
  #watchSilence(liveSince) {
    const now = Date.now();
    if (now - liveSince > STEADY_MS && this.state.attempt) this.#set({ attempt: 0 });
    if (now - this.heardAt < SILENCE_MS) return;
    const asked = this.pingedAt > this.heardAt;
    if (asked && now - this.pingedAt > PONG_MS) this.#lost("The gateway fell silent");
    if (asked) return;
    this.pingedAt = now;
    this.#say({ type: "ping" });
  }

  #onClose(code, reason) {
    if (STOPPING[code]) this.#halt(STOPPING[code]);
    else if (code === 4401 && this.state.phase === "live") this.#renew();
    else this.#lost(REASONS[code] ?? (reason || `The gateway closed the connection (${code})`));
  }

  // A token's end is no failure: the next one is fetched at once.
  #renew() {
    this.#drop();
    this.#set({ phase: "idle" });
    this.start();
  }

  #onApiError(error) {
    const refused = error instanceof ApiError && (error.kind === "unauthorized" || error.kind === "forbidden");
    if (!refused) return this.#lost(error.message);
    this.stop();
    return this.onRefused(error);
  }

  #lost(reason) {
    this.#drop();
    const attempt = this.state.attempt + 1;
    const wait = delay(attempt);
    this.#set({ phase: "waiting", attempt, retryAt: Date.now() + wait, reason });
    this.timer = setTimeout(() => this.start(), wait);
  }

  #halt(reason) {
    this.#drop();
    this.#set({ phase: "stopped", retryAt: null, reason });
  }

  // A dead network can hold a close back for minutes: the old socket is forgotten first, then closed.
  #drop() {
    this.round += 1;
    clearTimeout(this.timer);
    clearInterval(this.watch);
    const { socket } = this;
    this.socket = null;
    if (!socket) return;
    this.requests.abandon();
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
  }

  #set(change) {
    this.state = { ...this.state, ...change };
    this.onState(this.state);
  }
}
