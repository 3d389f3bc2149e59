// The chats, the most recently active first; above them the pool, the bots and the tools that wait to be allowed.

import { approvals, chatListing, chats, chatStats, keyOf, refreshChats, stateOf } from "../chats.js";
import { html, useRef, useState } from "../html.js";
import { canWrite, chatAt, isLive, now, showChat } from "../store.js";
import { absolute, ago, count, parse } from "../times.js";
import { Bots } from "./chat_bots.js";
import { Icon } from "./icons.js";
import { Meter } from "./meter.js";

export function ChatList() {
  const all = chats.value;
  const { room, bot } = chatAt.value;
  return html`
    <nav class="sessions sidebars chats" aria-label="Chats">
      <header class="pane-head">
        <h2>Chats</h2>
        ${all.length > 0 && html`<span class="pane-count mono">${count(all.length)}</span>`}
        <${Begin} />
      </header>
      <${Pool} />
      <${Bots} />
      <${Waiting} />
      <${ListState} isEmpty=${all.length === 0} />
      <ul>
        ${all.map((chat) => html`
          <${Item} key=${keyOf(chat.room, chat.bot)} chat=${chat} chosen=${chat.room === room && chat.bot === bot} at=${now.value} />
        `)}
      </ul>
    </nav>
  `;
}

function ListState({ isEmpty }) {
  const { status, error } = chatListing.value;
  if (status === "failed") {
    return html`
      <p class="pane-error" role="alert">${error} <button type="button" class="only" onClick=${refreshChats}>Try again</button></p>
    `;
  }
  if (!isEmpty) return null;
  if (!isLive.value) return html`<p class="pane-empty">Chats show here when the gateway is back.</p>`;
  if (status !== "ready") return html`<div class="skeleton" role="status" aria-label="Loading"><i></i><i></i><i></i></div>`;
  return html`
    <p class="pane-empty">
      Nobody has talked to a bot yet. People do by <code>switchyard chat</code>, programs with <code>chat_message</code>.
    </p>
  `;
}

/** What is said of the pool in a line, and how full it is. */
function Pool() {
  const stats = chatStats.value;
  if (!stats) return null;
  const { pool, queue, workers } = stats;
  const share = pool.max_clients ? Math.round((100 * pool.clients) / pool.max_clients) : NaN;
  const obstacle = workers.map((worker) => worker.obstacle).find(Boolean);
  return html`
    <section class="pool" aria-label="Pool of clients">
      <p class="pool-line">
        <span>${count(pool.clients)} of ${count(pool.max_clients)} clients</span>
        <${Meter} value=${share} label="Clients in the pool" plain=${true} />
      </p>
      <p class="pool-more">
        ${[
          `${count(pool.busy)} answering`,
          `${count(queue.queued)} waiting`,
          pool.hit_rate == null ? "no answers yet" : `${Math.round(pool.hit_rate * 100)} % hot`,
          `${count(workers.length)} ${workers.length === 1 ? "worker" : "workers"}`,
        ].join(" · ")}
      </p>
      ${workers.length === 0 && html`<p class="pool-bad" role="alert">No worker answers: <code>switchyard doctor</code> says why.</p>`}
      ${obstacle && html`<p class="pool-bad" role="alert">${OBSTACLES[obstacle] ?? obstacle}</p>`}
    </section>
  `;
}

const OBSTACLES = {
  no_credential: "Bots can’t answer: no credential for Claude is set (ANTHROPIC_API_KEY).",
  not_installed: "Bots can’t answer: the Claude Agent SDK is not installed where they run.",
};

/** Tools that wait to be allowed, wherever. */
function Waiting() {
  const all = approvals.value;
  if (!all.length) return null;
  return html`
    <section class="waiting-tools" aria-labelledby="waiting-tools-head">
      <h3 id="waiting-tools-head">Wait to be allowed <span class="pane-count">${count(all.length)}</span></h3>
      <ul>${all.map(({ approval_id: id, room_id: room, bot_id: bot, tool }) => html`
        <li key=${id}>
          <button type="button" class="session" onClick=${() => showChat(room, bot)}>
            <span class="session-top"><${Icon} name="warning" /><span class="session-title mono cut">${tool}</span></span>
            <span class="session-bottom cut"><span>${bot}</span><span>${room}</span></span>
          </button>
        </li>
      `)}</ul>
    </section>
  `;
}

const WORDS = { parked: "waits to be allowed", running: "answering", queued: "waiting", failed: "failed" };

function Item({ chat, chosen, at }) {
  const { room, bot, last, queued } = chat;
  const state = stateOf(chat);
  const moment = parse(last.completed ?? last.started ?? last.queued);
  const said = last.status === "answered" ? last.answer : last.text;
  return html`
    <li>
      <button type="button" class="session chat" data-chat=${state} aria-pressed=${String(chosen)}
        onClick=${() => (chosen ? showChat() : showChat(room, bot))}>
        <span class="session-top">
          <span class="status-dot" aria-hidden="true"></span>
          <span class="session-title cut" title=${room}>${room}</span>
          <time class="session-time" title="Last activity ${absolute(moment)}">${ago(moment, at)}</time>
        </span>
        <span class="session-bottom cut">
          <span>${bot}</span>
          ${WORDS[state] && html`<span class="session-status">${WORDS[state]}</span>`}
          ${queued > 0 && html`<span>${count(queued)} queued</span>`}
          <span>${count(last.number)} said</span>
        </span>
        <span class="session-bottom cut">${said}</span>
      </button>
    </li>
  `;
}

/** Choose a room and a bot to talk to. */
function Begin() {
  const [open, setOpen] = useState(false);
  const room = useRef(null);
  const bot = useRef(null);
  const bots = chatStats.value?.bots ?? [];
  if (!canWrite.value || !bots.length) return null;
  const submit = (event) => {
    event.preventDefault();
    const wanted = room.current.value.trim();
    if (!wanted) return;
    setOpen(false);
    showChat(wanted, bot.current.value);
  };
  const onKeyDown = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    setOpen(false);
  };
  return html`
    <div class="begin">
      <button type="button" class="button small" aria-expanded=${String(open)} onClick=${() => setOpen(!open)}>New chat</button>
      ${open && html`
        <form class="talk-form" onSubmit=${submit} onKeyDown=${onKeyDown}>
          <label for="begin-room">Room</label>
          <input id="begin-room" ref=${(el) => { room.current = el; if (el && document.activeElement === document.body) el.focus(); }} class="field" type="text" maxlength="255" autocomplete="off" required />
          <label for="begin-bot" class="second">Bot</label>
          <select id="begin-bot" ref=${bot} class="field">${bots.map(({ bot_id: id, name }) => html`<option key=${id} value=${id}>${name}</option>`)}</select>
          <div class="form-buttons">
            <button type="submit" class="button small primary">Open it</button>
            <button type="button" class="button small ghost" onClick=${() => setOpen(false)}>Cancel</button>
          </div>
        </form>
      `}
    </div>
  `;
}
