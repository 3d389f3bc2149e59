// The open run: what it is, its moves and what was asked of it, read once and carried on by events. Its lines and what
// was found in them stand beside, in run_output.js and run_found.js.

import { signal } from "./html.js";
import { closeFound, noteFound, startFound } from "./run_found.js";
import { closeOutput, noteOutput, openOutput, startOutput } from "./run_output.js";
import { newer } from "./runs.js";

const NONE = Object.freeze({ id: "", status: "idle", error: "", run: null });

/** `status` idle | loading | ready | failed; `run` with `transitions` and `controls`. */
export const open = signal(NONE);

let run = null;

export function startRun(command) {
  run = command;
  startOutput(command);
  startFound(command);
}

export function stopRun() {
  run = null;
  closeRun();
}

export function closeRun() {
  open.value = NONE;
  closeOutput();
  closeFound();
}

/** Read a run, and its last lines or those that came since. */
export async function openRun(id) {
  if (!run || !id) return;
  const known = open.peek();
  if (known.id !== id) closeFound();
  open.value = known.id === id && known.run ? { ...known, error: "" } : { ...NONE, id, status: "loading" };
  openOutput(id);
  try {
    const { run: fresh } = await run("get_run", { run_id: id });
    if (open.peek().id === id) open.value = { id, status: "ready", error: "", run: fresh };
  } catch (error) {
    const now = open.peek();
    if (now.id === id) open.value = { ...now, status: now.run ? "ready" : "failed", error: error.message };
  }
}

/** Note an event. */
export function noteInRun(event, { isNew }) {
  const now = open.peek();
  if (!isNew || !now.id || event.run_id !== now.id) return;
  noteOutput(event);
  noteFound(event);
  if (now.run) {
    const next = carriedOn(now.run, event);
    if (next !== now.run) open.value = { ...now, run: next };
  }
}

/** The run with an event in it. */
export function carriedOn(known, event) {
  const { transitions, controls } = known;
  if (event.type === "agent_control_asked") {
    const { control_id: id, action, sender_agent_id: by, timestamp: asked } = event;
    return { ...known, controls: joined(controls, { control_id: id, action, status: "asked", asked_by: by, asked, answered: null, result: null, error: null }) };
  }
  if (event.control) return { ...known, controls: joined(controls, event.control) };
  if (!event.run) return known;
  const move = event.transition;
  const isKnown = !move || transitions.some(({ at, state }) => at === move.at && state === move.state);
  return { ...newer(known, event.run), controls, transitions: isKnown ? transitions : [...transitions, move] };
}

// What was answered stays so.
function joined(controls, fresh) {
  const at = controls.findIndex(({ control_id: id }) => id === fresh.control_id);
  if (at < 0) return [...controls, fresh];
  return fresh.status === "asked" ? controls : controls.with(at, fresh);
}
