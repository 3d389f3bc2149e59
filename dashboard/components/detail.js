// One event whole: its envelope at a glance, and the JSON as it came.

import { html } from "../html.js";
import { topicOf } from "../events.js";
import { join, pretty } from "../json_text.js";
import { closeDetail, setFilters } from "../store.js";
import { absolute } from "../times.js";
import { CopyButton } from "./copy_button.js";
import { Icon } from "./icons.js";
import { JsonView } from "./json_view.js";

export function Detail({ row }) {
  const tokens = pretty(row.raw);
  return html`
    <aside class="detail" aria-label="Event detail">
      <header class="detail-head">
        <button type="button" class="button ghost icon-only back" aria-label="Back to the feed" onClick=${closeDetail}><${Icon} name="back" /></button>
        <span class="dot" data-area=${row.area}></span>
        <h2 class="cut">${row.type}</h2>
        <${CopyButton} key=${row.uid} text=${() => join(tokens)} label="Copy JSON" />
        <button type="button" class="button ghost icon-only shut" aria-label="Close" title="Close (esc)" onClick=${closeDetail}><${Icon} name="close" /></button>
      </header>
      <div class="detail-body">
        <p class="detail-summary">${row.summary || row.subject}</p>
        <${Facts} row=${row} />
        <${JsonView} key=${row.uid} tokens=${tokens} />
      </div>
    </aside>
  `;
}

function Facts({ row }) {
  if (row.kind === "gap") return null;
  const event = JSON.parse(row.raw);
  const only = (label, change) => html`<button type="button" class="only" onClick=${() => setFilters(change)}>${label}</button>`;
  const facts = [
    ["Time", absolute(row.time)],
    ["Topic", html`<span class="mono">${topicOf(event)}</span>`],
    ["Session", row.session && html`<span class="mono">${row.session}</span> ${only("only this", { session: row.session })}`],
    ["Sender", row.sender && html`<span class="mono">${row.sender}</span>`],
    ["Priority", html`${row.priority}${event.trust === "untrusted" && html` <span class="tag" title="Text that came in by webhook is not to be trusted">untrusted</span>`}`],
    ["Cursor", row.cursor !== null && html`<span class="mono">${row.cursor}</span>${event.session_seq != null && html` <span class="aside">number ${event.session_seq} of its session</span>`}`],
    ["Caused by", event.correlation_id && html`<span class="mono">${event.correlation_id}</span>`],
  ];
  return html`
    <dl class="facts">
      ${facts.filter(([, value]) => value).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
    </dl>
  `;
}
