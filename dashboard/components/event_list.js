// The feed itself: only the rows in sight are in the document, whatever the list holds.

import { html, useEffect, useLayoutEffect, useRef, useState } from "../html.js";
import { LIMIT, kept, paused, scrolledAway, shown, waiting } from "../feed.js";
import { active, detailOpen } from "../store.js";
import { count } from "../times.js";
import { EmptyFeed } from "./empty.js";
import { EventRow } from "./event_row.js";
import { Icon } from "./icons.js";

const SPARE_ROWS = 8;

export function EventList() {
  const list = useRef(null);
  const [view, setView] = useState({ height: 0, row: 34 });
  const [top, setTop] = useState(0);
  const rows = shown.value;
  useMeasured(list, setView);
  useActiveInSight(list, view);
  const first = Math.max(0, Math.floor(top / view.row) - SPARE_ROWS);
  const last = Math.min(rows.length, Math.ceil((top + view.height) / view.row) + SPARE_ROWS);
  const onScroll = (event) => {
    setTop(event.target.scrollTop);
    scrolledAway.value = event.target.scrollTop > view.row;
  };
  const toTop = () => {
    list.current.scrollTop = 0;
    scrolledAway.value = false;
  };
  const current = active.value;
  const onlyGaps = rows.length < view.height / view.row && rows.every((row) => row.kind === "gap");
  // Only the active row is read out, so only it needs its place; the others stay as drawn while the list moves.
  const place = (row, at) =>
    row.uid === current?.uid ? { active: true, position: at + 1, total: rows.length } : { active: false };
  return html`
    <div class="columns" aria-hidden="true">
      <span class="c-time">Time</span><span class="c-type">Type</span><span class="c-subject">Subject</span>
      <span class="c-session">Session</span><span class="c-sender">Sender</span><span class="c-summary">Summary</span>
    </div>
    <div class="list-frame">
      <${NewRows} onClick=${toTop} />
      <div id="feed-list" class="list" ref=${list} tabindex="0"
        role=${rows.length ? "listbox" : "region"} aria-label="Events, newest first"
        aria-activedescendant=${current ? `row-${current.uid}` : undefined} onScroll=${onScroll}>
        ${rows.length === 0
          ? html`<${EmptyFeed} />`
          : html`
            <div class="list-space" role="presentation" style=${{ height: `${rows.length * view.row}px` }}>
              <div class="list-window" role="presentation" style=${{ transform: `translateY(${first * view.row}px)` }}>
                ${rows.slice(first, last).map((row, i) => html`
                  <${EventRow} key=${row.uid} row=${row} ...${place(row, first + i)} />
                `)}
              </div>
            </div>
            ${onlyGaps && html`<${EmptyFeed} />`}
            ${rows.length >= LIMIT && html`
              <p class="list-end">The newest ${count(LIMIT)} events are kept here. Older ones are still on the server.</p>
            `}
          `}
      </div>
    </div>
    <footer class="statusbar">
      <span>${count(rows.length)} shown${kept.value > rows.length ? ` of ${count(kept.value)}` : ""}</span>
      <span class="keys" aria-label="Keyboard shortcuts">
        <span><kbd>/</kbd> filter</span><span><kbd>space</kbd> pause</span><span><kbd>j</kbd><kbd>k</kbd> move</span>
        <span><kbd>enter</kbd> open</span><span><kbd>esc</kbd> close</span>
      </span>
    </footer>
  `;
}

function NewRows({ onClick }) {
  if (paused.value || !scrolledAway.value || waiting.value === 0) return null;
  return html`
    <button type="button" class="new-rows" onClick=${onClick}><${Icon} name="up" />${count(waiting.value)} new</button>
  `;
}

// The row's height comes from the style sheet, where it follows the width of the feed.
function useMeasured(list, setView) {
  useLayoutEffect(() => {
    const measure = () => {
      const row = parseFloat(getComputedStyle(list.current.parentElement).getPropertyValue("--row"));
      setView({ height: list.current.clientHeight, row: row || 34 });
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(list.current);
    return () => {
      observer.disconnect();
      // Another view is shown; when this one comes back, it begins at its top.
      scrolledAway.value = false;
    };
  }, []);
}

// Follows the keyboard: whenever another row becomes the active one, it is scrolled into sight.
function useActiveInSight(list, view) {
  const uid = active.value?.uid;
  const open = detailOpen.value;
  useEffect(() => {
    const at = shown.peek().findIndex((row) => row.uid === uid);
    if (at < 0) return;
    const el = list.current;
    const from = at * view.row;
    if (from < el.scrollTop) el.scrollTop = from;
    else if (from + view.row > el.scrollTop + view.height) el.scrollTop = from + view.row - view.height;
  }, [uid, open, view.row]);
}
