// The gateways' status display: the last one that came, and what can be read off it.

import { computed, signal } from "./html.js";
import { now } from "./store.js";

// One comes every 5 s; of one that is older than this others may be missing.
const STALE_MS = 15_000;

/** The last display, and when it came; null before the first. */
export const display = signal(null);
const cameAt = signal(0);
let before = null;

/** Events in and frames out each second since the display before; null while there was only one. */
export const rates = signal(null);

export const isStale = computed(() => now.value - cameAt.value > STALE_MS);
export const shownAt = computed(() => cameAt.value);

/** Take in a display. */
export function noteDisplay(frame) {
  const at = Date.parse(frame.timestamp);
  rates.value = ratesBetween(before, frame);
  before = frame;
  cameAt.value = Date.now();
  display.value = { ...frame, at };
}

export function forgetDisplay() {
  before = null;
  rates.value = null;
  display.value = null;
}

/** What has changed each second from one display to the next of the same gateway; null when that can't be told. */
export function ratesBetween(earlier, later) {
  const seconds = (Date.parse(later.timestamp) - Date.parse(earlier?.timestamp)) / 1000;
  if (!(seconds > 0.5) || earlier.gateway.started !== later.gateway.started) return null;
  const each = (name) => Math.max(0, (later.gateway[name] - earlier.gateway[name]) / seconds);
  return { in: each("events_in"), out: each("frames_out") };
}

/** How a health or a readiness of 0 to 100 looks: good | fair | poor. */
export const grade = (score) => (score >= 80 ? "good" : score >= 60 ? "fair" : "poor");

const ORDER = ["working", "online", "idle", "offline"];

/** Agents with those at work first, then by name. */
export const byStatus = (agents) =>
  [...agents].sort((a, b) => ORDER.indexOf(a.status) - ORDER.indexOf(b.status) || (a.agent_id < b.agent_id ? -1 : 1));

const SIZES = ["B", "kB", "MB", "GB", "TB"];

/** Bytes in three digits or so: `212 MB`. */
export function bytes(n) {
  if (!Number.isFinite(n)) return "–";
  const step = n < 1000 ? 0 : Math.min(SIZES.length - 1, Math.floor(Math.log10(n) / 3));
  const value = n / 1000 ** step;
  return `${step && value < 10 ? value.toFixed(1) : Math.round(value)} ${SIZES[step]}`;
}

/** Seconds as the two largest units: `3d 4h`, `12m 5s`. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const s = Math.max(0, Math.floor(seconds));
  const parts = [[Math.floor(s / 86400), "d"], [Math.floor(s / 3600) % 24, "h"], [Math.floor(s / 60) % 60, "m"], [s % 60, "s"]];
  const first = parts.findIndex(([n]) => n > 0);
  if (first < 0) return "0s";
  return parts.slice(first, first + 2).filter(([n]) => n > 0).map(([n, unit]) => n + unit).join(" ");
}

/** A rate with a decimal while it is small: `3.4`, `120`. */
export const perSecond = (n) => (n >= 10 || n === 0 ? String(Math.round(n)) : n.toFixed(1));
