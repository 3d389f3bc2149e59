// The rows of the feed: a bounded ring of what came, and the list shown of it, changed once for each animation frame.

import { batch, computed, effect, signal } from "./html.js";
import { gapRow, rowOf } from "./events.js";
import { active, cursor, matches } from "./store.js";

export const LIMIT = 1000;
// Payloads can be large: the rows kept are also bounded by the text they hold.
const LIMIT_CHARS = 64_000_000;
const RATE_SECONDS = 60;

/** The rows shown, the newest first. */
export const shown = signal([]);
/** Stopped by a person, or held because the list is scrolled away from its top. */
export const paused = signal(false);
export const scrolledAway = signal(false);
export const held = computed(() => paused.value || scrolledAway.value);
/** How many matching rows came while the list was held. */
export const waiting = signal(0);
/** Rows kept, of every kind, to tell an empty feed from a filter that hides all. */
export const kept = signal(0);
/** Event types seen so far. */
export const seenTypes = signal([]);
/** Events in each of the last 60 seconds, the newest last. */
export const rate = signal(new Array(RATE_SECONDS).fill(0));

let ring = [];
let late = [];
let incoming = [];
let scheduled = false;
let arrivedThisSecond = 0;
let uid = 0;

/** Take in an event frame; it shows with the next animation frame. What is caught up on does not count for the rate. */
export function addEvent(frame, text, { isNew = true } = {}) {
  add(rowOf(frame, text));
  if (isNew) arrivedThisSecond += 1;
}

/** Note where the stream stands before any event of it was seen. */
export function noteCursor(at) {
  if (at != null) cursor.value = Math.max(at, cursor.peek() ?? -1);
}

/** Take in what the gateway says is missing. */
export const addGap = (frame, text) => add(gapRow(frame, text));

function add(row) {
  uid += 1;
  row.uid = uid;
  incoming.push(row);
  if (scheduled) return;
  scheduled = true;
  // A hidden page gets no animation frames.
  if (document.hidden) setTimeout(flush, 250);
  else requestAnimationFrame(flush);
}

function flush() {
  scheduled = false;
  const fresh = incoming.reverse();
  incoming = [];
  const fitting = fresh.filter(matches.peek());
  batch(() => {
    noteTypes(fresh);
    cursor.value = fresh.reduce((top, row) => (row.cursor > (top ?? -1) ? row.cursor : top), cursor.peek());
    if (held.peek()) {
      late = bounded(fresh, late);
      waiting.value += fitting.length;
    } else {
      ring = bounded(fresh, ring);
      if (fitting.length) shown.value = bounded(fitting, shown.peek());
    }
    kept.value = ring.length + late.length;
  });
}

/** `fresh` before `old`, cut to what the page keeps. */
function bounded(fresh, old) {
  const rows = [];
  let chars = 0;
  for (const part of [fresh, old]) {
    for (const row of part) {
      chars += row.raw.length;
      if (rows.length === LIMIT || (chars > LIMIT_CHARS && rows.length)) return rows;
      rows.push(row);
    }
  }
  return rows;
}

function noteTypes(rows) {
  const known = seenTypes.peek();
  const fresh = new Set(rows.filter((row) => row.kind === "event" && !known.includes(row.type)).map((row) => row.type));
  if (fresh.size) seenTypes.value = [...known, ...fresh];
}

/** Forget every row, those held back too. */
export function clear() {
  ring = [];
  late = [];
  batch(() => {
    shown.value = [];
    waiting.value = 0;
    kept.value = 0;
    active.value = null;
    scrolledAway.value = false;
  });
}

/** Also forget what was seen and counted, for the next person. */
export function reset() {
  incoming = [];
  clear();
  batch(() => {
    cursor.value = null;
    seenTypes.value = [];
    paused.value = false;
    rate.value = new Array(RATE_SECONDS).fill(0);
  });
}

/** Let the list follow what comes, and tie the rate's clock; call once. */
export function startFeed() {
  effect(() => {
    if (!held.value) release();
  });
  effect(() => {
    refilter(matches.value);
  });
  setInterval(() => {
    rate.value = [...rate.peek().slice(1), arrivedThisSecond];
    arrivedThisSecond = 0;
  }, 1000);
}

function release() {
  const fitting = late.filter(matches.peek());
  ring = bounded(late, ring);
  late = [];
  batch(() => {
    waiting.value = 0;
    if (fitting.length) shown.value = bounded(fitting, shown.peek());
  });
}

// What a filter lets through is kept beyond the ring as it arrives, so rare events do not scroll out under busy ones.
function refilter(match) {
  batch(() => {
    shown.value = ring.filter(match);
    waiting.value = late.filter(match).length;
  });
}
