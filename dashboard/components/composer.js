// Where a person says something in a sidebar, and under which name.

import { html, useEffect, useRef, useState } from "../html.js";
import { chooseName } from "../sign_in.js";
import { CLOSED } from "../sidebars.js";
import { canWrite, grant, isLive, spoken } from "../store.js";
import { deed, isFinal } from "../talk.js";
import { Icon } from "./icons.js";
import { statusText } from "./sidebar_list.js";

export function Composer({ whole, onNamed }) {
  const { status } = whole;
  if (CLOSED.includes(status)) {
    return html`<p class="composer-closed">This sidebar is ${statusText(status)}: it can be read, and forked to go on.</p>`;
  }
  if (!canWrite.value) {
    return html`<p class="composer-closed">You can read along. To write, sign in with a key that has the scope <code>publish</code>.</p>`;
  }
  const make = (text) => ["post_to_sidebar", { sidebar_id: whole.sidebar_id, text }];
  return html`<${Field} make=${make} participants=${whole.participants} onNamed=${onNamed} />`;
}

/** `make(text)` is the command that says a text, and its data. */
export function Field({ make, participants = [], onNamed }) {
  const field = useRef(null);
  const pending = useRef({ text: "", attempt: null });
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const submit = async (event) => {
    event?.preventDefault();
    const text = field.current.value.trim();
    if (!text || busy) return;
    if (pending.current.text !== text) pending.current = { text, attempt: deed(...make(text)) };
    setBusy(true);
    setError("");
    try {
      await pending.current.attempt();
      pending.current = { text: "", attempt: null };
      field.current.value = "";
      fit(field.current);
      spoken.value = "Sent";
    } catch (fault) {
      if (isFinal(fault)) pending.current = { text: "", attempt: null };
      setError(fault.message);
    }
    setBusy(false);
    // Unless something else was taken up meanwhile.
    const { activeElement } = document;
    if (activeElement === document.body || field.current?.form.contains(activeElement)) field.current?.focus();
  };
  const onKeyDown = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    submit(event);
  };
  const mention = (name) => {
    const el = field.current;
    const gap = el.value && !/\s$/.test(el.value) ? " " : "";
    el.value += `${gap}@${name} `;
    fit(el);
    el.focus();
  };
  return html`
    <form class="composer" onSubmit=${submit}>
      ${error && html`<p class="form-error" role="alert">${error}</p>`}
      <div class="composer-row">
        <label class="visually-hidden" for="post">Say something</label>
        <textarea id="post" ref=${field} class="field" rows="1" readonly=${busy} placeholder="Say something"
          onInput=${({ target }) => fit(target)} onKeyDown=${onKeyDown}></textarea>
        <button type="submit" class="button primary" disabled=${busy || !isLive.value}><${Icon} name="send" /><span>${busy ? "Sending…" : "Send"}</span></button>
      </div>
      <div class="composer-more">
        <${Name} onNamed=${onNamed} />
        <span class="mentionable" aria-label="Mention">
          ${participants.filter((name) => name !== grant.value.name).slice(0, 8).map((name) => html`
            <button key=${name} type="button" class="only" title="Mention ${name}" onClick=${() => mention(name)}>@${name}</button>
          `)}
        </span>
      </div>
    </form>
  `;
}

// The field grows with its text, up to what its style allows.
function fit(el) {
  el.style.height = "auto";
  el.style.height = `${el.scrollHeight + 2}px`;
}

function Name({ onNamed }) {
  const field = useRef(null);
  const [open, setOpen] = useState(false);
  const [error, setError] = useState("");
  const { name } = grant.value;
  useEffect(() => {
    if (open) field.current.select();
  }, [open]);
  const save = () => {
    const wanted = field.current.value.trim();
    if (!chooseName(wanted)) return void setError("Letters, digits, dots, dashes and underscores.");
    setError("");
    setOpen(false);
    if (wanted !== name) onNamed();
  };
  const onKeyDown = (event) => {
    if (event.key === "Enter") save();
    else if (event.key === "Escape") setOpen(false);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  if (!open) {
    return html`
      <span class="own-name">as <button type="button" class="only" title="Change the name you speak under" onClick=${() => setOpen(true)}>${name}<${Icon} name="edit" /></button></span>
    `;
  }
  return html`
    <span class="own-name">
      <label for="own-name">as</label>
      <input id="own-name" ref=${field} class="field" type="text" maxlength="64" autocomplete="off" spellcheck="false"
        value=${name} onKeyDown=${onKeyDown} aria-invalid=${String(error !== "")} />
      <button type="button" class="button small" onClick=${save}>Use it</button>
      ${error && html`<span class="form-error" role="alert">${error}</span>`}
    </span>
  `;
}
