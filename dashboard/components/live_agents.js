// Who is there, at any gateway: what each does, is good at, and how ready it is for more.

import { html } from "../html.js";
import { byStatus, duration } from "../live.js";
import { grant, show } from "../store.js";
import { absolute, count, parse } from "../times.js";
import { Meter } from "./meter.js";

export function Agents({ agents, at }) {
  return html`
    <section class="panel" aria-labelledby="agents-head">
      <h2 id="agents-head">Who is here <span class="pane-count">${count(agents.length)}</span></h2>
      ${agents.length === 0
        ? html`<p class="panel-empty">Nobody is connected. Agents show here the moment they are.</p>`
        : html`
          <table class="grid agents">
            <thead>
              <tr>
                <th scope="col">Agent</th><th scope="col">Status</th><th scope="col">Doing</th><th scope="col">Good at</th>
                <th scope="col" class="n" title="Open sidebars and tasks in hand">Load</th>
                <th scope="col" title="To take up something with others, of 100">Readiness</th>
                <th scope="col" class="n">Here for</th>
              </tr>
            </thead>
            <tbody>${byStatus(agents).map((agent) => html`<${Agent} key=${agent.agent_id} agent=${agent} at=${at} />`)}</tbody>
          </table>
        `}
    </section>
  `;
}

function Agent({ agent, at }) {
  const { agent_id: id, kind, status, current_context: doing, active_sidebars: sidebars, specialties, load } = agent;
  const since = parse(agent.since);
  return html`
    <tr data-agent=${id} data-presence=${status}>
      <th scope="row"><span class="presence-dot" aria-hidden="true"></span><span class="cut" title=${id}>${id}</span><${Kind} kind=${kind} id=${id} /></th>
      <td data-label="Status">${status}</td>
      <td class="wordy" data-label="Doing"><span class="cut" title=${doing}>${doing || html`<span class="none">–</span>`}</span></td>
      <td class="wordy" data-label="Good at"><span class="cut" title=${specialties.join(", ")}>${specialties.join(", ") || html`<span class="none">–</span>`}</span></td>
      <td class="n" data-label="Load">
        ${sidebars.length > 0
          ? html`<button type="button" class="only" title="In ${sidebars.join(", ")}" onClick=${() => show("sidebars", sidebars[0])}>${count(load)}</button>`
          : count(load)}
      </td>
      <td data-label="Readiness"><${Meter} value=${agent.readiness} label="Readiness" plain /></td>
      <td class="n" data-label="Here for" title="Since ${absolute(since)}, at ${agent.gateway_id}">${duration((at - since) / 1000)}</td>
    </tr>
  `;
}

/** A person is told from an agent, and this page's own name from others. */
export function Kind({ kind, id }) {
  if (id === grant.value.name) return html`<span class="tag quiet">you</span>`;
  return kind === "human" && html`<span class="tag quiet">person</span>`;
}
