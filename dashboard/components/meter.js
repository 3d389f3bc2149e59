// A number from 0 to 100 with a short bar, coloured by how good it is, or `plain` where little is not bad.

import { html } from "../html.js";
import { grade } from "../live.js";

export function Meter({ value, label, plain = false }) {
  const known = Number.isFinite(value);
  return html`
    <span class="meter" data-grade=${known && !plain ? grade(value) : "plain"} title="${label}: ${known ? value : "not known"} of 100">
      <svg viewBox="0 0 40 4" preserveAspectRatio="none" aria-hidden="true" focusable="false">
        <rect class="meter-ground" width="40" height="4" rx="2" />
        <rect class="meter-fill" width=${known ? Math.max(2, value * 0.4) : 0} height="4" rx="2" />
      </svg>
      <span class="meter-value">${known ? value : "–"}</span>
    </span>
  `;
}
