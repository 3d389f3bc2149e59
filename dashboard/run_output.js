// The lines of the open run: a stretch of them without a hole, at whose end lines are added as they come.

import { signal } from "./html.js";
import { shownText } from "./terminal.js";

const TAIL = 1_000;
const STEP = 1_000;
// While the end is followed the oldest go; somebody who reads further up keeps his until there are this many.
const FOLLOWED = 5_000;
const MOST = 20_000;

const NONE = Object.freeze({ id: "", status: "idle", error: "", lines: [], total: 0, begins: false });

/**
 * `status` idle | loading | ready | failed; `lines` of `{number, stream, text, at, goesOn}`; `total` is the number of the
 * last line there is, `begins` whether nothing is kept before the first.
 */
export const output = signal(NONE);
/** Whether the end is shown as it grows. */
export const following = signal(true);
/** The number of a line somebody wants to see; null for none. */
export const wanted = signal(null);

let run = null;
let incoming = [];
let scheduled = false;
let isReading = false;

export function startOutput(command) {
  run = command;
}

export function closeOutput() {
  incoming = [];
  output.value = NONE;
  following.value = true;
  wanted.value = null;
}

/** Read a run's last lines; of the one that is open already, those that have come since. */
export async function openOutput(id) {
  if (output.peek().id === id && output.peek().status === "ready") return catchUp();
  closeOutput();
  output.value = { ...NONE, id, status: "loading" };
  return readTail();
}

async function readTail() {
  await reading(async (id) => {
    const { lines } = await run("get_output", { run_id: id, tail: true, limit: TAIL });
    return () => placed(lines.map(lineOf), { total: lines.at(-1)?.number ?? 0 });
  });
}

/** Read what stands before the first line shown. */
export async function loadEarlierLines() {
  const first = output.peek().lines[0]?.number ?? 1;
  await reading(async (id) => {
    const lines = await range(id, Math.max(0, first - 1 - STEP), first - 1);
    return () => {
      const now = output.peek();
      if (now.lines[0]?.number !== first) return;
      const all = [...lines, ...now.lines];
      output.value = { ...now, lines: all, begins: !lines.length || lines[0].number === 1 };
    };
  });
}

/** Read what follows the last line shown. */
export async function loadLaterLines() {
  const last = output.peek().lines.at(-1)?.number ?? 0;
  await reading(async (id) => {
    const lines = await range(id, last, last + STEP);
    return () => append(lines);
  });
}

/** Show the end, and stay there; or no longer. */
export function follow(wantsEnd) {
  if (following.peek() === wantsEnd) return;
  following.value = wantsEnd;
  if (wantsEnd) catchUp();
}

/** Show a line, and what stands around it. */
export async function showLine(number) {
  following.value = false;
  const { lines } = output.peek();
  if (!(lines[0]?.number <= number && number <= lines.at(-1)?.number)) {
    await reading(async (id) => {
      const around = await range(id, Math.max(0, number - 200), number + 300);
      return () => placed(around, { total: output.peek().total });
    });
  }
  wanted.value = number;
}

function placed(lines, { total }) {
  const begins = !lines.length || lines[0].number === 1;
  output.value = { ...output.peek(), status: "ready", error: "", lines, begins, total: Math.max(total, output.peek().total) };
}

// One question at a time. `ask(id)` gives what is to be done with its answer.
async function reading(ask) {
  const { id } = output.peek();
  if (!run || isReading || !id) return;
  isReading = true;
  try {
    const take = await ask(id);
    if (output.peek().id === id) take();
  } catch (error) {
    const now = output.peek();
    if (now.id === id) output.value = { ...now, status: now.lines.length ? "ready" : "failed", error: error.message };
  }
  isReading = false;
  // Another run was opened meanwhile, or more has come.
  if (output.peek().status === "loading" && output.peek().id !== id) readTail();
  else if (following.peek()) catchUp();
}

// Pages are cut by their size.
async function range(id, after, until) {
  const found = [];
  let from = after;
  while (from < until) {
    const { lines, next } = await run("get_output", { run_id: id, after_line: from, limit: Math.min(1_000, until - from) });
    found.push(...lines.map(lineOf));
    from = lines.at(-1)?.number ?? until;
    if (!next) break;
  }
  return found;
}

function catchUp() {
  const { status, lines, total, id } = output.peek();
  if (status !== "ready" || !id) return;
  const behind = total - (lines.at(-1)?.number ?? 0);
  if (behind > STEP) readTail();
  else if (behind > 0) loadLaterLines();
}

const lineOf = (line) => ({ number: line.number, stream: line.stream, text: shownText(line), at: line.at, goesOn: line.partial });

/** Note an event; lines show with the next animation frame. */
export function noteOutput(event) {
  if (event.type !== "agent_output_added") return;
  incoming.push(...event.lines);
  if (scheduled) return;
  scheduled = true;
  if (document.hidden) setTimeout(flush, 250);
  else requestAnimationFrame(flush);
}

function flush() {
  scheduled = false;
  const fresh = incoming;
  incoming = [];
  const now = output.peek();
  if (!now.id || !fresh.length) return;
  output.value = { ...now, total: Math.max(now.total, fresh.at(-1).number) };
  if (now.status !== "ready") return;
  const last = now.lines.at(-1)?.number ?? 0;
  const isNext = fresh.some(({ number }) => number === last + 1);
  if (isNext) append(fresh.map(lineOf));
  else if (following.peek()) catchUp();
}

function append(fresh) {
  const now = output.peek();
  const lines = extended(now.lines, fresh, following.peek() ? FOLLOWED : MOST, following.peek());
  const begins = now.begins && lines[0]?.number === (now.lines[0]?.number ?? lines[0]?.number);
  output.value = { ...now, error: "", lines, begins, total: Math.max(now.total, lines.at(-1)?.number ?? 0) };
}

/** `known` with those of `fresh` that follow without a hole; of more than `most` the first go, or else no more is added. */
export function extended(known, fresh, most, dropsFirst) {
  const lines = [...known];
  for (const line of fresh) {
    if (!dropsFirst && lines.length >= most) break;
    if (!lines.length || line.number === lines.at(-1).number + 1) lines.push(line);
  }
  return dropsFirst && lines.length > most ? lines.slice(-most) : lines;
}
