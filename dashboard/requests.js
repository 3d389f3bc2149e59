// Commands and other frames sent over the socket that wait for their answers.

import { ApiError } from "./api.js";
import { sentence } from "./words.js";

const PATIENCE_MS = 40_000;
// What the gateway takes in one frame.
const MOST_BYTES = 65_536;
const REPLAY = new Set(["replay_started", "replay_controlled"]);

/** An id for a command. Sent again under the same one, it is done once. */
export function newMessageId() {
  const words = crypto.getRandomValues(new Uint32Array(4));
  return `page-${[...words].map((word) => word.toString(16).padStart(8, "0")).join("")}`;
}

export class Requests {
  constructor() {
    this.waiting = new Map();
  }

  /** Send a command; its result, or an ApiError whose `kind` is the answer's code (`timeout` when there is none). */
  send(socket, command, data, messageId = newMessageId()) {
    return this.ask(socket, { type: "command", message_id: messageId, command, data });
  }

  /** Send a frame; the frame that answers it, or for a command its result. Rejects as `send`. */
  ask(socket, frame) {
    const { message_id: messageId } = frame;
    const text = JSON.stringify(frame);
    if (new TextEncoder().encode(text).length > MOST_BYTES) {
      return Promise.reject(new ApiError("too_large", "This is too long to be sent in one piece: 64 kB at most."));
    }
    return new Promise((resolve, reject) => {
      const late = () => this.#take(messageId)?.reject(new ApiError("timeout", "No answer yet. Try again: it is done once only."));
      this.waiting.set(messageId, { resolve, reject, timer: setTimeout(late, PATIENCE_MS) });
      socket.send(text);
    });
  }

  /** Hand an answer to whoever waits for it. */
  settle(frame) {
    const { type, correlation_id, original_message_id, result, code, message } = frame;
    const asked = this.#take(correlation_id ?? original_message_id);
    if (type === "error") asked?.reject(new ApiError(code, sentence(message ?? code), { code }));
    else asked?.resolve(REPLAY.has(type) ? frame : result ?? {});
  }

  /** The connection is gone, and answers with it. */
  abandon() {
    for (const messageId of [...this.waiting.keys()]) {
      this.#take(messageId).reject(new ApiError("unreachable", "The connection broke before the answer. Try again: it is done once only."));
    }
  }

  #take(messageId) {
    const asked = this.waiting.get(messageId);
    this.waiting.delete(messageId);
    clearTimeout(asked?.timer);
    return asked;
  }
}
