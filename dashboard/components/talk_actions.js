// What a person can do to a sidebar besides talking: pause it, go on with it, merge it.

import { html, useEffect, useLayoutEffect, useRef, useState } from "../html.js";
import { canWrite, isLive } from "../store.js";
import { deed, isFinal, may } from "../talk.js";
import { Icon } from "./icons.js";

export function TalkActions({ whole }) {
  const [form, setForm] = useState("");
  const { run, busy, error, clearError } = useDeed();
  const { status, sidebar_id: id } = whole;
  const can = may(status);
  useEffect(() => {
    setForm("");
    clearError();
  }, [status]);
  if (!canWrite.value || !(can.pause || can.resume || can.merge)) return null;
  const off = busy || !isLive.value;
  const toggle = (name) => {
    clearError();
    setForm(form === name ? "" : name);
  };
  return html`
    <div class="talk-actions">
      <div class="talk-buttons">
        ${can.pause && html`<button type="button" class="button small" aria-expanded=${String(form === "pause")} disabled=${off} onClick=${() => toggle("pause")}><${Icon} name="pause" />Pause</button>`}
        ${can.resume && html`<button type="button" class="button small" disabled=${off} onClick=${() => run("resume_sidebar", { sidebar_id: id })}><${Icon} name="play" />Resume</button>`}
        ${can.merge && html`<button type="button" class="button small" aria-expanded=${String(form === "merge")} disabled=${off} onClick=${() => toggle("merge")}><${Icon} name="merge" />Merge</button>`}
      </div>
      ${form === "pause" && html`<${PauseForm} id=${id} busy=${off} run=${run} onCancel=${() => toggle("pause")} />`}
      ${form === "merge" && html`<${MergeForm} whole=${whole} busy=${off} run=${run} onCancel=${() => toggle("merge")} />`}
      ${error && html`<p class="form-error" role="alert">${error}</p>`}
    </div>
  `;
}

/** Runs one command at a time; a try that settled nothing is repeated under its own id. */
export function useDeed() {
  const [state, setState] = useState({ busy: false, error: "" });
  const last = useRef({ key: "", attempt: null });
  const run = async (command, data) => {
    const key = JSON.stringify([command, data]);
    if (last.current.key !== key) last.current = { key, attempt: deed(command, data) };
    setState({ busy: true, error: "" });
    try {
      await last.current.attempt();
      last.current = { key: "", attempt: null };
      setState({ busy: false, error: "" });
    } catch (error) {
      if (isFinal(error)) last.current = { key: "", attempt: null };
      setState({ busy: false, error: error.message });
    }
  };
  const clearError = () => setState((known) => ({ ...known, error: "" }));
  return { ...state, run, clearError };
}

function PauseForm({ id, busy, run, onCancel }) {
  const field = useRef(null);
  useLayoutEffect(() => field.current.focus(), []);
  const submit = (event) => {
    event.preventDefault();
    const reason = field.current.value.trim();
    run("pause_sidebar", reason ? { sidebar_id: id, reason } : { sidebar_id: id });
  };
  return html`
    <form class="talk-form" onSubmit=${submit}>
      <label for="pause-reason">Why, for those who wait</label>
      <input id="pause-reason" ref=${field} class="field" type="text" maxlength="500" autocomplete="off" placeholder="Optional" />
      <div class="form-buttons">
        <button type="submit" class="button small primary" disabled=${busy}>Pause it</button>
        <button type="button" class="button small ghost" onClick=${onCancel}>Cancel</button>
      </div>
    </form>
  `;
}

function MergeForm({ whole, busy, run, onCancel }) {
  const findings = useRef(null);
  const success = useRef(null);
  useLayoutEffect(() => findings.current.focus(), []);
  const submit = (event) => {
    event.preventDefault();
    const text = findings.current.value.trim();
    const data = { sidebar_id: whole.sidebar_id, success: success.current.checked };
    run("merge_sidebar", text ? { ...data, findings: text } : data);
  };
  const above = whole.parent_id ?? `the session ${whole.session_id}`;
  return html`
    <form class="talk-form" onSubmit=${submit}>
      <label for="merge-findings">What was found</label>
      <textarea id="merge-findings" ref=${findings} class="field" rows="3" placeholder="A sentence or two for those above"></textarea>
      <label class="check"><input ref=${success} type="checkbox" checked /> ${whole.success_criteria ? "The criteria were met" : "It has succeeded"}</label>
      <p class="form-hint">Everything said here goes up to ${above}, once. Nothing can be written here afterwards.</p>
      <div class="form-buttons">
        <button type="submit" class="button small primary" disabled=${busy}>Merge it</button>
        <button type="button" class="button small ghost" onClick=${onCancel}>Cancel</button>
      </div>
    </form>
  `;
}
