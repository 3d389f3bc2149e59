// Play, pause, how fast, and where.

import { html, useState } from "../html.js";
import { pauseReplay, playReplay, replay, seekReplay, setReplaySpeed, SPEEDS, speedText } from "../replay.js";
import { isLive, spoken } from "../store.js";
import { absolute, clock, count, parse } from "../times.js";
import { Icon } from "./icons.js";

const STATES = { starting: "begins…", playing: "", paused: "paused", ended: "at its end", failed: "broken off" };

export function Player() {
  const { status, speed, position, last, at, error } = replay.value;
  const isPlaying = status === "playing" || status === "starting";
  const label = isPlaying ? "Pause" : status === "ended" ? "Play again" : "Play";
  const press = () => {
    (isPlaying ? pauseReplay : playReplay)();
    spoken.value = isPlaying ? "Replay paused" : "Replay goes on";
  };
  return html`
    <section class="player" aria-label="Player">
      <div class="player-row">
        <button type="button" class="button primary player-main" disabled=${!isLive.value || status === "starting"} onClick=${press}>
          <${Icon} name=${isPlaying ? "pause" : "play"} /><span>${label}</span>
        </button>
        <button type="button" class="button" title="Leave out the wait before the next event" disabled=${!isLive.value || position >= last}
          onClick=${() => seekReplay(position + 1)}><${Icon} name="next" /><span>Next event</span></button>
        <label class="visually-hidden" for="replay-speed">Speed</label>
        <select id="replay-speed" class="field" value=${speed} onChange=${({ target }) => setReplaySpeed(Number(target.value))}>
          ${SPEEDS.map((each) => html`<option key=${each} value=${each}>${speedText(each)}</option>`)}
        </select>
        <span class="player-at">
          ${at && html`<time class="mono" datetime=${at} title=${absolute(parse(at))}>${clock(parse(at))}</time>`}
          ${STATES[status] && html`<span class="aside">${STATES[status]}</span>`}
        </span>
      </div>
      <${Seek} position=${position} last=${last} />
      ${error && html`<p class="form-error" role="alert">${error}</p>`}
    </section>
  `;
}

// While it is dragged it stays under the hand; the place is sought when it is let go.
function Seek({ position, last }) {
  const [held, setHeld] = useState(null);
  const at = held ?? position;
  const onChange = ({ target }) => {
    setHeld(null);
    seekReplay(Number(target.value));
  };
  return html`
    <div class="seek">
      <input type="range" min=${last ? 1 : 0} max=${last} step="1" value=${at} disabled=${!isLive.value || last < 2}
        aria-label="Event" aria-valuetext="event ${at} of ${last}" onInput=${({ target }) => setHeld(Number(target.value))} onChange=${onChange} />
      <span class="mono seek-count">${count(at)} of ${count(last)}</span>
    </div>
  `;
}
