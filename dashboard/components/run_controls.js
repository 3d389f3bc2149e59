// What can be asked of a run that goes on, and what its runner answers.

import { html, useLayoutEffect, useRef, useState } from "../html.js";
import { bytes, duration } from "../live.js";
import { isUnderWay, stateText } from "../runs.js";
import { canWrite, isLive } from "../store.js";
import { deed, isFinal } from "../talk.js";
import { count } from "../times.js";
import { Icon } from "./icons.js";

export function RunControls({ run }) {
  const [form, setForm] = useState("");
  const control = useControl(run.run_id);
  const { busy, error } = control;
  // Once it has ended, only what was asked for that is still worth telling.
  const said = isUnderWay(run) || control.action === "kill" ? control.said : "";
  if (!isUnderWay(run) && !said && !error) return null;
  if (!canWrite.value) {
    return html`<p class="run-controls read-only">You can look on. To control a run, sign in with a key that has the scope <code>publish</code>.</p>`;
  }
  const off = busy !== "" || !isLive.value;
  const isPaused = run.state === "paused";
  const toggle = (name) => setForm(form === name ? "" : name);
  const ask = async (data) => {
    if (await control.ask(data)) setForm("");
  };
  return html`
    <div class="run-controls" role="group" aria-label="Control">
      ${isUnderWay(run) && html`
        <div class="run-buttons">
          <button type="button" class="button small" disabled=${off} onClick=${() => ask({ action: isPaused ? "resume" : "pause" })}>
            <${Icon} name=${isPaused ? "play" : "pause"} />${isPaused ? "Resume" : "Pause"}
          </button>
          <button type="button" class="button small" data-on=${run.state === "waiting_input"} disabled=${off} aria-expanded=${String(form === "input")} onClick=${() => toggle("input")}><${Icon} name="send" />Send input</button>
          <button type="button" class="button small" disabled=${off} onClick=${() => ask({ action: "get_state" })}><${Icon} name="search" />State</button>
          <button type="button" class="button small danger" disabled=${off} aria-expanded=${String(form === "kill")} onClick=${() => toggle("kill")}><${Icon} name="close" />Kill</button>
        </div>
        ${form === "input" && html`<${InputForm} busy=${off} ask=${control.ask} onCancel=${() => setForm("")} />`}
        ${form === "kill" && html`<${KillForm} run=${run} busy=${off} ask=${ask} onCancel=${() => setForm("")} />`}
      `}
      <p class="run-said" role="status">${busy ? `Asking to ${WORDS[busy]}…` : said}</p>
      ${error && html`<p class="form-error" role="alert">${error}</p>`}
    </div>
  `;
}

const WORDS = { pause: "pause", resume: "go on", send_input: "take the input", kill: "end", get_state: "tell how it is" };

/** Asks one thing at a time. A try whose answer got lost on the way is repeated under its own id. */
function useControl(id) {
  const [state, setState] = useState({ busy: "", action: "", said: "", error: "" });
  const last = useRef({ key: "", attempt: null });
  const ask = async (asked) => {
    const data = { run_id: id, ...asked };
    const key = JSON.stringify(data);
    if (last.current.key !== key) last.current = { key, attempt: deed("control_agent", data) };
    setState({ busy: asked.action, action: asked.action, said: "", error: "" });
    try {
      const { control } = await last.current.attempt();
      last.current = { key: "", attempt: null };
      setState({ busy: "", action: asked.action, said: saidOf(control), error: "" });
      return true;
    } catch (error) {
      // What the runner did not answer in time is told by the server: that request has had its answer.
      if (isFinal(error) || error.code === "timeout") last.current = { key: "", attempt: null };
      setState({ busy: "", action: asked.action, said: "", error: error.message });
      return false;
    }
  };
  return { ...state, ask };
}

/** A runner's answer in words. */
function saidOf({ action, status, result }) {
  if (action === "pause") return "It is paused.";
  if (action === "resume") return "It goes on.";
  if (action === "send_input") return "It was sent to the process.";
  if (action === "kill") return result?.signal ? `${result.signal} was sent.` : "It is ended.";
  const { source, state, pid, runtime_s: runtime, lines, cpu_percent: cpu, memory_bytes: memory, processes } = result ?? {};
  const parts = [
    stateText(state ?? status), pid && `process ${pid}`, processes > 1 && `${count(processes)} processes`, cpu != null && `CPU ${Math.round(cpu)} %`,
    memory != null && bytes(memory), Number.isFinite(runtime) && duration(runtime), lines != null && `${count(lines)} ${lines === 1 ? "line" : "lines"}`,
    source === "store" && "as it is stored: the runner has not answered",
  ];
  return parts.filter(Boolean).join(" · ");
}

function InputForm({ busy, ask, onCancel }) {
  const field = useRef(null);
  const newline = useRef(null);
  const end = useRef(null);
  useLayoutEffect(() => field.current.focus(), []);
  const submit = async (event) => {
    event.preventDefault();
    const input = field.current.value + (newline.current.checked ? "\n" : "");
    const ends = end.current.checked;
    if (!(await ask({ action: "send_input", ...(input && { input }), ...(ends && { end_input: true }) }))) return;
    if (ends) return void onCancel();
    if (!field.current) return;
    field.current.value = "";
    field.current.focus();
  };
  return html`
    <form class="run-form" onSubmit=${submit} onKeyDown=${(event) => leaveOnEscape(event, onCancel)}>
      <div class="run-form-row">
        <label class="visually-hidden" for="run-input">What to send</label>
        <input id="run-input" ref=${field} class="field mono" type="text" autocomplete="off" autocapitalize="off" spellcheck="false" placeholder="What to send" readonly=${busy} />
        <button type="submit" class="button small primary" disabled=${busy}>Send</button>
        <button type="button" class="button small ghost" onClick=${onCancel}>Cancel</button>
      </div>
      <p class="run-form-row">
        <label class="check"><input ref=${newline} type="checkbox" checked /> with Enter after it</label>
        <label class="check"><input ref=${end} type="checkbox" /> and end the input</label>
      </p>
    </form>
  `;
}

function KillForm({ run, busy, ask, onCancel }) {
  const yes = useRef(null);
  const grace = useRef(null);
  useLayoutEffect(() => yes.current.focus(), []);
  const onYes = () => ask({ action: "kill", grace_s: Number(grace.current.value) });
  return html`
    <div class="run-form" role="alertdialog" aria-labelledby="kill-head" aria-describedby="kill-hint" onKeyDown=${(event) => leaveOnEscape(event, onCancel)}>
      <p id="kill-head" class="form-title">End ${run.name}?</p>
      <p id="kill-hint" class="form-hint">The process and all it has begun get TERM, and KILL if they are still there after that time. ${run.task_id ? "Its task counts as failed." : ""}</p>
      <div class="run-form-row">
        <label class="check">KILL after <select ref=${grace} class="field">${[0, 5, 10, 30, 60].map((s) => html`<option key=${s} value=${s} selected=${s === 10}>${s} s</option>`)}</select></label>
        <button type="button" ref=${yes} class="button small danger" disabled=${busy} onClick=${onYes}>Kill it</button>
        <button type="button" class="button small ghost" onClick=${onCancel}>Cancel</button>
      </div>
    </div>
  `;
}

function leaveOnEscape(event, leave) {
  if (event.key !== "Escape") return;
  event.stopPropagation();
  leave();
}
