// The runs of agents, the last begun first, by agent and state.

import { html, useRef } from "../html.js";
import { duration } from "../live.js";
import {
  agentNames, filterRuns, isUnderWay, loadMoreRuns, refreshRuns, runFilters, runListing, runs, STATES, stateText,
} from "../runs.js";
import { isLive, now, runId, showRun } from "../store.js";
import { absolute, ago, count, parse } from "../times.js";

export function RunList() {
  const all = runs.value;
  const { next } = runListing.value;
  return html`
    <nav class="sessions sidebars runs" aria-label="Runs">
      <header class="pane-head">
        <h2>Runs</h2>
        ${all.length > 0 && html`<span class="pane-count mono">${count(all.length)}${next && "+"}</span>`}
      </header>
      <${Filters} />
      <${ListState} isEmpty=${all.length === 0} />
      <ul>
        ${all.map((run) => html`<${Item} key=${run.run_id} run=${run} chosen=${run.run_id === runId.value} at=${now.value} />`)}
      </ul>
      ${next && html`<button type="button" class="button ghost wide more" onClick=${loadMoreRuns}>Show more</button>`}
    </nav>
  `;
}

function Filters() {
  const { agent, state } = runFilters.value;
  const field = useRef(null);
  const onSubmit = (event) => {
    event.preventDefault();
    filterRuns({ agent: field.current.value.trim() });
  };
  return html`
    <form class="run-filters" role="search" aria-label="Runs" onSubmit=${onSubmit}>
      <label class="visually-hidden" for="run-agent">Agent</label>
      <input id="run-agent" ref=${field} class="field" type="search" list="run-agents" placeholder="Any agent" value=${agent}
        autocomplete="off" spellcheck="false" onChange=${({ target }) => filterRuns({ agent: target.value.trim() })} />
      <datalist id="run-agents">${agentNames.value.map((name) => html`<option key=${name} value=${name} />`)}</datalist>
      <label class="visually-hidden" for="run-state">State</label>
      <select id="run-state" class="field" value=${state} onChange=${({ target }) => filterRuns({ state: target.value })}>
        <option value="">Any state</option>
        ${STATES.map((each) => html`<option key=${each} value=${each}>${stateText(each)}</option>`)}
      </select>
    </form>
  `;
}

function ListState({ isEmpty }) {
  const { status, error } = runListing.value;
  const { agent, state } = runFilters.value;
  if (status === "failed") {
    return html`
      <p class="pane-error" role="alert">${error} <button type="button" class="only" onClick=${refreshRuns}>Try again</button></p>
    `;
  }
  if (!isEmpty) return null;
  if (!isLive.value) return html`<p class="pane-empty">Runs show here when the gateway is back.</p>`;
  if (status !== "ready") return html`<div class="skeleton" role="status" aria-label="Loading"><i></i><i></i><i></i></div>`;
  if (agent || state) {
    return html`
      <p class="pane-empty">
        No such run. <button type="button" class="only" onClick=${() => filterRuns({ agent: "", state: "" })}>Show all</button>
      </p>
    `;
  }
  return html`
    <p class="pane-empty">No agent has run yet. <code>switchyard agent run</code> puts a command under control.</p>
  `;
}

/** How long a run took, or has taken until `at`, in seconds. */
export const runtime = ({ started, ended }, at) => Math.max(0, ((ended ? parse(ended) : at) - parse(started)) / 1000);

/** How a run ended, in a word; "" for one that goes on or ended well. */
export const endText = ({ signal, exit_code: code }) => signal ?? (code == null ? "" : `exit ${code}`);

function Item({ run, chosen, at }) {
  const { run_id: id, name, agent_name: agent, state, task_id: task, lines } = run;
  const started = parse(run.started);
  return html`
    <li>
      <button type="button" class="session run" data-run=${state} data-closed=${!isUnderWay(run)} aria-pressed=${String(chosen)}
        onClick=${() => showRun(chosen ? "" : id)}>
        <span class="session-top">
          <span class="status-dot" aria-hidden="true"></span>
          <span class="session-title cut" title=${name}>${name}</span>
          <time class="session-time" datetime=${run.started} title="Began ${absolute(started)}">${ago(started, at)}</time>
        </span>
        <span class="session-bottom cut">
          <span class="session-status">${stateText(state)}</span>
          <span>${duration(runtime(run, at))}</span>
          <span>${count(lines)} ${lines === 1 ? "line" : "lines"}</span>
          ${endText(run) && html`<span>${endText(run)}</span>`}
        </span>
        <span class="session-bottom cut" title=${task ? `${agent}, task ${task}` : agent}>
          <span>${agent}</span>
          ${task && html`<span>task <span class="mono">${task}</span></span>`}
        </span>
      </button>
    </li>
  `;
}
