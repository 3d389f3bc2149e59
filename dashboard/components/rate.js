// Events per second over the last minute, as a figure and a small chart.

import { html } from "../html.js";
import { rate } from "../feed.js";
import { count } from "../times.js";

const HEIGHT = 18;

export function Rate() {
  const seconds = rate.value;
  const top = Math.max(4, ...seconds);
  const last = seconds.slice(-3);
  const perSecond = last.reduce((sum, n) => sum + n, 0) / last.length;
  const figure = perSecond >= 10 || perSecond === 0 ? count(Math.round(perSecond)) : perSecond.toFixed(1);
  const points = seconds.map((n, i) => `${i * 1.5},${(HEIGHT - 1 - (n / top) * (HEIGHT - 3)).toFixed(1)}`);
  const right = (seconds.length - 1) * 1.5;
  return html`
    <div class="rate" title="Events per second, last minute" role="img" aria-label="${figure} events per second">
      <svg viewBox="0 0 ${right} ${HEIGHT}" preserveAspectRatio="none" aria-hidden="true" focusable="false">
        <polygon points="0,${HEIGHT} ${points.join(" ")} ${right},${HEIGHT}" />
        <polyline points=${points.join(" ")} />
      </svg>
      <span class="mono">${figure}<span class="unit">/s</span></span>
    </div>
  `;
}
