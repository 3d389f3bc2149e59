// The sidebars a person may see, the most recently active first.

import { html } from "../html.js";
import { CLOSED, loadMoreSidebars, refreshSidebars, sidebarListing, sidebars } from "../sidebars.js";
import { grant, isAdmin, isLive, now, show, sidebarId } from "../store.js";
import { absolute, ago, count, parse } from "../times.js";

export function SidebarList() {
  const all = sidebars.value;
  const { next } = sidebarListing.value;
  return html`
    <nav class="sessions sidebars" aria-label="Sidebars">
      <header class="pane-head">
        <h2>Sidebars</h2>
        ${all.length > 0 && html`<span class="pane-count mono">${count(all.length)}${next && "+"}</span>`}
      </header>
      <${ListState} isEmpty=${all.length === 0} />
      <ul>
        ${all.map((sidebar) => html`
          <${Item} key=${sidebar.sidebar_id} sidebar=${sidebar} chosen=${sidebar.sidebar_id === sidebarId.value} at=${now.value} />
        `)}
      </ul>
      ${next && html`<button type="button" class="button ghost wide more" onClick=${loadMoreSidebars}>Show more</button>`}
      ${!isAdmin.value && html`
        <p class="pane-empty list-note">You see those that <b>${grant.value.name}</b> takes part in.</p>
      `}
    </nav>
  `;
}

function ListState({ isEmpty }) {
  const { status, error } = sidebarListing.value;
  if (status === "failed") {
    return html`
      <p class="pane-error" role="alert">${error} <button type="button" class="only" onClick=${refreshSidebars}>Try again</button></p>
    `;
  }
  if (!isEmpty) return null;
  if (!isLive.value) return html`<p class="pane-empty">Sidebars show here when the gateway is back.</p>`;
  if (status !== "ready") return html`<div class="skeleton" role="status" aria-label="Loading"><i></i><i></i><i></i></div>`;
  return html`
    <p class="pane-empty">
      No sidebars yet. Agents open them with <code>spawn_sidebar</code>, people with <code>switchyard sidebars spawn</code>.
    </p>
  `;
}

/** How a status is written. */
export const statusText = (status) => String(status).replaceAll("_", " ");

function Item({ sidebar, chosen, at }) {
  const { sidebar_id: id, status, participants, parent_id: parent, exchange_count: said } = sidebar;
  const last = parse(sidebar.last_activity);
  return html`
    <li>
      <button type="button" class="session sidebar" data-status=${status} data-closed=${CLOSED.includes(status)} aria-pressed=${String(chosen)}
        onClick=${() => show("sidebars", chosen ? "" : id)}>
        <span class="session-top">
          <span class="status-dot" aria-hidden="true"></span>
          <span class="session-title cut" title=${sidebar.task_description}>${sidebar.task_description}</span>
          <time class="session-time" datetime=${sidebar.last_activity} title="Last activity ${absolute(last)}">${ago(last, at)}</time>
        </span>
        <span class="session-bottom cut" title=${participants.join(", ")}>
          <span class="session-status">${statusText(status)}</span>
          <span>${count(said)} said</span>
          <span>${participants.join(", ")}</span>
        </span>
        <span class="session-bottom cut" title="${id}, under ${parent ?? sidebar.session_id}">
          <span class="mono">${id}</span>
          <span>under <span class="mono">${parent ?? sidebar.session_id}</span></span>
        </span>
      </button>
    </li>
  `;
}
