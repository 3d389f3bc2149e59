// The lines of a run. Only those in sight are in the document; they are wrapped where the width ends, as terminals do.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../html.js";
import { isUnderWay } from "../runs.js";
import { follow, following, loadEarlierLines, loadLaterLines, output, wanted } from "../run_output.js";
import { absolute, count, parse } from "../times.js";
import { Icon } from "./icons.js";
import { offsetsOf, useWindow } from "./windowed.js";

const LINE_PX = 19;

export function RunOutput({ run }) {
  const { status, error, lines, total, begins } = output.value;
  const isFollowing = following.value;
  const probe = useRef(null);
  const columns = useColumns(probe);
  const offsets = useMemo(
    () => offsetsOf(lines.map(({ text }) => LINE_PX * Math.max(1, Math.ceil(text.length / columns)))), [lines, columns]);
  const { box, onScroll, first, last, above, below } = useWindow(offsets, isFollowing, follow);
  useKeptPlace(box, lines, offsets);
  useWanted(box, lines, offsets);
  const end = lines.at(-1)?.number ?? 0;
  return html`
    <div class="output">
      <div class="output-bar">
        <span class="output-count">${lines.length ? `Lines ${count(lines[0].number)} to ${count(end)} of ${count(Math.max(total, run.lines))}` : ""}</span>
        <button type="button" class="button small" aria-pressed=${String(isFollowing)} data-on=${isFollowing} onClick=${() => follow(!isFollowing)}>
          <${Icon} name="end" />${isFollowing ? "Following" : "Follow the end"}
        </button>
      </div>
      <div class="output-box mono" ref=${box} onScroll=${onScroll} tabindex="0" role="log" aria-live="off" aria-label="Output">
        <span class="output-probe" ref=${probe} aria-hidden="true">${"0".repeat(50)}</span>
        ${error && html`<p class="pane-error" role="alert">${error}</p>`}
        ${!begins && lines.length > 0 && !isFollowing && html`<button type="button" class="button small output-more" onClick=${loadEarlierLines}>Show earlier lines</button>`}
        <div style=${{ height: `${above}px` }}></div>
        ${lines.slice(first, last).map((line, n) => html`<${Line} key=${line.number} line=${line} goesOn=${lines[first + n - 1]} isWanted=${line.number === wanted.value} />`)}
        <div style=${{ height: `${below}px` }}></div>
        ${!isFollowing && end < total && html`<button type="button" class="button small output-more" onClick=${loadLaterLines}>Show later lines</button>`}
        ${lines.length === 0 && html`<p class="output-none">${NONE(status, run)}</p>`}
      </div>
    </div>
  `;
}

const NONE = (status, run) => {
  if (status !== "ready") return "Reading…";
  if (run.lines > 0) return "What it wrote is no longer kept.";
  return isUnderWay(run) ? "It has written nothing yet." : "It wrote nothing.";
};

const MARKS = { stderr: "err", input: "in", stdout: "" };

// A line is in pieces when the one before it, of its stream, went on.
function Line({ line, goesOn, isWanted }) {
  const { number, stream, text, at } = line;
  const isPiece = goesOn?.goesOn && goesOn.stream === stream;
  return html`
    <div class="line" data-stream=${stream} data-wanted=${isWanted} title=${absolute(parse(at))}>
      <span class="line-number">${isPiece ? "↳" : number}</span><span class="line-mark">${MARKS[stream]}</span><span class="line-text">${text || " "}</span>
    </div>
  `;
}

// How many letters of the one width there is fit side by side.
function useColumns(probe) {
  const [columns, setColumns] = useState(100);
  useLayoutEffect(() => {
    const measure = () => {
      const letter = probe.current.getBoundingClientRect().width / 50;
      const gutter = parseFloat(getComputedStyle(probe.current.parentElement).getPropertyValue("--gutter"));
      const room = probe.current.parentElement.clientWidth - gutter - 12;
      if (letter > 0) setColumns(Math.max(10, Math.floor(room / letter)));
    };
    measure();
    const watch = new ResizeObserver(measure);
    watch.observe(probe.current.parentElement);
    watch.observe(probe.current);
    return () => watch.disconnect();
  }, []);
  return columns;
}

// What is put in above must not move what is read.
function useKeptPlace(box, lines, offsets) {
  const before = useRef(null);
  useLayoutEffect(() => {
    const first = lines[0]?.number;
    const was = before.current;
    before.current = first;
    if (following.peek() || was == null || !(first < was)) return;
    const at = lines.findIndex(({ number }) => number === was);
    if (at > 0) box.current.scrollTop += offsets[at];
  }, [lines]);
}

function useWanted(box, lines, offsets) {
  const number = wanted.value;
  useEffect(() => {
    const at = lines.findIndex((line) => line.number === number);
    if (number === null || at < 0) return;
    box.current.scrollTop = Math.max(0, offsets[at] - box.current.clientHeight / 3);
  }, [number, lines[0]?.number]);
}
