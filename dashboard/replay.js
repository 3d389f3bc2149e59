// A session that happens again: its events over the socket, at their pace times a speed. See docs/replay.md.

import { batch, signal } from "./html.js";
import { rowOf } from "./events.js";
import { count } from "./times.js";

export const SPEEDS = [0.5, 1, 2, 4, 8, 16, 0];
/** How a speed is written; 0 is as fast as can be. */
export const speedText = (speed) => (speed === 0 ? "fastest" : `${speed}×`);

const MOST_ROWS = 2_000;
const NONE = Object.freeze({ id: "", status: "idle", error: "", session: null, speed: 1, position: 0, last: 0, at: null, rows: [] });

/**
 * `status` idle | starting | playing | paused | ended | failed; `position` is the number of the last event that came,
 * `last` that of the last there is, `at` when the event at the position happened; `rows` what came, the oldest first.
 */
export const replay = signal(NONE);
/** Whether the end of the list is kept in sight. */
export const replayFollowing = signal(true);

let ask = null;
let run = null;
// The one at the gateway; "" for none. What comes of others, or while another place is sought, is passed over.
let replayId = "";
let isSeeking = false;
// Whether only one event is wanted: a place that is sought while it pauses.
let isStep = false;
let round = 0;
let incoming = [];
let scheduled = false;
let uid = 0;

/** `frame(…)` sends a frame and gives its answer, `command(name, data)` runs a command. */
export function startReplays(frame, command) {
  ask = frame;
  run = command;
}

/** Replay a session from its beginning; one that is open already goes on where it was when the connection broke. */
export function openReplay(id) {
  const now = replay.peek();
  round += 1;
  replayId = "";
  isSeeking = isStep = false;
  incoming = [];
  if (now.id !== id) {
    replay.value = { ...NONE, id, speed: now.speed, status: "starting" };
    replayFollowing.value = true;
    readSession(id);
    begin(0);
  } else if (now.status === "playing" || now.status === "starting") {
    begin(now.position + 1);
  }
}

/** Stop it, and forget what came. */
export function leaveReplay() {
  if (!replay.peek().id) return;
  stop();
  replay.value = { ...NONE, speed: replay.peek().speed };
}

async function readSession(id) {
  try {
    const { session } = await run("get_session", { session_id: id });
    if (replay.peek().id === id) replay.value = { ...replay.peek(), session };
  } catch {
    // The replay says what is wrong.
  }
}

function stop() {
  round += 1;
  if (replayId) giveUp(replayId);
  replayId = "";
  isStep = false;
  incoming = [];
}

function giveUp(id) {
  ask({ type: "replay_control", replay_id: id, action: "stop" }).catch(() => {});
}

async function begin(from, { step = false } = {}) {
  round += 1;
  isStep = step;
  const mine = round;
  const { id, speed } = replay.peek();
  replay.value = { ...replay.peek(), status: step ? "paused" : "starting", error: "" };
  try {
    const { replay_id: given, last_seq: last } = await ask({ type: "replay", session_id: id, speed, ...(from > 0 && { from }) });
    if (mine !== round) return giveUp(given);
    const now = replay.peek();
    replayId = given;
    replay.value = { ...now, status: step ? "paused" : "playing", last };
    // It was changed while it began.
    if (now.speed !== speed) setReplaySpeed(now.speed);
  } catch (error) {
    if (mine === round) replay.value = { ...replay.peek(), status: "failed", error: error.message };
  }
}

async function control(action, more = {}) {
  try {
    await ask({ type: "replay_control", replay_id: replayId, action, ...more });
    return true;
  } catch (error) {
    replay.value = { ...replay.peek(), error: error.message };
    return false;
  }
}

/** Go on, or from the beginning when it is at its end. */
export async function playReplay() {
  const now = replay.peek();
  if (now.status === "ended") return seekReplay(1);
  if (!replayId || isStep) {
    stop();
    return begin(now.position + 1);
  }
  if (await control("resume")) replay.value = { ...replay.peek(), status: "playing" };
}

export async function pauseReplay() {
  if (!replayId) return;
  if (await control("pause")) replay.value = { ...replay.peek(), status: "paused" };
}

export async function setReplaySpeed(speed) {
  replay.value = { ...replay.peek(), speed };
  if (replayId) await control("speed", { speed });
}

/** Go on from the event with this number, or the next there is; while it pauses, show that one only. */
export async function seekReplay(seq) {
  const { last } = replay.peek();
  const place = Math.max(1, Math.min(last || 1, seq));
  flush();
  const now = replay.peek();
  const rows = soughtRows(now.rows, now.position, place);
  batch(() => {
    replay.value = { ...now, error: "", position: place - 1, rows };
    replayFollowing.value = true;
  });
  if (now.status === "paused") {
    stop();
    return begin(place, { step: true });
  }
  if (!replayId) return begin(place);
  isSeeking = true;
  await control("seek", { from: place });
  isSeeking = false;
}

/** The rows when it goes on at `place`: what came after it goes away, what is passed over is said. */
export function soughtRows(rows, position, place) {
  if (place <= position) return rows.filter((row) => row.seq < place);
  if (place === position + 1) return rows;
  const [from, to] = [position + 1, place - 1];
  const what = from === to ? `Event ${count(from)} was` : `Events ${count(from)} to ${count(to)} were`;
  uid += 1;
  return [...rows, {
    kind: "gap", uid: `replay-${uid}`, seq: to, cursor: null, time: NaN, type: "gap", area: "gap", subject: "sought", session: "", sender: "",
    priority: "normal", summary: `${what} passed over.`, raw: JSON.stringify({ passed_over: { from, to } }),
  }];
}

/** Take in an event of a replay, or its end. */
export function noteReplay(frame, text) {
  if (frame.replay_id !== replayId || !replayId) return;
  if (frame.type === "replay_ended") {
    flush();
    replayId = "";
    isStep = false;
    const now = replay.peek();
    if (frame.reason === "failed") replay.value = { ...now, status: "failed", error: now.error || "The recording can’t be read any further just now." };
    else replay.value = { ...now, status: "ended", position: Math.max(now.position, now.last) };
    return;
  }
  if (isSeeking) return;
  incoming.push([frame, text]);
  if (isStep) {
    flush();
    stop();
    return;
  }
  if (scheduled) return;
  scheduled = true;
  if (document.hidden) setTimeout(flush, 250);
  else requestAnimationFrame(flush);
}

function flush() {
  scheduled = false;
  const fresh = incoming;
  incoming = [];
  if (!fresh.length) return;
  const now = replay.peek();
  const rows = [...now.rows];
  for (const [frame, text] of fresh.slice(-MOST_ROWS)) {
    const row = rowOf(frame, text.replace(/,"replay_id":"[^"]*"\}\s*$/, "}"));
    uid += 1;
    rows.push({ ...row, uid: `replay-${uid}`, seq: frame.session_seq ?? now.position });
  }
  const [newest] = fresh.at(-1);
  replay.value = { ...now, rows: rows.slice(-MOST_ROWS), position: newest.session_seq ?? now.position, at: newest.timestamp };
}
