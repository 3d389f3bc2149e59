// The page's keys: 1 to 5 switch views; in the feed / finds, space pauses, Esc closes, j k and the arrows move, Enter opens.

import { paused, shown } from "./feed.js";
import { active, auth, chatAt, closeDetail, detailOpen, openDetail, pane, runId, show, showChat, showRun, sidebarId, spoken } from "./store.js";

const WRITING = "input, textarea, select, [contenteditable]";
// Elements for which space and Enter already mean something.
const PRESSABLE = "button, a, summary, [role=menuitemcheckbox]";

/** Listen on the whole document; call once. */
export function listenToKeys() {
  document.addEventListener("keydown", onKey);
}

function onKey(event) {
  if (auth.peek().status !== "in" || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const writing = event.target.closest?.(WRITING);
  if (event.key === "Escape") return escape(writing);
  if (writing) return undefined;
  const act = KEYS[event.key] ?? (VIEWS_OF_THE_FEED.has(pane.peek()) ? FEED_KEYS[event.key] : undefined);
  if (!act) return undefined;
  if ((event.key === " " || event.key === "Enter") && event.target.closest?.(PRESSABLE)) return undefined;
  if (event.target.closest?.("[role=menu], .json") && event.key.startsWith("Arrow")) return undefined;
  event.preventDefault();
  return act();
}

function escape(writing) {
  if (writing) writing.blur();
  else if (pane.peek() === "sidebars" && sidebarId.peek()) show("sidebars", "");
  else if (pane.peek() === "chat" && chatAt.peek().room) showChat();
  else if (pane.peek() === "agents" && runId.peek()) showRun();
  else if (pane.peek() === "replay" && !detailOpen.peek()) show("feed");
  else if (detailOpen.peek()) {
    closeDetail();
    document.getElementById("feed-list")?.focus({ preventScroll: true });
  }
}

const VIEWS_OF_THE_FEED = new Set(["feed", "sessions"]);

const KEYS = {
  1: () => show("feed"),
  2: () => show("live"),
  3: () => show("sidebars"),
  4: () => show("chat"),
  5: () => show("agents"),
  "/": () => {
    show("feed");
    // Coming from another view, the field has to be drawn first.
    if (!findField()) setTimeout(findField, 50);
  },
};

const FEED_KEYS = {
  " ": togglePause,
  Enter: () => active.peek() && openDetail(active.peek()),
  j: () => move(1),
  k: () => move(-1),
  ArrowDown: () => move(1),
  ArrowUp: () => move(-1),
  Home: () => moveTo(0),
  End: () => moveTo(shown.peek().length - 1),
};

function findField() {
  const field = document.getElementById("filter-text");
  field?.focus();
  field?.select();
  return field !== null;
}

export function togglePause() {
  paused.value = !paused.peek();
  spoken.value = paused.peek() ? "Feed paused" : "Feed resumed";
}

function move(step) {
  const rows = shown.peek();
  const at = rows.findIndex((row) => row.uid === active.peek()?.uid);
  moveTo(at < 0 ? 0 : at + step);
}

function moveTo(index) {
  const rows = shown.peek();
  if (!rows.length) return;
  active.value = rows[Math.max(0, Math.min(rows.length - 1, index))];
}
