// How the line to the gateway stands: a badge with the cursor, and a bar with a countdown while it is down.

import { html, useEffect, useState } from "../html.js";
import { connection, cursor } from "../store.js";
import { count } from "../times.js";
import { sentence } from "../words.js";
import { Icon } from "./icons.js";

const BADGES = {
  idle: ["off", "Offline"],
  authorising: ["pending", "Connecting"],
  opening: ["pending", "Connecting"],
  subscribing: ["pending", "Catching up"],
  live: ["live", "Live"],
  waiting: ["down", "Offline"],
  stopped: ["down", "Stopped"],
};

export function ConnectionState() {
  const { phase } = connection.value;
  const [look, label] = BADGES[phase];
  const at = cursor.value;
  const title = at === null ? label : `${label}. Cursor ${at}: the number of the newest event seen.`;
  return html`
    <div class="connection" data-look=${look} data-phase=${phase} title=${title}>
      <span class="lamp" aria-hidden="true"></span>
      <span class="connection-label">${label}</span>
      ${at !== null && html`<span class="cursor mono" aria-label="cursor ${at}">${count(at)}</span>`}
    </div>
  `;
}

/** Says why the line is down and when the next try is; from the second try on, since the first follows at once. */
export function ConnectionBar({ onReconnect }) {
  const { phase, attempt, retryAt, reason } = connection.value;
  const seconds = useCountdown(retryAt);
  const trying = ["authorising", "opening", "subscribing"].includes(phase);
  const down = phase === "stopped" || (attempt > 1 && (trying || phase === "waiting"));
  if (!down) return null;
  const next = trying ? "Reconnecting…" : seconds > 0 ? `Reconnecting in ${seconds} s` : "Reconnecting…";
  return html`
    <div class="bar" data-look=${phase === "stopped" ? "stopped" : "down"}>
      <span class="bar-text">
        <strong>${sentence(reason)}</strong>
        ${phase !== "stopped" && html`<span class="bar-next">${next}<span class="bar-try">try ${attempt}</span></span>`}
      </span>
      <button class="button small" type="button" disabled=${trying} onClick=${onReconnect}>
        <${Icon} name="retry" />Reconnect now
      </button>
    </div>
  `;
}

function useCountdown(until) {
  const [left, setLeft] = useState(0);
  useEffect(() => {
    if (until === null) return undefined;
    const tick = () => setLeft(Math.max(0, Math.ceil((until - Date.now()) / 1000)));
    tick();
    const timer = setInterval(tick, 200);
    return () => clearInterval(timer);
  }, [until]);
  return left;
}
