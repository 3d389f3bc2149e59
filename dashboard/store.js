// The page's state as signals: who is signed in, the connection, the filters, and what is open.

import { batch, computed, signal } from "./html.js";
import { fromQuery, matcher, NO_FILTERS, toQuery } from "./filters.js";
import { placeOf, withPlace } from "./place.js";

/** `status`: out | busy | in. `error` is a sentence for the sign-in page. */
export const auth = signal({ status: "out", error: "" });

export const NO_GRANT = Object.freeze({ name: "", scopes: [], permission: "" });
/** What this page's token allows: the name it speaks under, its scopes, and `permission`: active | observer. */
export const grant = signal(NO_GRANT);
export const isAdmin = computed(() => grant.value.scopes.includes("admin"));
export const canWrite = computed(() =>
  grant.value.permission === "active" && grant.value.scopes.some((scope) => scope === "publish" || scope === "admin"));

/** What the socket last said of itself; see socket.js. */
export const connection = signal({ phase: "idle", attempt: 0, retryAt: null, reason: "", epoch: null, head: null });

export const isLive = computed(() => connection.value.phase === "live");

/** The cursor of the newest event seen; null before the first. */
export const cursor = signal(null);

export const filters = signal(fromQuery(location.search));
export const matches = computed(() => matcher(filters.value));

/** The row under the keyboard's cursor, and whether its detail is open. */
export const active = signal(null);
export const detailOpen = signal(false);

/** Which view is shown: feed | sessions | live | sidebars | chat | agents | replay. A wide page shows feed and sessions side by side. */
export const pane = signal(placeOf(location.search).pane);
/** The id of the sidebar whose conversation is open; "" for none. */
export const sidebarId = signal(placeOf(location.search).sidebar);
/** The room and the bot whose chat is open; "" and "" for none. */
export const chatAt = signal(placeOf(location.search).chat);
/** The id of the run that is open; "" for none. */
export const runId = signal(placeOf(location.search).run);
/** The id of the session that is replayed. */
export const replayOf = signal(placeOf(location.search).replay);

/** The present, moved on every few seconds for relative times. */
export const now = signal(Date.now());

/** A sentence for screen readers, spoken when it changes. */
export const spoken = signal("");

/** Change some filters; the address follows, so that a link or a reload shows the same. */
export function setFilters(change) {
  filters.value = { ...filters.peek(), ...change };
  scheduleAddress();
}

/** Show a view, and of the sidebars one, or with "" the list. */
export function show(view, sidebar = sidebarId.peek()) {
  batch(() => {
    detailOpen.value = false;
    pane.value = view;
    sidebarId.value = sidebar;
  });
  scheduleAddress();
}

/** Show a chat of a room with a bot, or without them the list. */
export function showChat(room = "", bot = "") {
  batch(() => {
    chatAt.value = { room, bot };
    show("chat");
  });
}

/** Show a run of an agent, or with "" the list. */
export function showRun(run = "") {
  batch(() => {
    runId.value = run;
    show("agents");
  });
}

/** Show a session's events again. */
export function showReplay(session) {
  batch(() => {
    replayOf.value = session;
    active.value = null;
    show("replay");
  });
}

export const clearFilters = () => setFilters(NO_FILTERS);

/** Show a row's event beside the feed. */
export function openDetail(row) {
  batch(() => {
    active.value = row;
    detailOpen.value = true;
  });
}

export function closeDetail() {
  detailOpen.value = false;
}

/** Show only one session's events, or all again when it is the one already chosen. */
export function toggleSession(sessionId) {
  setFilters({ session: filters.peek().session === sessionId ? "" : sessionId });
  show("feed");
}

// Browsers limit how often the address may change, and typing is fast.
let addressTimer;
function scheduleAddress() {
  clearTimeout(addressTimer);
  addressTimer = setTimeout(writeAddress, 200);
}

function writeAddress() {
  const place = { pane: pane.peek(), sidebar: sidebarId.peek(), chat: chatAt.peek(), run: runId.peek(), replay: replayOf.peek() };
  history.replaceState(null, "", location.pathname + withPlace(toQuery(filters.peek()), place));
}

/** Follow the address when a person moves through the history. */
export function followHistory() {
  addEventListener("popstate", () => {
    const place = placeOf(location.search);
    batch(() => {
      filters.value = fromQuery(location.search);
      pane.value = place.pane;
      sidebarId.value = place.sidebar;
      chatAt.value = place.chat;
      runId.value = place.run;
      replayOf.value = place.replay;
    });
  });
  addEventListener("pagehide", writeAddress);
}
