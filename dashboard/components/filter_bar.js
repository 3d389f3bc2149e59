// What is shown and whether it moves: words, types, priorities, the chosen session; pause and clear.

import { html } from "../html.js";
import { areaOf, KNOWN_TYPES } from "../events.js";
import { clear, paused, seenTypes, waiting } from "../feed.js";
import { PRIORITIES, toggled } from "../filters.js";
import { togglePause } from "../keyboard.js";
import { filters, setFilters } from "../store.js";
import { count } from "../times.js";
import { Icon, IconButton } from "./icons.js";
import { Menu } from "./menu.js";

export function FilterBar() {
  return html`
    <div class="filter-bar" role="search" aria-label="Filter events">
      <${Words} />
      <${Choices} />
      <${ChosenSession} />
      <div class="filter-actions">
        <${PauseButton} />
        <button type="button" class="button" title="Clear the list" onClick=${clear}>
          <${Icon} name="clear" /><span class="wide-only">Clear</span>
        </button>
      </div>
    </div>
  `;
}

function Words() {
  const { text } = filters.value;
  const clearWords = () => setFilters({ text: "" });
  return html`
    <label class="search">
      <${Icon} name="search" />
      <span class="visually-hidden">Words to find</span>
      <input id="filter-text" type="text" placeholder="Filter by words, -word to leave out" autocomplete="off"
        spellcheck="false" autocapitalize="off" value=${text}
        onInput=${(event) => setFilters({ text: event.target.value })} onKeyDown=${onFieldKey} />
      ${text
        ? html`<${IconButton} name="close" label="Clear the words" look="search-clear" onClick=${clearWords} />`
        : html`<kbd aria-hidden="true">/</kbd>`}
    </label>
  `;
}

function Choices() {
  const { types, priorities } = filters.value;
  const known = [...new Set([...KNOWN_TYPES, ...seenTypes.value, ...types])].sort();
  return html`
    <div class="filter-choices">
      <${Menu} label="Type" all="All types" chosen=${types}
        options=${known.map((value) => ({ value, area: areaOf(value) }))}
        onToggle=${(value) => setFilters({ types: toggled(types, value) })}
        onClear=${() => setFilters({ types: [] })} />
      <${Menu} label="Priority" all="Any priority" chosen=${priorities}
        options=${PRIORITIES.map((value) => ({ value }))}
        onToggle=${(value) => setFilters({ priorities: toggled(priorities, value) })}
        onClear=${() => setFilters({ priorities: [] })} />
    </div>
  `;
}

function ChosenSession() {
  const { session } = filters.value;
  const showAll = () => setFilters({ session: "" });
  return session && html`
    <span class="chip" title="Session ${session}">
      <span class="chip-name">session</span><span class="chip-text">${session}</span>
      <${IconButton} name="close" label="Show all sessions" look="" onClick=${showAll} />
    </span>
  `;
}

function PauseButton() {
  const stopped = paused.value;
  const missed = stopped ? waiting.value : 0;
  return html`
    <button type="button" class="button pause" aria-pressed=${String(stopped)}
      title=${stopped ? "Resume (space)" : "Pause (space)"} onClick=${togglePause}>
      <${Icon} name=${stopped ? "play" : "pause"} />
      <span class="wide-only">${stopped ? "Resume" : "Pause"}</span>
      ${missed > 0 && html`<span class="badge mono" aria-label="${missed} events waiting">${count(missed)}</span>`}
    </button>
  `;
}

function onFieldKey(event) {
  if (event.key !== "Enter") return;
  event.preventDefault();
  document.getElementById("feed-list")?.focus({ preventScroll: true });
}
