// The bots that are declared: what they have used today, and whether they are on.

import { chatStats, refreshStats } from "../chats.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../html.js";
import { isAdmin, isLive } from "../store.js";
import { count } from "../times.js";
import { useDeed } from "./talk_actions.js";

export function Bots() {
  const bots = chatStats.value?.bots ?? [];
  if (!bots.length) return null;
  return html`
    <ul class="bots" aria-label="Bots">${bots.map((bot) => html`<${Bot} key=${bot.bot_id} bot=${bot} />`)}</ul>
  `;
}

function Bot({ bot }) {
  const { bot_id: id, name, model, today, on, switched } = bot;
  const [form, setForm] = useState(false);
  const { run, busy, error, clearError } = useDeed();
  useEffect(() => {
    setForm(false);
    clearError();
  }, [on]);
  const turn = async (data) => {
    await run("switch_bot", data);
    refreshStats();
  };
  // What was switched off with all others is switched on with them.
  const whole = switched?.all ? null : id;
  const used = [`${count(today.turns)} today`, `${count(today.input_tokens + today.output_tokens)} tokens`, `$${today.cost_usd.toFixed(2)}`];
  return html`
    <li class="bot" data-on=${String(on)}>
      <div class="bot-line">
        <span class="status-dot" data-status=${on ? "active" : "failed"} aria-hidden="true"></span>
        <strong class="cut" title="${id}, ${model ?? "the model Claude Code chooses"}">${name}</strong>
        ${isAdmin.value && html`
          <button type="button" class="button small" disabled=${busy || !isLive.value} aria-expanded=${on ? String(form) : undefined}
            aria-label=${on ? `Switch ${name} off` : `Switch ${switched?.all ? "all bots" : name} on`}
            onClick=${() => (on ? setForm(!form) : turn({ bot_id: whole, on: true }))}>${on ? "Switch off" : switched?.all ? "Switch all on" : "Switch on"}</button>
        `}
      </div>
      <p class="bot-more">${on ? used.join(" · ") : `switched off by ${switched.by}${switched.reason ? `: ${switched.reason}` : ""}`}</p>
      ${form && html`<${Off} name=${name} busy=${busy} onCancel=${() => setForm(false)} onDone=${(reason) => turn({ bot_id: id, on: false, ...(reason && { reason }) })} />`}
      ${error && html`<p class="form-error" role="alert">${error}</p>`}
    </li>
  `;
}

function Off({ name, busy, onCancel, onDone }) {
  const field = useRef(null);
  // Before the next letter is typed.
  useLayoutEffect(() => field.current.focus(), []);
  const submit = (event) => {
    event.preventDefault();
    onDone(field.current.value.trim());
  };
  return html`
    <form class="bot-form" onSubmit=${submit}>
      <label for="off-reason">Why ${name} is switched off</label>
      <input id="off-reason" ref=${field} class="field" type="text" maxlength="200" autocomplete="off" placeholder="Optional" />
      <p class="form-hint">What it is answering is broken off, and what waits is dropped.</p>
      <div class="form-buttons">
        <button type="submit" class="button small danger" disabled=${busy}>Switch it off</button>
        <button type="button" class="button small ghost" onClick=${onCancel}>Cancel</button>
      </div>
    </form>
  `;
}
