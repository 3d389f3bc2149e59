// One sidebar's conversation: who and what for, what was said and how it moved, and a place to say something.

import { html, useLayoutEffect, useRef } from "../html.js";
import { isLive, show } from "../store.js";
import { loadEarlier, openTalk, talk, timeline } from "../talk.js";
import { count } from "../times.js";
import { IconButton } from "./icons.js";
import { Composer } from "./composer.js";
import { Exchange, Inherited, Move } from "./exchange.js";
import { statusText } from "./sidebar_list.js";
import { TalkActions } from "./talk_actions.js";

export function Talk({ id, onNamed }) {
  const { status, whole, error } = talk.value;
  return html`
    <main class="talk" aria-label="Conversation">
      <${Head} id=${id} whole=${talk.value.id === id ? whole : null} />
      ${whole && talk.value.id === id
        ? html`<${Said} /><${Composer} whole=${whole} onNamed=${onNamed} />`
        : html`<${Absent} id=${id} status=${status} error=${error} />`}
    </main>
  `;
}

function Absent({ id, status, error }) {
  if (status === "failed") {
    return html`
      <div class="empty">
        <h2>This sidebar can’t be shown.</h2>
        <p role="alert">${error}</p>
        <button type="button" class="button" onClick=${() => openTalk(id)}>Try again</button>
      </div>
    `;
  }
  if (!isLive.value) return html`<div class="empty"><p class="empty-quiet">Waiting for the gateway…</p></div>`;
  return html`<div class="skeleton talk-skeleton" role="status" aria-label="Loading"><i></i><i></i><i></i></div>`;
}

function Head({ id, whole }) {
  return html`
    <header class="talk-head">
      <div class="talk-title">
        <${IconButton} name="back" label="Back to the list" look="button ghost icon-only back" onClick=${() => show("sidebars", "")} />
        <h1 title=${whole?.task_description}>${whole?.task_description ?? id}</h1>
        ${whole && html`<span class="pill" data-status=${whole.status} title=${whole.reason ?? ""}><span class="status-dot"></span>${statusText(whole.status)}</span>`}
      </div>
      ${whole && html`<${Facts} whole=${whole} />`}
    </header>
  `;
}

function Facts({ whole }) {
  const { sidebar_id: id, session_id: session, parent_id: parent, participants, success_criteria: criteria, reason, status } = whole;
  const up = parent && html`<button type="button" class="only mono" onClick=${() => show("sidebars", parent)}>${parent}</button>`;
  return html`
    <div class="talk-facts">
      <dl>
        <div><dt>With</dt><dd>${participants.map((name) => html`<span key=${name} class="who">${name}</span>`)}</dd></div>
        <div><dt>Under</dt><dd>${up || html`<span class="mono">${session}</span>`}</dd></div>
        <div><dt>Id</dt><dd class="mono">${id}</dd></div>
        ${criteria && html`<div><dt>Done when</dt><dd>${criteria}</dd></div>`}
        ${reason && ["waiting", "paused", "failed", "archived"].includes(status) && html`<div><dt>Why ${statusText(status)}</dt><dd>${reason}</dd></div>`}
      </dl>
      <${TalkActions} whole=${whole} />
    </div>
  `;
}

function Said() {
  const box = useRef(null);
  const atEnd = useRef(true);
  const height = useRef(0);
  const { exchanges, whole, error } = talk.value;
  const items = timeline.value;
  const first = exchanges[0]?.seq ?? 0;
  // Stay at the end while there, and in place when something is put in above.
  useLayoutEffect(() => {
    const el = box.current;
    if (atEnd.current) el.scrollTop = el.scrollHeight;
    else if (el.scrollTop < 60) el.scrollTop += el.scrollHeight - height.current;
    height.current = el.scrollHeight;
  }, [items.length, first]);
  const onScroll = ({ target }) => {
    atEnd.current = target.scrollHeight - target.scrollTop - target.clientHeight < 40;
  };
  return html`
    <div class="said" ref=${box} onScroll=${onScroll} tabindex="0" role="log" aria-label="What was said">
      <${Inherited} memory=${whole.inherited_memory} />
      ${first > 1 && html`<button type="button" class="button small earlier" onClick=${loadEarlier}>Show the ${count(Math.min(100, first - 1))} before</button>`}
      ${error && html`<p class="pane-error" role="alert">${error}</p>`}
      <ol>${items.map((item) => (item.kind === "said"
        ? html`<${Exchange} key=${item.key} exchange=${item.exchange} own=${whole.sidebar_id} />`
        : html`<${Move} key=${item.key} move=${item.move} at=${item.at} />`))}</ol>
      ${exchanges.length === 0 && html`<p class="said-empty">Nothing has been said yet.</p>`}
    </div>
  `;
}
