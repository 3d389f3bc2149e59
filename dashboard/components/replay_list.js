// The events of a replay, the newest at the end.

import { html, useLayoutEffect, useMemo, useState } from "../html.js";
import { replay, replayFollowing } from "../replay.js";
import { active } from "../store.js";
import { EventRow } from "./event_row.js";
import { Icon } from "./icons.js";
import { offsetsOf, useWindow } from "./windowed.js";

const follow = (wanted) => {
  replayFollowing.value = wanted;
};

export function ReplayList() {
  const { rows, status } = replay.value;
  const [height, setHeight] = useState(34);
  const isFollowing = replayFollowing.value;
  const offsets = useMemo(() => offsetsOf(rows.map(() => height)), [rows, height]);
  const { box, onScroll, first, last, above, below } = useWindow(offsets, isFollowing, follow);
  // The row's height comes from the style sheet, where it follows the width.
  useLayoutEffect(() => {
    const measure = () => setHeight(parseFloat(getComputedStyle(box.current.parentElement).getPropertyValue("--row")) || 34);
    measure();
    const watch = new ResizeObserver(measure);
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const current = active.value;
  const onKeyDown = (event) => {
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (step && rows.length) {
      const at = rows.findIndex(({ uid }) => uid === current?.uid);
      const next = at < 0 ? rows.length - 1 : Math.max(0, Math.min(rows.length - 1, at + step));
      follow(false);
      active.value = rows[next];
      const el = box.current;
      if (offsets[next] < el.scrollTop) el.scrollTop = offsets[next];
      else if (offsets[next + 1] > el.scrollTop + el.clientHeight) el.scrollTop = offsets[next + 1] - el.clientHeight;
    } else if (event.key === "Enter" && current) {
      document.getElementById(`row-${current.uid}`)?.click();
    } else {
      return;
    }
    event.preventDefault();
  };
  return html`
    <div class="columns" aria-hidden="true">
      <span class="c-time">Time</span><span class="c-type">Type</span><span class="c-subject">Subject</span>
      <span class="c-session">Session</span><span class="c-sender">Sender</span><span class="c-summary">Summary</span>
    </div>
    <div class="list-frame">
      ${!isFollowing && status === "playing" && html`
        <button type="button" class="new-rows to-end" onClick=${() => follow(true)}><${Icon} name="end" />Follow</button>
      `}
      <div class="list" ref=${box} tabindex="0" role=${rows.length ? "listbox" : "region"} aria-label="Events, oldest first"
        aria-activedescendant=${current ? `row-${current.uid}` : undefined} onScroll=${onScroll} onKeyDown=${onKeyDown}>
        <div role="presentation" style=${{ height: `${above}px` }}></div>
        ${rows.slice(first, last).map((row, n) => html`
          <${EventRow} key=${row.uid} row=${row} active=${row.uid === current?.uid} position=${first + n + 1} total=${rows.length} />
        `)}
        <div role="presentation" style=${{ height: `${below}px` }}></div>
      </div>
    </div>
  `;
}
