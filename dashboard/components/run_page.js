// One run: what it is, what can be done with it, what it writes, what was found in that, and its history.

import { html, useState } from "../html.js";
import { bytes, duration } from "../live.js";
import { open, openRun } from "../run_open.js";
import { output } from "../run_output.js";
import { isUnderWay, stateText } from "../runs.js";
import { isLive, now, setFilters, show, showReplay, showRun } from "../store.js";
import { absolute, clock, count, parse } from "../times.js";
import { Icon, IconButton } from "./icons.js";
import { RunControls } from "./run_controls.js";
import { RunFound } from "./run_found.js";
import { RunHistory } from "./run_history.js";
import { endText, runtime } from "./run_list.js";
import { RunOutput } from "./run_output.js";

export function RunPage({ id }) {
  const { run, status, error } = open.value;
  const isRead = open.value.id === id && run;
  return html`
    <main class="talk run-page" aria-label="Run">
      <${Head} id=${id} run=${isRead ? run : null} />
      ${isRead
        ? html`<${RunControls} run=${run} /><${Parts} run=${run} error=${error} />`
        : html`<${Absent} id=${id} status=${status} error=${error} />`}
    </main>
  `;
}

function Absent({ id, status, error }) {
  if (status === "failed") {
    return html`
      <div class="empty">
        <h2>This run can’t be shown.</h2>
        <p role="alert">${error}</p>
        <button type="button" class="button" onClick=${() => openRun(id)}>Try again</button>
      </div>
    `;
  }
  if (!isLive.value) return html`<div class="empty"><p class="empty-quiet">Waiting for the gateway…</p></div>`;
  return html`<div class="skeleton talk-skeleton" role="status" aria-label="Loading"><i></i><i></i><i></i></div>`;
}

function Head({ id, run }) {
  return html`
    <header class="talk-head">
      <div class="talk-title">
        <${IconButton} name="back" label="Back to the list" look="button ghost icon-only back" onClick=${() => showRun()} />
        <h1 title=${id}>${run?.name ?? id}</h1>
        ${run && html`<span class="pill" data-run=${run.state} title=${run.cause ?? ""}><span class="status-dot"></span>${stateText(run.state)}</span>`}
      </div>
      ${run && html`<${Facts} run=${run} />`}
    </header>
  `;
}

function Facts({ run }) {
  const { agent_name: agent, session_id: session, task_id: task, attempt, command, recipe, pid, usage, error, cause } = run;
  const at = isUnderWay(run) ? Math.max(now.value, Date.now()) : now.value;
  const started = parse(run.started);
  const lines = Math.max(run.lines, output.value.total);
  const tokens = usage.input_tokens + usage.output_tokens;
  const events = () => {
    setFilters({ session });
    show("feed");
  };
  const facts = [
    ["Agent", agent],
    ["Command", html`<span class="mono">${command}</span>${recipe && ` (${recipe})`}`],
    ["Session", html`<button type="button" class="only mono" title="Show its events" onClick=${events}>${session}</button>`],
    ["Task", task && html`<span class="mono">${task}</span>${attempt > 1 && ` attempt ${attempt}`}`],
    ["Began", html`<time datetime=${run.started} title=${absolute(started)}>${clock(started).replace(/\.\d+$/, "")}</time>`],
    ["Runtime", duration(runtime(run, at))],
    ["Wrote", `${count(lines)} ${lines === 1 ? "line" : "lines"}${run.lines === lines ? `, ${bytes(run.bytes)}` : ""}`],
    ["Process", isUnderWay(run) && pid && html`<span class="mono">${pid}</span>`],
    ["Ended", endText(run)],
    ["Used", tokens + usage.cost_usd > 0 && `${count(tokens)} tokens, $${usage.cost_usd.toFixed(4)}`],
    ["Why", !isUnderWay(run) && (error ?? cause)],
  ];
  return html`
    <div class="talk-facts">
      <dl>${facts.filter(([, value]) => value).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
      <button type="button" class="button small" onClick=${() => showReplay(session)}><${Icon} name="replay" />Replay the session</button>
    </div>
  `;
}

const PARTS = [["output", "Output"], ["found", "Found"], ["history", "History"]];

function Parts({ run, error }) {
  const [part, setPart] = useState("output");
  const onKeyDown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = PARTS.findIndex(([name]) => name === part);
    const [next] = PARTS[(at + step + PARTS.length) % PARTS.length];
    setPart(next);
    event.currentTarget.querySelector(`#part-${next}`).focus();
  };
  return html`
    <div class="parts" role="tablist" aria-label="Of this run" onKeyDown=${onKeyDown}>
      ${PARTS.map(([name, label]) => html`
        <button key=${name} id="part-${name}" type="button" class="part" role="tab" aria-selected=${String(part === name)} aria-controls="part-body"
          tabindex=${part === name ? 0 : -1} onClick=${() => setPart(name)}>${label}</button>
      `)}
    </div>
    <div id="part-body" class="part-body" role="tabpanel" aria-labelledby="part-${part}">
      ${error && html`<p class="pane-error" role="alert">${error}</p>`}
      ${part === "output" && html`<${RunOutput} run=${run} />`}
      ${part === "found" && html`<${RunFound} id=${run.run_id} onShown=${() => setPart("output")} />`}
      ${part === "history" && html`<${RunHistory} run=${run} />`}
    </div>
  `;
}
