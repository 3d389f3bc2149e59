// The sessions, the most recently active first; a click shows one session's events only.

import { html } from "../html.js";
import { listing, loadMore, refresh, sessions } from "../sessions.js";
import { filters, now, pane, replayOf, showReplay, toggleSession } from "../store.js";
import { absolute, ago, count, parse } from "../times.js";
import { Icon } from "./icons.js";

export function SessionList() {
  const all = sessions.value;
  const { next } = listing.value;
  const chosen = pane.value === "replay" ? replayOf.value : filters.value.session;
  return html`
    <nav class="sessions" aria-label="Sessions">
      <header class="pane-head">
        <h2>Sessions</h2>
        ${all.length > 0 && html`<span class="pane-count mono">${count(all.length)}${next && "+"}</span>`}
      </header>
      <${ListingState} isEmpty=${all.length === 0} />
      <ul>
        ${all.map((session) => html`
          <${SessionItem} key=${session.session_id} session=${session} chosen=${session.session_id === chosen} at=${now.value} />
        `)}
      </ul>
      ${next && html`<button type="button" class="button ghost wide more" onClick=${loadMore}>Show more</button>`}
    </nav>
  `;
}

function ListingState({ isEmpty }) {
  const { status, error } = listing.value;
  if (status === "failed") {
    return html`
      <p class="pane-error" role="alert">${error} <button type="button" class="only" onClick=${refresh}>Try again</button></p>
    `;
  }
  if (!isEmpty) return null;
  if (status === "loading") return html`<div class="skeleton" aria-label="Loading"><i></i><i></i><i></i></div>`;
  return html`<p class="pane-empty">No sessions yet. The command <code>create_session</code> opens one.</p>`;
}

const COUNTS = [
  ["conversation_chunk_count", "chunk", "chunks"],
  ["memory_count", "memory", "memories"],
  ["task_count", "task", "tasks"],
  ["artifact_count", "artifact", "artifacts"],
  ["action_count", "action", "actions"],
  ["response_count", "response", "responses"],
];

function SessionItem({ session, chosen, at }) {
  const last = parse(session.last_activity);
  const counts = COUNTS.filter(([name]) => session[name] > 0)
    .map(([name, one, many]) => `${count(session[name])} ${session[name] === 1 ? one : many}`);
  return html`
    <li>
      <button type="button" class="session" data-status=${session.status} aria-pressed=${String(chosen)}
        onClick=${() => toggleSession(session.session_id)}>
        <span class="session-top">
          <span class="status-dot" aria-hidden="true"></span>
          <span class="session-title cut">${session.title || session.session_id}</span>
          <time class="session-time" datetime=${session.last_activity} title="Last activity ${absolute(last)}">
            ${ago(last, at)}
          </time>
        </span>
        <span class="session-bottom cut" title=${[session.status, ...counts].join(" · ")}>
          <span class=${session.status === "active" ? "visually-hidden" : "session-status"}>${session.status}</span>
          ${(counts.length ? counts : ["nothing in it yet"]).map((text) => html`<span>${text}</span>`)}
        </span>
      </button>
      ${chosen && html`<button type="button" class="button small session-replay" onClick=${() => showReplay(session.session_id)}><${Icon} name="replay" />Replay</button>`}
    </li>
  `;
}
