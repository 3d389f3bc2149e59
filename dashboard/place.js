// Where in the page somebody is, as its query says it: `?view=sidebars&sidebar=flaky-test`, `?view=chat&room=42&bot=ada`,
// `?view=agents&run=0199…`, `?view=replay&of=demo`. The feed needs no word.

const VIEWS = ["sessions", "live", "sidebars", "chat", "agents", "replay"];

/** The view of a query, and what is open in each: a sidebar, a chat, a run, a session that is replayed. */
export function placeOf(search) {
  const query = new URLSearchParams(search);
  const view = query.get("view");
  const chat = { room: query.get("room") ?? "", bot: query.get("bot") ?? "" };
  const [sidebar, run, replay] = ["sidebar", "run", "of"].map((name) => query.get(name) ?? "");
  return { pane: VIEWS.includes(view) ? view : "feed", sidebar, chat, run, replay };
}

/** A query of filters with the place added to it. */
export function withPlace(query, { pane, sidebar = "", chat = { room: "", bot: "" }, run = "", replay = "" }) {
  const parts = [query.slice(1)];
  const add = (name, value) => value && parts.push(`${name}=${encodeURIComponent(value)}`);
  if (pane !== "feed") add("view", pane);
  if (pane === "sidebars") add("sidebar", sidebar);
  if (pane === "chat" && chat.room && chat.bot) {
    add("room", chat.room);
    add("bot", chat.bot);
  }
  if (pane === "agents") add("run", run);
  if (pane === "replay") add("of", replay);
  const text = parts.filter(Boolean).join("&");
  return text && `?${text}`;
}
