// The open sidebar's conversation: read once, then carried on by its events; and what a person says and does there.

import { computed, signal } from "./html.js";
import { newMessageId } from "./requests.js";
import { parse } from "./times.js";

const PAGE = 100;
const NONE = Object.freeze({ id: "", status: "idle", error: "", whole: null, exchanges: [], moves: [] });

/** The open conversation: `status` idle | loading | ready | failed, the sidebar `whole`, what was said, its moves. */
export const talk = signal(NONE);

/** What was said and how the status moved, in order: `{kind: said | moved, key, at, …}`. */
export const timeline = computed(() => timelineOf(talk.value));

let run = null;
// Events that came while the conversation was being read.
let held = [];

export function startTalk(command) {
  run = command;
}

export function stopTalk() {
  run = null;
  closeTalk();
}

export function closeTalk() {
  held = [];
  talk.value = NONE;
}

/** Read a sidebar whole; of a list of hundreds, what was said last. */
export async function openTalk(id) {
  if (!run || !id) return;
  const known = talk.peek();
  talk.value = known.id === id && known.whole ? { ...known, error: "" } : { ...NONE, id, status: "loading" };
  held = [];
  try {
    const { sidebar } = await run("get_sidebar", { sidebar_id: id, limit: PAGE });
    if (talk.peek().id !== id) return;
    const { local_memory: fresh, history: moves, ...whole } = sidebar;
    talk.value = { id, status: "ready", error: "", whole, exchanges: joined(talk.peek().exchanges, fresh), moves };
    const waiting = held;
    held = [];
    waiting.forEach(noteInTalk);
  } catch (error) {
    if (talk.peek().id !== id) return;
    talk.value = { ...talk.peek(), status: talk.peek().whole ? "ready" : "failed", error: error.message };
  }
}

/** What was read before, of earlier times or since the answer was made, around what was read now; without holes. */
export function joined(known, fresh) {
  if (!fresh.length) return known;
  const earlier = known.filter(({ seq }) => seq < fresh[0].seq);
  const later = known.filter(({ seq }) => seq > fresh.at(-1).seq);
  const all = [...fresh, ...(later[0]?.seq === fresh.at(-1).seq + 1 ? later : [])];
  return earlier.at(-1)?.seq + 1 === fresh[0].seq ? [...earlier, ...all] : all;
}

/** Read what was said before what is shown. */
export async function loadEarlier() {
  const { id, exchanges } = talk.peek();
  const first = exchanges[0]?.seq;
  if (!run || !(first > 1)) return;
  try {
    const { sidebar } = await run("get_sidebar", { sidebar_id: id, limit: PAGE, before: first });
    const now = talk.peek();
    if (now.id !== id || now.exchanges[0]?.seq !== first) return;
    talk.value = { ...now, error: "", exchanges: [...sidebar.local_memory, ...now.exchanges] };
  } catch (error) {
    if (talk.peek().id === id) talk.value = { ...talk.peek(), error: error.message };
  }
}

/** Carry the conversation on by an event of its sidebar. */
export function noteInTalk(event) {
  const now = talk.peek();
  if (event.sidebar?.sidebar_id !== now.id || !now.id) return;
  if (now.status !== "ready") return void held.push(event);
  const next = carriedOn(now, event);
  if (next) talk.value = next;
  else openTalk(now.id);
}

/** The conversation with an event in it; null when something before it is missing. */
export function carriedOn(now, event) {
  const whole = event.sidebar.exchange_count < now.whole.exchange_count ? now.whole : { ...now.whole, ...event.sidebar };
  const { exchange } = event;
  if (event.type === "sidebar_status_update") {
    const move = { from_status: event.old_status, to_status: event.new_status, by: event.updated_by, reason: event.reason, at: event.timestamp };
    return { ...now, whole, moves: now.moves.some((known) => isSame(known, move)) ? now.moves : [...now.moves, move] };
  }
  if (event.type === "sidebar_merge") return { ...now, whole: { ...whole, findings: event.consolidated_findings } };
  if (!exchange || exchange.sidebar_id !== now.id) return { ...now, whole };
  const last = now.exchanges.at(-1)?.seq ?? 0;
  if (exchange.seq <= last) return { ...now, whole };
  return exchange.seq === last + 1 ? { ...now, whole, exchanges: [...now.exchanges, exchange] } : null;
}

// The event and the history note a move's moment each for itself.
const isSame = (a, b) =>
  a.from_status === b.from_status && a.to_status === b.to_status && Math.abs(parse(a.at) - parse(b.at)) < 2_000;

/** Exchanges and moves by time; of one moment, what was said first. The opening itself is the first move. */
export function timelineOf({ exchanges, moves }) {
  const first = exchanges[0]?.seq > 1 ? parse(exchanges[0].created) : -Infinity;
  const said = exchanges.map((exchange) => ({ kind: "said", key: `s${exchange.seq}`, at: parse(exchange.created), exchange }));
  const moved = moves.filter((move) => parse(move.at) >= first)
    .map((move, n) => ({ kind: "moved", key: `m${move.at}-${n}`, at: parse(move.at), move }));
  // What a merge brought keeps its own moments, and its number in this sidebar: numbers go before clocks.
  const items = [];
  let n = 0;
  for (const item of said) {
    while (n < moved.length && moved[n].at < item.at) items.push(moved[n++]);
    items.push(item);
  }
  return [...items, ...moved.slice(n)];
}

// Which statuses allow what; the session worker has the last word.
const PAUSABLE = ["active", "testing", "reviewing", "waiting"];
const MERGEABLE = ["active", "testing", "reviewing", "waiting", "consolidating"];
const RESUMABLE = ["paused", "waiting"];
export const may = (status) => ({
  pause: PAUSABLE.includes(status), resume: RESUMABLE.includes(status), merge: MERGEABLE.includes(status),
});

/**
 * Something a person does in a sidebar, tried until it is settled: `attempt()` rejects with an ApiError, and after an
 * answer that says nothing final may be called again, under the same message id, so that it is done once.
 */
export function deed(command, data) {
  const messageId = newMessageId();
  return () => {
    if (!run) return Promise.reject(new Error("There is no connection to the gateway just now."));
    return run(command, data, messageId);
  };
}

/** Whether a refusal is final, so that another try is another command. */
export const isFinal = (error) => !["timeout", "unavailable", "rate_limited", "unreachable", "internal"].includes(error.kind);
