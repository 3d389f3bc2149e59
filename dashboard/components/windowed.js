// Which rows of a long list are in sight, when each has a height that can be reckoned; and staying at its end.

import { useEffect, useLayoutEffect, useRef, useState } from "../html.js";

const SPARE_PX = 300;
const AT_END_PX = 30;

/** The offsets of rows with these heights, and behind the last one the whole. */
export function offsetsOf(heights) {
  const offsets = new Float64Array(heights.length + 1);
  for (let n = 0; n < heights.length; n += 1) offsets[n + 1] = offsets[n] + heights[n];
  return offsets;
}

/** The last row that begins at or above `y`. */
export function rowAt(offsets, y) {
  let [low, high] = [0, Math.max(0, offsets.length - 2)];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (offsets[middle] <= y) low = middle;
    else high = middle - 1;
  }
  return low;
}

/**
 * `{box, onScroll, first, last, above, below}`: the rows from `first` to before `last` are to be drawn, with so many pixels
 * of room around them. `isFollowing` keeps the end in sight; `onFollow(whether)` is told when a person scrolls.
 */
export function useWindow(offsets, isFollowing, onFollow) {
  const box = useRef(null);
  const [view, setView] = useState({ top: 0, height: 0 });
  const rows = offsets.length - 1;
  const total = offsets[rows];
  const follows = useRef(isFollowing);
  follows.current = isFollowing;
  const look = () => box.current && setView({ top: box.current.scrollTop, height: box.current.clientHeight });
  const lastTop = useRef(0);
  const toEnd = () => {
    if (!follows.current || !box.current) return;
    box.current.scrollTop = box.current.scrollHeight;
    lastTop.current = box.current.scrollTop;
  };
  useLayoutEffect(toEnd);
  useEffect(() => {
    const watch = new ResizeObserver(() => {
      toEnd();
      look();
    });
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const onScroll = ({ target }) => {
    const isAtEnd = target.scrollHeight - target.scrollTop - target.clientHeight < AT_END_PX;
    // Who leaves the end goes up; otherwise it is the end that went away, as rows came or grew.
    const hasLeft = !isAtEnd && target.scrollTop < lastTop.current;
    lastTop.current = target.scrollTop;
    if (isAtEnd || hasLeft) onFollow(isAtEnd);
    else toEnd();
    look();
  };
  const top = isFollowing ? Math.max(0, total - view.height) : Math.min(view.top, Math.max(0, total - view.height));
  const first = rows ? rowAt(offsets, top - SPARE_PX) : 0;
  const last = rows ? Math.min(rows, rowAt(offsets, top + view.height + SPARE_PX) + 1) : 0;
  return { box, onScroll, first, last, above: offsets[first], below: total - offsets[last] };
}
