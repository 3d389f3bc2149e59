// Where in the page somebody is, as its query says it: `?view=sidebars&sidebar=flaky-test`, `?view=chat&room=42&bot=ada`.
// The feed needs no word.

const VIEWS = ["sessions", "live", "sidebars", "chat"];

/** The view, the open sidebar and the open chat of a query. */
export function placeOf(search) {
  const query = new URLSearchParams(search);
  const view = query.get("view");
  const chat = { room: query.get("room") ?? "", bot: query.get("bot") ?? "" };
  return { pane: VIEWS.includes(view) ? view : "feed", sidebar: query.get("sidebar") ?? "", chat };
}

/** A query of filters with the place added to it. */
export function withPlace(query, pane, sidebar, chat = { room: "", bot: "" }) {
  const parts = [query.slice(1)];
  if (pane !== "feed") parts.push(`view=${pane}`);
  if (pane === "sidebars" && sidebar) parts.push(`sidebar=${encodeURIComponent(sidebar)}`);
  if (pane === "chat" && chat.room && chat.bot) parts.push(`room=${encodeURIComponent(chat.room)}&bot=${encodeURIComponent(chat.bot)}`);
  const text = parts.filter(Boolean).join("&");
  return text && `?${text}`;
}
