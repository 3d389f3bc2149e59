// Where in the page somebody is, as its query says it: `?view=sidebars&sidebar=flaky-test`. The feed needs no word.

const VIEWS = ["sessions", "live", "sidebars"];

/** The view and the open sidebar of a query. */
export function placeOf(search) {
  const query = new URLSearchParams(search);
  const view = query.get("view");
  return { pane: VIEWS.includes(view) ? view : "feed", sidebar: query.get("sidebar") ?? "" };
}

/** A query of filters with the place added to it. */
export function withPlace(query, pane, sidebar) {
  const parts = [query.slice(1)];
  if (pane !== "feed") parts.push(`view=${pane}`);
  if (pane === "sidebars" && sidebar) parts.push(`sidebar=${encodeURIComponent(sidebar)}`);
  const text = parts.filter(Boolean).join("&");
  return text && `?${text}`;
}
