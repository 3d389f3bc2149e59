// Beside the tables: what is wrong, the gateways, and how sidebars go.

import { html } from "../html.js";
import { bytes, duration } from "../live.js";
import { show } from "../store.js";
import { absolute, count, parse } from "../times.js";

export function Problems({ problems }) {
  return html`
    <section class="panel problems" aria-labelledby="problems-head">
      <h2 id="problems-head">Problems <span class="pane-count">${problems.length ? count(problems.length) : ""}</span></h2>
      ${problems.length === 0
        ? html`<p class="panel-empty">None. Every connection has a health of 60 or more.</p>`
        : html`<ul>${problems.map((text) => html`<li key=${text}>${text}</li>`)}</ul>`}
    </section>
  `;
}

export function Gateways({ gateways, own, at }) {
  return html`
    <section class="panel" aria-labelledby="gateways-head">
      <h2 id="gateways-head">Gateways <span class="pane-count">${count(gateways.length)}</span></h2>
      <ul class="gateways">
        ${gateways.map((each) => html`<${Gateway} key=${each.gateway_id} each=${each} isOwn=${each.gateway_id === own.gateway_id} at=${at} />`)}
      </ul>
    </section>
  `;
}

function Gateway({ each, isOwn, at }) {
  const started = parse(each.started);
  const facts = [
    ["connections", count(each.connections_total)],
    ["slow", count(each.slow)],
    ["cursor", count(each.cursor)],
    ["memory", bytes(each.memory_bytes)],
    ["CPU", `${Math.round(each.cpu * 100)} %`],
    ["up", duration((at - started) / 1000)],
  ];
  return html`
    <li class="gateway" data-gateway=${each.gateway_id}>
      <p class="gateway-name"><span class="mono cut" title="Started ${absolute(started)}">${each.gateway_id}</span>${isOwn && html`<span class="tag quiet">this page’s</span>`}</p>
      <dl>${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    </li>
  `;
}

export function Sidebars({ figures }) {
  const { stats = figures } = figures;
  const rate = stats.merge_success_rate;
  const facts = [
    ["open now", count(stats.open)],
    ["spawned", count(stats.spawned)],
    ["merged", count(stats.merged)],
    ["with success", rate == null ? "–" : `${Math.round(rate * 100)} %`],
    ["forked", count(stats.forked)],
    ["median life", duration(stats.lifespan_s_p50 ?? NaN)],
  ];
  return html`
    <section class="panel" aria-labelledby="sidebar-figures-head">
      <h2 id="sidebar-figures-head">Sidebars <span class="panel-more">last ${stats.hours} h</span></h2>
      <div class="gateway">
        <dl>${facts.map(([name, value]) => html`<div key=${name} data-figure=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
        <button type="button" class="only" onClick=${() => show("sidebars", "")}>All sidebars</button>
      </div>
    </section>
  `;
}
