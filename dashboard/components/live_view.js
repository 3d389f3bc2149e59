// Who is connected and how well: the gateways' status display, as it changes.

import { html } from "../html.js";
import { display, isStale, rates, shownAt, bytes, perSecond } from "../live.js";
import { isAdmin, isLive, now } from "../store.js";
import { absolute, ago, count } from "../times.js";
import { Agents } from "./live_agents.js";
import { Connections } from "./live_connections.js";
import { Gateways, Problems, Sidebars } from "./live_side.js";

export function LiveView() {
  const state = display.value;
  return html`
    <main class="live" aria-label="Live" tabindex="-1">
      <header class="live-head">
        <h1>Live</h1>
        <${Freshness} />
      </header>
      ${!isAdmin.value && state && html`<${OwnOnly} />`}
      ${state ? html`<${Display} state=${state} />` : html`<${Waiting} />`}
    </main>
  `;
}

function Display({ state }) {
  return html`
    <div data-stale=${isStale.value || !isLive.value} class="live-body">
      <${Figures} state=${state} />
      <div class="live-grid">
        <div class="live-main">
          <${Agents} agents=${state.agents} at=${state.at} />
          <${Connections} state=${state} />
        </div>
        <aside class="live-side">
          <${Problems} problems=${state.problems} />
          <${Gateways} gateways=${state.gateways} own=${state.gateway} at=${state.at} />
          ${state.sidebars && html`<${Sidebars} figures=${state.sidebars} />`}
        </aside>
      </div>
    </div>
  `;
}

function Freshness() {
  if (!display.value) return null;
  const at = shownAt.value;
  const text = isLive.value && !isStale.value ? "every 5 s" : `as it was ${ago(at, now.value)}`;
  return html`<span class="live-when" title="Last told ${absolute(at)}">${text}</span>`;
}

function OwnOnly() {
  return html`
    <p class="live-note">
      You see the totals, and of agents and connections your own. To see all of them, open the link that ${" "}
      <code>switchyard status</code> prints, or sign in with a key that has the scope <code>admin</code>.
    </p>
  `;
}

function Waiting() {
  if (!isLive.value) {
    return html`
      <div class="empty">
        <h2>The gateway is away.</h2>
        <p>Who is connected shows here as soon as it is back. <code>switchyard doctor</code> says what is wrong.</p>
      </div>
    `;
  }
  return html`
    <div class="live-body" aria-label="Loading" role="status">
      <div class="figures">${[1, 2, 3, 4, 5, 6, 7].map((n) => html`<div key=${n} class="figure waiting"><i></i><i></i></div>`)}</div>
      <div class="live-grid">
        <div class="skeleton"><i></i><i></i><i></i><i></i><i></i><i></i></div>
        <div class="skeleton"><i></i><i></i><i></i></div>
      </div>
    </div>
  `;
}

function Figures({ state }) {
  const { gateway, gateways, agents, problems } = state;
  const total = gateways.reduce((sum, each) => sum + each.connections_total, 0) || gateway.connections_total;
  const working = agents.filter(({ status }) => status === "working").length;
  const moved = rates.value;
  const figures = [
    ["Connections", count(total), `${count(gateway.by_kind.agent)} of agents, ${count(gateway.by_kind.human)} of people`],
    ["Present", count(agents.length), isAdmin.value ? `${count(working)} working` : "of your own"],
    ["Problems", count(problems.length), `${count(gateway.slow)} slow`, problems.length ? "poor" : "good"],
    ["Events in", moved ? html`${perSecond(moved.in)}<small>/s</small>` : "–", `${count(gateway.events_in)} in all`],
    ["Frames out", moved ? html`${perSecond(moved.out)}<small>/s</small>` : "–", `${count(gateway.frames_out)} in all`],
    ["Dropped", count(gateway.dropped), `${count(gateway.gaps)} gaps told`, gateway.dropped ? "fair" : ""],
    ["Kept in memory", bytes(gateway.ring.bytes), `${count(gateway.ring.events)} events`],
  ];
  return html`
    <dl class="figures">
      ${figures.map(([name, value, more, look]) => html`
        <div key=${name} class="figure" data-look=${look}>
          <dt>${name}</dt>
          <dd><span class="figure-value">${value}</span><span class="figure-more cut" title=${more}>${more}</span></dd>
        </div>
      `)}
    </dl>
  `;
}
