// Agents' runs: read by the filters over the socket, then kept true by their events.

import { computed, signal } from "./html.js";
import { parse } from "./times.js";

const PAGE = 50;
// A page may be empty and yet not be the last one.
const MOST_EMPTY = 5;

export const STATES = ["starting", "running", "paused", "waiting_input", "completed", "failed", "killed", "lost"];
const LIVE = ["starting", "running", "paused", "waiting_input"];
export const isUnderWay = ({ state }) => LIVE.includes(state);
/** How a state is written. */
export const stateText = (state) => (state === "waiting_input" ? "waits for input" : state);

const byId = signal(new Map());
/** `agent` and `state` are what is asked for; "" for any. */
export const runFilters = signal({ agent: "", state: "" });
/** `status`: idle | loading | ready | failed; `next` is the cursor of the next page. */
export const runListing = signal({ status: "idle", error: "", next: null });

/** Those that fit the filters, the last begun first. */
export const runs = computed(() => {
  const { agent, state } = runFilters.value;
  return [...byId.value.values()]
    .filter((run) => (!agent || run.agent_name === agent) && (!state || run.state === state))
    .sort((a, b) => parse(b.started) - parse(a.started) || (a.run_id < b.run_id ? 1 : -1));
});
export const liveCount = computed(() => [...byId.value.values()].filter(isUnderWay).length);
/** Agents of the runs that are known. */
export const agentNames = computed(() => [...new Set([...byId.value.values()].map((run) => run.agent_name))].sort());

let run = null;

/** `command(name, data)` runs a command over the socket. */
export function startRuns(command) {
  run = command;
}

export function stopRuns() {
  run = null;
  byId.value = new Map();
  runFilters.value = { agent: "", state: "" };
  runListing.value = { status: "idle", error: "", next: null };
}

export function filterRuns(change) {
  runFilters.value = { ...runFilters.peek(), ...change };
  runListing.value = { status: "loading", error: "", next: null };
  refreshRuns();
}

/** Read the first page anew. */
export const refreshRuns = () => load(null);
export const loadMoreRuns = () => load(runListing.peek().next);

async function load(cursor) {
  if (!run) return;
  const [asked, filters] = [run, runFilters.peek()];
  const isCurrent = () => asked === run && filters === runFilters.peek();
  if (runListing.peek().status !== "ready") runListing.value = { ...runListing.peek(), status: "loading" };
  try {
    let page = { runs: [], next: cursor };
    for (let n = 0; n === 0 || (n < MOST_EMPTY && page.next && !page.runs.length); n += 1) {
      page = await asked("list_runs", {
        limit: PAGE,
        ...(filters.agent && { agent_name: filters.agent }),
        ...(filters.state && { state: filters.state }),
        ...(page.next && { cursor: page.next }),
      });
      if (!isCurrent()) return;
    }
    byId.value = merged(byId.peek(), page.runs);
    runListing.value = { status: "ready", error: "", next: page.next ?? null };
  } catch (error) {
    if (isCurrent()) runListing.value = { ...runListing.peek(), status: "failed", error: error.message };
  }
}

/** Runs by their ids, those known and those that came. */
export function merged(known, fresh) {
  const next = new Map(known);
  for (const each of fresh) next.set(each.run_id, newer(next.get(each.run_id), each));
  return next;
}

/** Of two pictures of a run the later one: what has ended stays so, unless it was only lost. */
export function newer(known, fresh) {
  if (!known) return fresh;
  const lines = Math.max(known.lines, fresh.lines);
  const ended = !isUnderWay(known) && known.state !== "lost";
  const isOlder = ended ? isUnderWay(fresh) || fresh.state === "lost" : parse(fresh.heard) < parse(known.heard);
  return { ...known, ...(isOlder ? {} : fresh), lines };
}

/** Note an event; of those from before this connection the list knows already. */
export function noteRunEvent(event, { isNew }) {
  if (!run || !isNew || !event.run_id) return;
  if (event.run) byId.value = merged(byId.peek(), [event.run]);
  else if (event.type === "agent_output_added") noteLines(event);
}

let counted = new Map();
let scheduled;

// A process can write thousands of times a second; its count moves a few times.
function noteLines({ run_id: id, lines }) {
  counted.set(id, Math.max(counted.get(id) ?? 0, lines.at(-1)?.number ?? 0));
  scheduled ??= setTimeout(() => {
    scheduled = undefined;
    const next = new Map(byId.peek());
    for (const [each, last] of counted) {
      const known = next.get(each);
      if (known && known.lines < last) next.set(each, { ...known, lines: last });
    }
    counted = new Map();
    byId.value = next;
  }, 300);
}
