// One event whole: its envelope at a glance, and the JSON as it came.

import { html } from "../html.js";
import { topicOf } from "../events.js";
import { join, pretty } from "../json_text.js";
import { closeDetail, setFilters } from "../store.js";
import { absolute } from "../times.js";
import { CopyButton } from "./copy_button.js";
import { IconButton } from "./icons.js";
import { JsonView } from "./json_view.js";

export function Detail({ row }) {
  const tokens = pretty(row.raw);
  return html`
    <aside class="detail" aria-label="Event detail">
      <header class="detail-head">
        <${IconButton} name="back" label="Back to the feed" look="button ghost icon-only back" onClick=${closeDetail} />
        <span class="dot" data-area=${row.area}></span>
        <h2 class="cut">${row.type}</h2>
        <${CopyButton} key=${row.uid} text=${() => join(tokens)} label="Copy JSON" />
        <${IconButton} name="close" label="Close" hint=" (esc)" look="button ghost icon-only shut" onClick=${closeDetail} />
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
  const only = () => setFilters({ session: row.session });
  const facts = [
    ["Time", absolute(row.time)],
    ["Topic", mono(topicOf(event))],
    ["Session", row.session && html`${mono(row.session)} <button type="button" class="only" onClick=${only}>only this</button>`],
    ["Sender", row.sender && mono(row.sender)],
    ["Priority", html`${row.priority} ${event.trust === "untrusted" && html`<span class="tag" title=${UNTRUSTED}>untrusted</span>`}`],
    ["Cursor", row.cursor !== null && html`${mono(row.cursor)} ${placeInSession(event)}`],
    ["Caused by", event.correlation_id && mono(event.correlation_id)],
  ];
  return html`
    <dl class="facts">
      ${facts.filter(([, value]) => value).map(([name, value]) => html`
        <div key=${name}><dt>${name}</dt><dd>${value}</dd></div>
      `)}
    </dl>
  `;
}

const UNTRUSTED = "Text that came in by webhook is not to be trusted";
const mono = (text) => html`<span class="mono">${text}</span>`;
const placeInSession = ({ session_seq: seq }) =>
  seq != null && html`<span class="aside">number ${seq} of its session</span>`;
