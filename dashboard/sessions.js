// The session list: read once, then kept true by the events themselves.

import { computed, effect, signal } from "./html.js";
import { listSessions } from "./api.js";
import { auth, connection } from "./store.js";
import { parse } from "./times.js";

const REFRESH_MS = 60_000;
const SOON_MS = 700;

const byId = signal(new Map());
/** `status`: idle | loading | ready | failed; `next` is the cursor of the next page. */
export const listing = signal({ status: "idle", error: "", next: null });

/** Sessions, the most recently active first. */
export const sessions = computed(() =>
  [...byId.value.values()].sort((a, b) => parse(b.last_activity) - parse(a.last_activity)));

// What one more event of a type adds to its session's counts.
const COUNTED = {
  conversation_chunk_added: () => ({ conversation_chunk_count: 1 }),
  memory_update: (event) => (event.exchange?.version > 1 ? {} : { memory_count: 1 }),
  task_created: () => ({ task_count: 1 }),
  artifact_added: () => ({ artifact_count: 1 }),
  action_logged: () => ({ action_count: 1 }),
  response_logged: () => ({ response_count: 1 }),
};

let credential = "";
let onRefused = () => {};
let pending = new Map();
let scheduled = false;
let soon;

/** Read the first page now, then once a minute, until `stopSessions`; `refused(error)` when the key is no longer good. */
export function startSessions(key, refused) {
  credential = key;
  onRefused = refused;
  refresh();
}

export function stopSessions() {
  credential = "";
  clearTimeout(soon);
  pending = new Map();
  byId.value = new Map();
  listing.value = { status: "idle", error: "", next: null };
}

export const refresh = () => load({});
export const loadMore = () => load({ cursor: listing.peek().next });

async function load({ cursor }) {
  if (!credential) return;
  clearTimeout(soon);
  const asked = credential;
  if (listing.peek().status !== "ready") listing.value = { ...listing.peek(), status: "loading" };
  try {
    const page = await listSessions(asked, { cursor });
    if (asked !== credential) return;
    if (!Array.isArray(page.sessions)) throw new Error("The session worker has not answered yet.");
    merge(page.sessions);
    const known = listing.peek().next;
    const deeper = !cursor && byId.peek().size > page.sessions.length && known;
    listing.value = { status: "ready", error: "", next: deeper ? known : page.next ?? null };
    soon = setTimeout(refresh, REFRESH_MS);
  } catch (error) {
    if (asked !== credential) return;
    if (error.kind === "unauthorized") return void onRefused(error);
    listing.value = { ...listing.peek(), status: "failed", error: error.message };
    soon = setTimeout(refresh, 5_000);
  }
}

function merge(fresh) {
  const next = new Map(byId.peek());
  for (const session of fresh) {
    const known = next.get(session.session_id);
    if (!known || !(known.seq > session.seq)) next.set(session.session_id, session);
  }
  byId.value = next;
}

/** Note an event: the session in it is taken over whole, others move their counts and last activity. */
export function noteEvent(event) {
  const id = event.session_id;
  if (id == null || !credential) return;
  const known = pending.get(id) ?? byId.peek().get(id);
  const seq = event.session_seq ?? 0;
  if (known && seq && seq <= known.seq) return;
  if (event.session?.session_id === id) put(id, { ...event.session, seq: Math.max(seq, event.session.seq ?? 0) });
  else if (known) put(id, moved(known, event, seq));
  else readSoon();
}

function moved(known, event, seq) {
  const last = later(known.last_activity, event.timestamp);
  return { ...known, ...added(known, event), seq: Math.max(seq, known.seq ?? 0), last_activity: last };
}

function added(known, event) {
  const counts = COUNTED[event.type]?.(event) ?? {};
  return Object.fromEntries(Object.entries(counts).map(([name, n]) => [name, (known[name] ?? 0) + n]));
}

const later = (a, b) => (parse(b) > parse(a) || !a ? b : a);

function put(id, session) {
  pending.set(id, session);
  if (scheduled) return;
  scheduled = true;
  setTimeout(flush, 250);
}

function flush() {
  scheduled = false;
  if (!pending.size) return;
  const next = new Map(byId.peek());
  for (const [id, session] of pending) {
    if (!(next.get(id)?.seq > session.seq)) next.set(id, session);
  }
  pending = new Map();
  byId.value = next;
}

// An event of a session the list does not hold yet: ask for the list, once for a whole burst.
function readSoon() {
  clearTimeout(soon);
  soon = setTimeout(refresh, SOON_MS);
}

/** Read again whenever the connection came back; call once. */
export function followConnection() {
  let before = "idle";
  effect(() => {
    const { phase } = connection.value;
    const back = phase === "live" && before !== "live";
    if (phase === "live" || phase === "waiting") before = phase;
    if (back && auth.peek().status === "in") readSoon();
  });
}
