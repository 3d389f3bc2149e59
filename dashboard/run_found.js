// What was found in the open run's output: read by its filters, again when more was found.

import { computed, signal } from "./html.js";

const PAGE = 100;
const SOON_MS = 1_500;
export const TYPES = [
  "question", "confirmation", "error", "secret", "test_result", "command", "tool_call", "code_block", "file_path", "url",
];
export const RISKS = ["critical", "high", "medium", "low"];

const NONE = Object.freeze({ id: "", status: "idle", error: "", items: [], next: null, type: "", risk: "" });

/** `status` idle | loading | ready | failed; `items` the newest first. */
export const found = signal(NONE);

/** By type, in the order of `TYPES`, those of the highest risk first. */
export const groups = computed(() => grouped(found.value.items));

let run = null;
let soon;

export function startFound(command) {
  run = command;
}

export function closeFound() {
  clearTimeout(soon);
  found.value = NONE;
}

export function openFound(id) {
  if (found.peek().id !== id) found.value = { ...NONE, id };
  load(null);
}

export function filterFound(change) {
  found.value = { ...found.peek(), ...change, items: [], next: null, status: "loading" };
  load(null);
}

export const loadMoreFound = () => load(found.peek().next);
export const refreshFound = () => load(null);

async function load(cursor) {
  const { id, type, risk } = found.peek();
  if (!run || !id) return;
  const isCurrent = () => found.peek().id === id && found.peek().type === type && found.peek().risk === risk;
  if (found.peek().status !== "ready") found.value = { ...found.peek(), status: "loading" };
  try {
    const filters = { ...(type && { type }), ...(risk && { risk }) };
    const page = await run("query_extractions", { run_id: id, limit: PAGE, ...filters, ...(cursor && { cursor }) });
    if (!isCurrent()) return;
    const now = found.peek();
    const items = joined(now.items, page.extractions);
    const deeper = !cursor && now.next && now.items.length > page.extractions.length;
    found.value = { ...now, status: "ready", error: "", items, next: deeper ? now.next : page.next ?? null };
  } catch (error) {
    if (isCurrent()) found.value = { ...found.peek(), status: "failed", error: error.message };
  }
}

function joined(known, fresh) {
  const byId = new Map([...known, ...fresh].map((each) => [each.extraction_id, each]));
  return [...byId.values()].sort((a, b) => b.extraction_id - a.extraction_id);
}

/** Only what matters is told by events; so whatever happens to the run, the list is read again soon, if it is open. */
export function noteFound({ type }) {
  if (!found.peek().id || !["agent_output_added", "agent_run_ended", "extraction_found"].includes(type)) return;
  if (type === "extraction_found") {
    clearTimeout(soon);
    soon = undefined;
  }
  soon ??= setTimeout(() => {
    soon = undefined;
    refreshFound();
  }, type === "extraction_found" ? 100 : type === "agent_run_ended" ? SOON_MS : 4 * SOON_MS);
}

/** The whole of a code block. */
export const readCodeBlock = async (sha256) => (await run("get_code_block", { sha256 })).code_block;

/** `[type, items]`, where `items` have the highest risk first and else their order. */
export function grouped(items) {
  const byType = Map.groupBy(items, ({ type }) => type);
  const rank = ({ risk }) => RISKS.indexOf(risk);
  const place = (type) => (TYPES.includes(type) ? TYPES.indexOf(type) : TYPES.length);
  return [...byType].sort(([a], [b]) => place(a) - place(b)).map(([type, each]) => [type, each.toSorted((a, b) => rank(a) - rank(b))]);
}
