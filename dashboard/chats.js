// Chats with bots: which there are and how each is, the pool and the bots, and tools that wait to be allowed.

import { computed, signal } from "./html.js";
import { noteInChat } from "./chat_talk.js";
import { parse } from "./times.js";

const PAGE = 200;
const OPEN = ["queued", "running", "parked"];

/** `status`: idle | loading | ready | failed. */
export const chatListing = signal({ status: "idle", error: "" });
/** What `chat_stats` last said: `{workers, pool, queue, bots}`; null before the first time. */
export const chatStats = signal(null);
/** Tools that wait to be allowed, those that end first first. */
export const approvals = computed(() =>
  [...pending.value.values()].sort((a, b) => parse(a.expires) - parse(b.expires)));

const byId = signal(new Map());
const pending = signal(new Map());
let run = null;

/** Chats, the most recently active first: `{room, bot, last, queued, running, parked}`. */
export const chats = computed(() => gathered(byId.value.values()));
export const waitingCount = computed(() => approvals.value.length);

export const isOpen = ({ status }) => OPEN.includes(status);
export const keyOf = (room, bot) => JSON.stringify([room, bot]);

/** A bot's declaration with whether it is on; undefined for one that is not declared. */
export const botOf = (id) => chatStats.value?.bots.find(({ bot_id: each }) => each === id);
export const approvalOf = (turnId) => approvals.value.find(({ turn_id: id }) => id === turnId);

/** `command(name, data)` runs a command over the socket. */
export function startChats(command) {
  run = command;
}

export function stopChats() {
  run = null;
  byId.value = new Map();
  pending.value = new Map();
  chatStats.value = null;
  chatListing.value = { status: "idle", error: "" };
}

/** Read the newest messages, what waits to be allowed, and the figures. */
export async function refreshChats() {
  if (!run) return;
  const asked = run;
  if (chatListing.peek().status !== "ready") chatListing.value = { status: "loading", error: "" };
  refreshStats();
  refreshApprovals();
  try {
    const { turns } = await asked("list_turns", { limit: PAGE });
    if (asked !== run) return;
    byId.value = merged(byId.peek(), turns);
    chatListing.value = { status: "ready", error: "" };
  } catch (error) {
    if (asked === run) chatListing.value = { status: "failed", error: error.message };
  }
}

export async function refreshStats() {
  const asked = run;
  try {
    const stats = await asked?.("chat_stats", {});
    if (asked && asked === run) chatStats.value = stats;
  } catch {
    // What was known stays; the list says what is wrong.
  }
}

async function refreshApprovals() {
  const asked = run;
  try {
    const { approvals: found } = await asked("list_approvals", { status: "pending", limit: PAGE });
    if (asked === run) pending.value = new Map(found.map((each) => [each.approval_id, each]));
  } catch {
    // Whoever may not see them has none.
  }
}

/** Note an event; of those from before this connection the list knows already. */
export function noteChatEvent(event, { isNew }) {
  if (!run || !isNew) return;
  if (event.type === "bot_switched") refreshStats();
  if (event.approval) noteApproval(event.approval);
  if (event.turn) byId.value = merged(byId.peek(), [event.turn]);
  if (event.room_id && event.bot_id) noteInChat(event);
}

function noteApproval(approval) {
  const next = new Map(pending.peek());
  if (approval.status === "pending") next.set(approval.approval_id, approval);
  else next.delete(approval.approval_id);
  pending.value = next;
}

/** Turns by their ids, those known and those that came. */
export function merged(known, turns) {
  const next = new Map(known);
  for (const turn of turns) next.set(turn.turn_id, newer(next.get(turn.turn_id), turn));
  return next;
}

// What has ended stays so; of what is open the one that came last.
const newer = (known, fresh) => (known && !isOpen(known) && isOpen(fresh) ? known : fresh);

/** Turns gathered by room and bot. */
export function gathered(turns) {
  const found = new Map();
  for (const turn of turns) {
    const key = keyOf(turn.room_id, turn.bot_id);
    const chat = found.get(key) ?? { room: turn.room_id, bot: turn.bot_id, last: turn, queued: 0, running: 0, parked: 0 };
    if (turn.number > chat.last.number) chat.last = turn;
    if (isOpen(turn)) chat[turn.status] += 1;
    found.set(key, chat);
  }
  return [...found.values()].sort((a, b) => momentOf(b.last) - momentOf(a.last));
}

const momentOf = (turn) => parse(turn.completed ?? turn.started ?? turn.queued);

/** How a chat is, in a word: parked | running | queued | failed | quiet. */
export function stateOf({ parked, running, queued, last }) {
  if (parked) return "parked";
  if (running) return "running";
  if (queued) return "queued";
  return last.status === "failed" ? "failed" : "quiet";
}
