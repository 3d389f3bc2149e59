// Opening a session that begins as the replayed one was at this place.

import { html, useLayoutEffect, useRef, useState } from "../html.js";
import { pauseReplay, replay } from "../replay.js";
import { canWrite, isLive, setFilters, show } from "../store.js";
import { deed, isFinal } from "../talk.js";
import { count } from "../times.js";
import { Icon } from "./icons.js";

export function ReplayFork() {
  const { id, session, position, status } = replay.value;
  const [at, setAt] = useState(null);
  if (!canWrite.value || !id) return null;
  const open = () => {
    if (status === "playing") pauseReplay();
    setAt(at === null ? position : null);
  };
  return html`
    <div class="talk-actions">
      <button type="button" class="button small" aria-expanded=${String(at !== null)} disabled=${!isLive.value || position < 1} onClick=${open}><${Icon} name="fork" />Fork from here</button>
      ${at !== null && html`<${ForkForm} key=${at} id=${id} seq=${at} name=${session?.title || id} onClose=${() => setAt(null)} />`}
    </div>
  `;
}

function ForkForm({ id, seq, name, onClose }) {
  const title = useRef(null);
  const last = useRef({ key: "", attempt: null });
  const [state, setState] = useState({ busy: false, error: "", made: null });
  useLayoutEffect(() => title.current.focus(), []);
  const submit = async (event) => {
    event.preventDefault();
    const given = title.current.value.trim();
    if (last.current.key !== given || !last.current.attempt) {
      last.current = { key: given, attempt: deed("create_session", { fork_of: id, fork_seq: seq, ...(given && { title: given }) }) };
    }
    setState({ busy: true, error: "", made: null });
    try {
      const { session } = await last.current.attempt();
      setState({ busy: false, error: "", made: session.session_id });
    } catch (error) {
      if (isFinal(error)) last.current = { key: "", attempt: null };
      setState({ busy: false, error: error.message, made: null });
    }
  };
  const onKeyDown = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    onClose();
  };
  const toMade = () => {
    setFilters({ session: state.made });
    show("feed");
  };
  if (state.made) {
    return html`
      <div class="talk-form" role="status" onKeyDown=${onKeyDown}>
        <p class="form-title">The session was forked after event ${count(seq)}.</p>
        <p class="form-hint mono">${state.made}</p>
        <div class="form-buttons">
          <button type="button" class="button small primary" ref=${(el) => el?.focus()} onClick=${toMade}>Show it</button>
          <button type="button" class="button small ghost" onClick=${onClose}>Close</button>
        </div>
      </div>
    `;
  }
  return html`
    <form class="talk-form" onSubmit=${submit} onKeyDown=${onKeyDown}>
      <label for="fork-title">Title of the new session</label>
      <input id="fork-title" ref=${title} class="field" type="text" maxlength="200" autocomplete="off" value="${name}, from event ${seq}" />
      <p class="form-hint">Its state begins as it was right after event ${count(seq)}. Goals, memories and artifacts stay where they are.</p>
      ${state.error && html`<p class="form-error" role="alert">${state.error}</p>`}
      <div class="form-buttons">
        <button type="submit" class="button small primary" disabled=${state.busy}>Fork it</button>
        <button type="button" class="button small ghost" onClick=${onClose}>Cancel</button>
      </div>
    </form>
  `;
}
