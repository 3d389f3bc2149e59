// The connections of the gateway this page is at, the least healthy first.

import { html } from "../html.js";
import { connection } from "../store.js";
import { absolute, count, parse } from "../times.js";
import { Meter } from "./meter.js";

const SLOW = { drain: "takes too little", stalled: "stuck", ping: "slow pings" };
const LANES = { summary: "summaries", full: "all, later", critical_only: "critical only" };

export function Connections({ state }) {
  const { connections, gateway, next } = state;
  return html`
    <section class="panel" aria-labelledby="connections-head">
      <h2 id="connections-head">
        Connections <span class="pane-count">${count(connections.length)}</span>
        <span class="panel-more">to <span class="mono">${gateway.gateway_id}</span>, the least healthy first</span>
      </h2>
      ${connections.length === 0
        ? html`<p class="panel-empty">None of yours is at this gateway.</p>`
        : html`
          <table class="grid connections">
            <thead>
              <tr>
                <th scope="col">Health</th><th scope="col">Agent</th>
                <th scope="col" class="n" title="Mean of the last 5 pings">Ping</th>
                <th scope="col" class="n" title="Events that wait to be read">Queue</th><th scope="col" class="n">Dropped</th>
                <th scope="col" class="n">In</th><th scope="col" class="n">Out</th>
                <th scope="col">Mode</th><th scope="col">Lane</th><th scope="col">Address</th>
              </tr>
            </thead>
            <tbody>${connections.map((each) => html`<${Row} key=${each.connection_id} each=${each} />`)}</tbody>
          </table>
        `}
      ${next && html`<p class="panel-empty">These are the 100 least healthy. <code>switchyard status</code> pages through all.</p>`}
    </section>
  `;
}

function Row({ each }) {
  const { connection_id: id, agent_id: agent, ping_ms: ping, kind, permission, mode, slow, slow_lane: lane } = each;
  const topics = `${each.subscriptions} ${each.subscriptions === 1 ? "topic" : "topics"}`;
  return html`
    <tr data-connection=${id}>
      <td data-label="Health"><${Meter} value=${each.health} label="Health" /></td>
      <th scope="row" title="Connected ${absolute(parse(each.connected_at))}, as ${id}">
        <span class="cut">${agent}</span>
        ${id === connection.value.id ? html`<span class="tag quiet">this page</span>`
          : html`<span class="aside">${kind === "human" ? "person" : permission}</span>`}
      </th>
      <td class="n" data-label="Ping">${ping == null ? html`<span class="none">–</span>` : html`${count(Math.round(ping))}<small> ms</small>`}</td>
      <td class="n" data-label="Queue" data-look=${each.queue_depth ? "fair" : ""}>${count(each.queue_depth)}</td>
      <td class="n" data-label="Dropped" data-look=${each.dropped ? "poor" : ""}>${count(each.dropped)}</td>
      <td class="n" data-label="In">${count(each.messages_in)}</td>
      <td class="n" data-label="Out">${count(each.messages_out)}</td>
      <td data-label="Mode" title=${topics}>${each.subscriptions ? mode : html`<span class="none">no topics</span>`}</td>
      <td data-label="Lane"><${Lane} slow=${slow} lane=${lane} /></td>
      <td class="mono" data-label="Address"><span class="cut">${each.address ?? html`<span class="none">–</span>`}</span></td>
    </tr>
  `;
}

function Lane({ slow, lane }) {
  if (!slow && !lane) return html`<span class="none">–</span>`;
  return html`<span class="tag">${[lane && (LANES[lane] ?? lane), slow && (SLOW[slow] ?? slow)].filter(Boolean).join(", ")}</span>`;
}
