// One line of the feed. Drawn anew only when its own props change.

import { html } from "../html.js";
import { openDetail } from "../store.js";
import { absolute, clock } from "../times.js";

export function EventRow({ row, active, position, total }) {
  const common = {
    id: `row-${row.uid}`,
    role: "option",
    "aria-selected": String(active),
    "aria-posinset": position,
    "aria-setsize": total,
    onClick: () => openDetail(row),
  };
  if (row.kind === "gap") {
    return html`
      <div class="row gap" data-reason=${row.subject} ...${common}>
        <time class="c-time mono" title=${absolute(row.time)}>${clock(row.time)}</time>
        <span class="c-gap"><strong>Gap</strong> ${row.summary}</span>
      </div>
    `;
  }
  return html`
    <div class="row" data-type=${row.type} data-priority=${row.priority} ...${common}>
      <time class="c-time mono" title=${absolute(row.time)}>${clock(row.time)}</time>
      <span class="c-type"><span class="dot" data-area=${row.area}></span><span class="cut">${row.type}</span></span>
      <span class="c-subject cut">${row.subject}</span>
      <span class="c-session cut">${row.session}</span>
      <span class="c-sender cut">${row.sender}</span>
      <span class="c-summary cut">
        ${row.priority !== "normal" && html`<span class="priority">${row.priority}</span>`}${row.summary}
      </span>
    </div>
  `;
}
