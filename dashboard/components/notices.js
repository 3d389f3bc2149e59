// Emergencies and shutdowns, above whatever is shown.

import { html, useEffect, useState } from "../html.js";
import { dismiss, isOver, notices } from "../notices.js";
import { now } from "../store.js";
import { absolute, ago } from "../times.js";
import { sentence } from "../words.js";
import { Icon, IconButton } from "./icons.js";

export function Notices() {
  return html`
    <div class="notices" role="region" aria-label="Notices">
      ${notices.value.map((notice) => html`<${Notice} key=${notice.id} notice=${notice} />`)}
    </div>
  `;
}

function Notice({ notice }) {
  const { kind, type, title, message, action, by, gateway, at } = notice;
  return html`
    <div class="notice" data-kind=${kind} data-type=${type}>
      <${Icon} name="warning" />
      <div class="notice-text">
        <p role="alert"><strong>${title}</strong> <span>${sentence(message)}</span></p>
        <p class="notice-more">
          ${action && html`<span class="notice-action">${sentence(action)}</span>`}
          ${kind === "emergency" && html`<time title=${absolute(at)}>${ago(at, now.value)}</time>`}
          ${by && html`<span>by ${by}</span>`}
          ${gateway && html`<span>gateway <span class="mono">${gateway}</span></span>`}
          ${kind === "shutdown" && html`<${Countdown} notice=${notice} />`}
        </p>
      </div>
      <${IconButton} name="close" label="Put this notice away" look="button ghost icon-only notice-close" onClick=${() => dismiss(notice)} />
    </div>
  `;
}

// Every second is too often to be read out: the gateway's own warnings are.
function Countdown({ notice }) {
  const [left, setLeft] = useState(() => secondsTo(notice.until));
  useEffect(() => {
    const tick = () => setLeft(secondsTo(notice.until));
    tick();
    const timer = setInterval(tick, 250);
    return () => clearInterval(timer);
  }, [notice.until]);
  if (left <= 0 || isOver(notice)) return html`<span class="countdown">This page comes back by itself.</span>`;
  if (!notice.counts) return null;
  return html`<span class="countdown" aria-hidden="true">in <b>${left}</b> s</span>`;
}

const secondsTo = (until) => Math.max(0, Math.ceil((until - Date.now()) / 1000));
