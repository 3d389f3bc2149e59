// What the feed shows: words, types, session and priorities, read from and written to the page's query.

export const NO_FILTERS = Object.freeze({ text: "", types: [], session: "", priorities: [] });
export const PRIORITIES = ["critical", "high", "normal", "low", "background"];

const list = (value) => (value ? value.split(",").map((s) => s.trim()).filter(Boolean) : []);

/** Filters of a query such as `?q=push&type=webhook&session=s1&priority=high,critical`. */
export function fromQuery(search) {
  const query = new URLSearchParams(search);
  return {
    text: query.get("q") ?? "",
    types: list(query.get("type")),
    session: query.get("session") ?? "",
    priorities: list(query.get("priority")).filter((p) => PRIORITIES.includes(p)),
  };
}

/** The query that `fromQuery` reads back; empty when nothing is filtered. Other parameters are dropped. */
export function toQuery(filters) {
  const query = new URLSearchParams();
  if (filters.text.trim()) query.set("q", filters.text.trim());
  if (filters.types.length) query.set("type", filters.types.join(","));
  if (filters.session) query.set("session", filters.session);
  if (filters.priorities.length) query.set("priority", filters.priorities.join(","));
  const text = query.toString().replaceAll("%2C", ",");
  return text ? `?${text}` : "";
}

export const isActive = (filters) => toQuery(filters) !== "";

/**
 * A predicate over rows. Every word must occur somewhere in the event's JSON, in any case; `-word` must not.
 * Gap rows always pass: what is missing might have matched.
 */
export function matcher(filters) {
  const words = filters.text.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = words.filter((w) => !w.startsWith("-") || w === "-");
  const unwanted = words.filter((w) => w.startsWith("-") && w !== "-").map((w) => w.slice(1));
  const types = new Set(filters.types);
  const priorities = new Set(filters.priorities);
  return (row) => {
    if (row.kind === "gap") return true;
    if (types.size && !types.has(row.type)) return false;
    if (priorities.size && !priorities.has(row.priority)) return false;
    if (filters.session && row.session !== filters.session) return false;
    if (!words.length) return true;
    const hay = haystack(row);
    return wanted.every((w) => hay.includes(w)) && !unwanted.some((w) => hay.includes(w));
  };
}

// Lower-cased once for each row, and only when somebody searches.
function haystack(row) {
  row.hay ??= `${row.subject}\n${row.summary}\n${row.raw}`.toLowerCase();
  return row.hay;
}

/** `values` with `value` added, or taken out if it was there. */
export const toggled = (values, value) =>
  values.includes(value) ? values.filter((v) => v !== value) : [...values, value];
