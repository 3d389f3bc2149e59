// What is shown and whether it moves: words, types, priorities, the chosen session; pause and clear.

import { html } from "../html.js";
import { areaOf, KNOWN_TYPES } from "../events.js";
import { clear, paused, seenTypes, waiting } from "../feed.js";
import { PRIORITIES, toggled } from "../filters.js";
import { togglePause } from "../keyboard.js";
import { filters, setFilters } from "../store.js";
import { count } from "../times.js";
import { Icon } from "./icons.js";
import { Menu } from "./menu.js";

export function FilterBar() {
  const { text, types, session, priorities } = filters.value;
  const known = [...new Set([...KNOWN_TYPES, ...seenTypes.value, ...types])].sort();
  return html`
    <div class="filter-bar" role="search" aria-label="Filter events">
      <label class="search">
        <${Icon} name="search" />
        <span class="visually-hidden">Words to find</span>
        <input id="filter-text" type="text" placeholder="Filter by words, -word to leave out" autocomplete="off" spellcheck="false"
          autocapitalize="off" value=${text} onInput=${(e) => setFilters({ text: e.target.value })} onKeyDown=${onFieldKey} />
        ${text
          ? html`<button type="button" class="search-clear" aria-label="Clear the words" onClick=${() => setFilters({ text: "" })}><${Icon} name="close" /></button>`
          : html`<kbd aria-hidden="true">/</kbd>`}
      </label>
      <div class="filter-choices">
        <${Menu} label="Type" all="All types" chosen=${types} options=${known.map((value) => ({ value, area: areaOf(value) }))}
          onToggle=${(value) => setFilters({ types: toggled(types, value) })} onClear=${() => setFilters({ types: [] })} />
        <${Menu} label="Priority" all="Any priority" chosen=${priorities} options=${PRIORITIES.map((value) => ({ value }))}
          onToggle=${(value) => setFilters({ priorities: toggled(priorities, value) })} onClear=${() => setFilters({ priorities: [] })} />
      </div>
      ${session && html`
        <span class="chip" title="Session ${session}">
          <span class="chip-name">session</span><span class="chip-text">${session}</span>
          <button type="button" aria-label="Show all sessions" onClick=${() => setFilters({ session: "" })}><${Icon} name="close" /></button>
        </span>
      `}
      <div class="filter-actions">
        <${PauseButton} />
        <button type="button" class="button" title="Clear the list" onClick=${clear}><${Icon} name="clear" /><span class="wide-only">Clear</span></button>
      </div>
    </div>
  `;
}

function PauseButton() {
  const stopped = paused.value;
  return html`
    <button type="button" class="button pause" aria-pressed=${String(stopped)} title=${stopped ? "Resume (space)" : "Pause (space)"} onClick=${togglePause}>
      <${Icon} name=${stopped ? "play" : "pause"} />
      <span class="wide-only">${stopped ? "Resume" : "Pause"}</span>
      ${stopped && waiting.value > 0 && html`<span class="badge mono" aria-label="${waiting.value} events waiting">${count(waiting.value)}</span>`}
    </button>
  `;
}

function onFieldKey(event) {
  if (event.key !== "Enter") return;
  event.preventDefault();
  document.getElementById("feed-list")?.focus({ preventScroll: true });
}
