// One chat: how it is, what was said and answered, and a place to say something.

import { chatTalk, loadEarlierTurns, openChat } from "../chat_talk.js";
import { botOf, isOpen } from "../chats.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../html.js";
import { canWrite, grant, isLive, showChat } from "../store.js";
import { absolute, clock, count, parse } from "../times.js";
import { ChatTurn } from "./chat_turn.js";
import { Field } from "./composer.js";
import { Icon, IconButton } from "./icons.js";
import { useDeed } from "./talk_actions.js";

export function ChatTalk({ room, bot, onNamed }) {
  const talk = chatTalk.value;
  const isRead = talk.room === room && talk.bot === bot && talk.status === "ready";
  return html`
    <main class="talk chat-talk" aria-label="Conversation">
      <${Head} room=${room} bot=${bot} turns=${isRead ? talk.turns : []} isRead=${isRead} />
      ${isRead
        ? html`<${Said} talk=${talk} /><${Composer} room=${room} bot=${bot} onNamed=${onNamed} />`
        : html`<${Absent} room=${room} bot=${bot} status=${talk.status} error=${talk.error} />`}
    </main>
  `;
}

function Absent({ room, bot, status, error }) {
  if (status === "failed") {
    return html`
      <div class="empty">
        <h2>This chat can’t be shown.</h2>
        <p role="alert">${error}</p>
        <button type="button" class="button" onClick=${() => openChat(room, bot)}>Try again</button>
      </div>
    `;
  }
  if (!isLive.value) return html`<div class="empty"><p class="empty-quiet">Waiting for the gateway…</p></div>`;
  return html`<div class="skeleton talk-skeleton" role="status" aria-label="Loading"><i></i><i></i><i></i></div>`;
}

const STATES = { running: "answering", queued: "waiting", parked: "waits to be allowed" };

function Head({ room, bot, turns, isRead }) {
  const known = botOf(bot);
  const open = turns.filter(isOpen);
  const state = ["parked", "running", "queued"].find((each) => open.some(({ status }) => status === each));
  const answered = turns.filter(({ status }) => status === "answered");
  const sum = (name) => answered.reduce((all, turn) => all + turn[name], 0);
  return html`
    <header class="talk-head">
      <div class="talk-title">
        <${IconButton} name="back" label="Back to the list" look="button ghost icon-only back" onClick=${() => showChat()} />
        <h1 title=${room}>${room}</h1>
        ${state && html`<span class="pill" data-chat=${state}><span class="status-dot"></span>${STATES[state]}</span>`}
        ${known && !known.on && html`<span class="pill" data-chat="failed"><span class="status-dot"></span>switched off</span>`}
      </div>
      <div class="talk-facts">
        <dl>
          <div><dt>With</dt><dd>${known?.name ?? bot}</dd></div>
          ${known?.model && html`<div><dt>Model</dt><dd class="mono">${known.model}</dd></div>`}
          ${known && html`<div><dt>While busy</dt><dd>${known.busy}</dd></div>`}
          ${answered.length > 0 && html`
            <div><dt>Shown here</dt><dd>${count(sum("input_tokens") + sum("output_tokens"))} tokens, $${sum("cost_usd").toFixed(4)}</dd></div>
          `}
        </dl>
        ${isRead && html`<${Actions} room=${room} bot=${bot} />`}
      </div>
    </header>
  `;
}

/** Beginning anew, asked about first. */
function Actions({ room, bot }) {
  const [asking, setAsking] = useState(false);
  const { run, busy, error } = useDeed();
  const yes = useRef(null);
  useLayoutEffect(() => {
    if (asking) yes.current.focus();
  }, [asking]);
  if (!canWrite.value) return null;
  const onYes = async () => {
    await run("reset_chat", { room_id: room, bot_id: bot });
    setAsking(false);
  };
  const onKeyDown = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    setAsking(false);
  };
  return html`
    <div class="talk-actions">
      <div class="talk-buttons">
        <button type="button" class="button small" aria-expanded=${String(asking)} disabled=${busy || !isLive.value} onClick=${() => setAsking(!asking)}><${Icon} name="clear" />Reset</button>
      </div>
      ${asking && html`
        <div class="talk-form" role="alertdialog" aria-labelledby="reset-head" aria-describedby="reset-hint" onKeyDown=${onKeyDown}>
          <p id="reset-head" class="form-title">Let it forget this conversation?</p>
          <p id="reset-hint" class="form-hint">What waits for an answer is dropped, and the bot remembers nothing of what was said. The messages stay listed here.</p>
          <div class="form-buttons">
            <button type="button" ref=${yes} class="button small danger" disabled=${busy} onClick=${onYes}>Reset it</button>
            <button type="button" class="button small ghost" onClick=${() => setAsking(false)}>Cancel</button>
          </div>
        </div>
      `}
      ${error && html`<p class="form-error" role="alert">${error}</p>`}
    </div>
  `;
}

function Said({ talk }) {
  const box = useRef(null);
  const atEnd = useRef(true);
  const height = useRef(0);
  const { turns, growing, began, next, error, bot } = talk;
  const letters = Object.values(growing).reduce((all, { text }) => all + text.length, 0);
  const last = turns.at(-1);
  // Stay at the end while there, and in place when something is put in above.
  useLayoutEffect(() => {
    const el = box.current;
    if (atEnd.current) el.scrollTop = el.scrollHeight;
    else if (el.scrollTop < 60) el.scrollTop += el.scrollHeight - height.current;
    height.current = el.scrollHeight;
  }, [turns.length, turns[0]?.number, last?.status, letters]);
  // What stands around it grows too, and takes room from it.
  useEffect(() => {
    const el = box.current;
    const watch = new ResizeObserver(() => {
      if (atEnd.current) el.scrollTop = el.scrollHeight;
    });
    watch.observe(el);
    return () => watch.disconnect();
  }, []);
  const onScroll = ({ target }) => {
    atEnd.current = target.scrollHeight - target.scrollTop - target.clientHeight < 40;
  };
  return html`
    <div class="said" ref=${box} onScroll=${onScroll} tabindex="0" role="log" aria-label="What was said">
      ${next && html`<button type="button" class="button small earlier" onClick=${loadEarlierTurns}>Show what was said before</button>`}
      ${error && html`<p class="pane-error" role="alert">${error}</p>`}
      <ol>
        ${turns.map((turn) => html`
          <${ChatTurn} key=${turn.number} turn=${turn} bot=${bot} growing=${growing[turn.turn_id]} turns=${turns} />
          ${began.filter(({ after }) => after === turn.number).map(({ at }) => html`<${Anew} key=${at} at=${parse(at)} />`)}
        `)}
      </ol>
      ${turns.length === 0 && html`<p class="said-empty">Nothing has been said yet.</p>`}
    </div>
  `;
}

function Anew({ at }) {
  return html`
    <li class="move">
      <span class="status-dot"></span>
      <span><b>begun anew</b>: what stands above is forgotten</span>
      <time class="mono" title=${absolute(at)}>${clock(at).replace(/\.\d+$/, "")}</time>
    </li>
  `;
}

function Composer({ room, bot, onNamed }) {
  const known = botOf(bot);
  if (!canWrite.value) {
    return html`<p class="composer-closed">You can read along. To write, sign in with a key that has the scope <code>publish</code>.</p>`;
  }
  if (known && !known.on) return html`<p class="composer-closed">This bot is switched off: what is said to it is dropped.</p>`;
  const make = (text) => ["chat_message", { room_id: room, bot_id: bot, user_name: grant.peek().name, text }];
  return html`<${Field} make=${make} onNamed=${onNamed} />`;
}
