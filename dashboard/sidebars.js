// The sidebars this person may see: read over the socket, then kept true by their events.

import { computed, signal } from "./html.js";
import { parse } from "./times.js";
import { noteInTalk } from "./talk.js";

const PAGE = 50;
const SOON_MS = 500;

const byId = signal(new Map());
/** `status`: idle | loading | ready | failed; `next` is the cursor of the next page. */
export const sidebarListing = signal({ status: "idle", error: "", next: null });

/** Sidebars, the most recently active first. */
export const sidebars = computed(() =>
  [...byId.value.values()].sort((a, b) => parse(b.last_activity) - parse(a.last_activity)));

export const CLOSED = ["merged", "archived", "failed"];
export const openCount = computed(() => sidebars.value.filter(({ status }) => !CLOSED.includes(status)).length);

let run = null;
let numbers = new Map();
let soon;

/** `command(name, data)` runs a command over the socket. */
export function startSidebars(command) {
  run = command;
}

export function stopSidebars() {
  run = null;
  clearTimeout(soon);
  numbers = new Map();
  byId.value = new Map();
  sidebarListing.value = { status: "idle", error: "", next: null };
}

/** Read the first page anew. */
export const refreshSidebars = () => load();

export const loadMoreSidebars = () => load(sidebarListing.peek().next);

async function load(cursor) {
  if (!run) return;
  const asked = run;
  if (sidebarListing.peek().status !== "ready") sidebarListing.value = { ...sidebarListing.peek(), status: "loading" };
  try {
    const page = await asked("list_sidebars", cursor ? { limit: PAGE, cursor } : { limit: PAGE });
    if (asked !== run) return;
    byId.value = merged(byId.peek(), page.sidebars);
    sidebarListing.value = { status: "ready", error: "", next: page.next ?? null };
  } catch (error) {
    if (asked !== run) return;
    sidebarListing.value = { ...sidebarListing.peek(), status: "failed", error: error.message };
  }
}

function merged(known, fresh) {
  const next = new Map(known);
  for (const sidebar of fresh) next.set(sidebar.sidebar_id, newer(next.get(sidebar.sidebar_id), sidebar));
  return next;
}

// What was said counts up, and the last activity moves on: the one that knows more is the later one.
function newer(known, fresh) {
  if (!known) return fresh;
  const later = parse(fresh.last_activity) - parse(known.last_activity) || fresh.exchange_count - known.exchange_count;
  return later < 0 ? known : fresh;
}

/** Note an event: the sidebar in it is taken over whole. */
export function noteSidebarEvent(event) {
  const { sidebar } = event;
  if (!sidebar?.sidebar_id || !run) return;
  noteInTalk(event);
  const before = numbers.get(sidebar.sidebar_id) ?? 0;
  if (event.session_seq && event.session_seq <= before) return;
  numbers.set(sidebar.sidebar_id, event.session_seq ?? before);
  if (sidebarListing.peek().status === "ready") byId.value = merged(byId.peek(), [sidebar]);
  else if (sidebarListing.peek().status === "failed") refreshSoon();
}

function refreshSoon() {
  clearTimeout(soon);
  soon = setTimeout(refreshSidebars, SOON_MS);
}
