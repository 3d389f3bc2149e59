// Times as people read them: clock, distance and the full date.

const pad = (n, width = 2) => String(n).padStart(width, "0");

/** Milliseconds since the epoch of an RFC 3339 text; NaN when it is none. */
export const parse = (text) => Date.parse(text);

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** Local time of day with milliseconds, `14:03:22.184`; of another day than today, `Nov 19 14:03`. */
export function clock(ms, today = new Date()) {
  const t = new Date(ms);
  if (Number.isNaN(t.getTime())) return "--:--:--";
  const minute = `${pad(t.getHours())}:${pad(t.getMinutes())}`;
  if (t.toDateString() !== today.toDateString()) return `${MONTHS[t.getMonth()]} ${pad(t.getDate())} ${minute}`;
  return `${minute}:${pad(t.getSeconds())}.${pad(t.getMilliseconds(), 3)}`;
}

/** Local date and time with its zone, for titles. */
export function absolute(ms) {
  const t = new Date(ms);
  if (Number.isNaN(t.getTime())) return "no date";
  return t.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
}

const UNITS = [
  [60, "s", 1],
  [3600, "m", 60],
  [86400, "h", 3600],
  [86400 * 30, "d", 86400],
  [86400 * 365, "mo", 86400 * 30],
  [Infinity, "y", 86400 * 365],
];

/** Distance from `now`, `12s ago`; a clock that runs ahead reads as `now`. */
export function ago(ms, now = Date.now()) {
  if (!Number.isFinite(ms)) return "never";
  const seconds = (now - ms) / 1000;
  if (seconds < 5) return "now";
  const [, unit, size] = UNITS.find(([limit]) => seconds < limit);
  return `${Math.floor(seconds / size)}${unit} ago`;
}

/** A count with its thousands separated. */
export const count = (n) => Number(n ?? 0).toLocaleString("en-US");
