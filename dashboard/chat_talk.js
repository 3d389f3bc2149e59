// The open chat: its messages with their answers, read once, then carried on by events; and an answer as it grows.

import { signal } from "./html.js";

const PAGE = 50;
const NONE = Object.freeze({ room: "", bot: "", status: "idle", error: "", turns: [], next: null, growing: {}, began: [] });

/**
 * `status` idle | loading | ready | failed; `turns` in their order; `next` the cursor of what was said before; `growing`
 * by turn what has come of an answer: `{attempt, text}`; `began` when the conversation was begun anew since the page
 * has looked: `{at, after}`, the number of the message before.
 */
export const chatTalk = signal(NONE);

let run = null;

export function startChatTalk(command) {
  run = command;
}

export function stopChatTalk() {
  run = null;
  closeChat();
}

export function closeChat() {
  chatTalk.value = NONE;
}

/** Read a chat's newest messages. */
export async function openChat(room, bot) {
  if (!run || !room || !bot) return;
  const known = chatTalk.peek();
  const isSame = known.room === room && known.bot === bot;
  chatTalk.value = isSame && known.status === "ready" ? { ...known, error: "" } : { ...NONE, room, bot, status: "loading" };
  await read(room, bot, null);
}

/** Read what was said before what is shown. */
export async function loadEarlierTurns() {
  const { room, bot, next } = chatTalk.peek();
  if (next) await read(room, bot, next);
}

async function read(room, bot, cursor) {
  const isOpen = () => chatTalk.peek().room === room && chatTalk.peek().bot === bot;
  try {
    const asked = { room_id: room, bot_id: bot, limit: PAGE };
    const page = await run("list_turns", cursor ? { ...asked, cursor } : asked);
    if (!isOpen()) return;
    const now = chatTalk.peek();
    const next = cursor || now.status !== "ready" ? page.next : now.next;
    chatTalk.value = { ...now, status: "ready", error: "", next, turns: joined(now.turns, page.turns) };
  } catch (error) {
    if (!isOpen()) return;
    const now = chatTalk.peek();
    chatTalk.value = { ...now, status: now.status === "ready" ? "ready" : "failed", error: error.message };
  }
}

const ENDED = new Set(["answered", "failed", "merged", "dropped"]);

/** Turns by their numbers; what has ended stays so. */
export function joined(known, fresh) {
  const byNumber = new Map(known.map((turn) => [turn.number, turn]));
  for (const turn of fresh) {
    const before = byNumber.get(turn.number);
    if (!before || !ENDED.has(before.status) || ENDED.has(turn.status)) byNumber.set(turn.number, turn);
  }
  return [...byNumber.values()].sort((a, b) => a.number - b.number);
}

/** Carry the chat on by an event. */
export function noteInChat(event) {
  const now = chatTalk.peek();
  if (now.room !== event.room_id || now.bot !== event.bot_id) return;
  const next = carriedOn(now, event);
  if (next !== now) chatTalk.value = next;
}

/** The chat with an event in it. */
export function carriedOn(now, event) {
  if (event.type === "chat_delta") return { ...now, growing: grown(now.growing, event) };
  if (event.type === "chat_reset") {
    return { ...now, began: [...now.began, { at: event.timestamp, after: now.turns.at(-1)?.number ?? 0 }] };
  }
  if (!event.turn) return now;
  const { [event.turn.turn_id]: done, ...others } = now.growing;
  const growing = event.turn.status === "running" && done ? now.growing : others;
  return { ...now, growing, turns: joined(now.turns, [event.turn]) };
}

// Pieces of an attempt that was given up are worth nothing.
function grown(growing, { turn_id: id, attempt, index, text }) {
  const known = growing[id];
  if (known && known.attempt > attempt) return growing;
  // What came before this page looked is not sent again; the whole comes in the end.
  const before = known?.attempt === attempt ? known.text : index > 0 ? "… " : "";
  return { ...growing, [id]: { attempt, text: before + text } };
}
