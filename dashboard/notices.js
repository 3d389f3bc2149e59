// What everybody must know at once: emergencies, and that gateways shut down. Shown above every view.

import { signal } from "./html.js";
import { connection, now, spoken } from "./store.js";

const HIDDEN_AS = "switchyard.seen-notices";
// An emergency from before this page was opened still matters when it is younger than this.
const FRESH_MS = 10 * 60_000;
// Who is told of maintenance has about this long; then there is some time until the gateway is away.
const SOON_S = 2;
const SLACK_MS = 20_000;
const MOST = 5;

const TITLES = {
  security_emergency_broadcast: "Security emergency",
  critical_failure_broadcast: "Critical failure",
  system_shutdown: "Shutting down",
  maintenance_shutdown: "Maintenance",
  emergency_shutdown_warning: "Emergency shutdown",
};
const EMERGENCIES = new Set(["security_emergency_broadcast", "critical_failure_broadcast"]);

/** The newest first: `{id, kind: emergency | shutdown, type, title, message, action, by, at, until}`. */
export const notices = signal([]);

/** Look at an event; `head` is the newest cursor there was when this page came in. True when it was for here alone. */
export function noteNotice(frame, head) {
  if (!TITLES[frame.type]) return false;
  const notice = noticeOf(frame, Date.now());
  if (!EMERGENCIES.has(frame.type)) {
    if (frame.cursor == null || frame.cursor > (head ?? -1)) replaceShutdown(notice);
  } else if (now.peek() - notice.at < FRESH_MS && !hidden().includes(notice.id)) {
    notices.value = [notice, ...notices.peek().filter(({ id }) => id !== notice.id)].slice(0, MOST);
  }
  // A countdown's frames are the gateway's own and not in the log.
  return frame.cursor == null;
}

/** What is shown of an event of one of these types, at a moment in milliseconds. */
export function noticeOf(frame, at) {
  const isEmergency = EMERGENCIES.has(frame.type);
  const seconds = frame.countdown_seconds ?? SOON_S;
  return {
    id: String(frame.message_id ?? frame.type),
    kind: isEmergency ? "emergency" : "shutdown",
    type: frame.type,
    title: TITLES[frame.type],
    message: String(frame.message ?? "").replace(/ in \d+ s(?=,|$)/, ""),
    action: String(frame.action_required ?? ""),
    by: frame.emergency?.declared_by ?? frame.shutdown?.ordered_by ?? "",
    gateway: frame.shutdown?.gateway_id ?? "",
    at: isEmergency ? Date.parse(frame.timestamp) : at,
    until: isEmergency ? null : at + seconds * 1000,
    counts: frame.countdown_seconds != null,
  };
}

// The countdown's own frames say nothing of who ordered it.
function replaceShutdown(notice) {
  const known = notices.peek().find(({ kind }) => kind === "shutdown");
  const whole = notice.by ? notice : { ...notice, by: known?.by ?? "", id: known?.id ?? notice.id };
  notices.value = [...notices.peek().filter(({ kind }) => kind === "emergency"), whole];
}

/** Put a notice away, in this tab also after a reload. */
export function dismiss(notice) {
  notices.value = notices.peek().filter(({ id }) => id !== notice.id);
  sessionStorage.setItem(HIDDEN_AS, JSON.stringify([...hidden(), notice.id].slice(-50)));
  spoken.value = "Notice put away";
}

function hidden() {
  try {
    return JSON.parse(sessionStorage.getItem(HIDDEN_AS)) ?? [];
  } catch {
    return [];
  }
}

/** A shutdown is over when the gateway is there again, or has stayed; to be called now and then. */
export function tidyNotices() {
  const kept = notices.peek().filter(({ kind, until }) => kind === "emergency" || Date.now() < until + SLACK_MS);
  if (kept.length < notices.peek().length) notices.value = kept;
}

/** The line has come back: whatever was to shut down has done so. */
export function noteReconnected() {
  notices.value = notices.peek().filter(({ kind }) => kind === "emergency");
}

export const forgetNotices = () => {
  notices.value = [];
};

/** Whether the gateway is expected to be away now. */
export const isOver = (notice) => connection.value.phase !== "live" || now.value > notice.until;
