// How a run's state moved and what was asked of it, in the order of time.

import { html } from "../html.js";
import { stateText } from "../runs.js";
import { absolute, clock, parse } from "../times.js";

export function RunHistory({ run }) {
  const items = historyOf(run);
  return html`
    <div class="history">
      <ol>${items.map((item) => html`<${Item} key=${item.key} item=${item} />`)}</ol>
    </div>
  `;
}

/** Moves and requests by time. */
export function historyOf({ transitions, controls }) {
  const moves = transitions.map((move, n) => ({ key: `m${n}`, at: parse(move.at), move }));
  const asked = controls.map((control) => ({ key: control.control_id, at: parse(control.asked), control }));
  return [...moves, ...asked].sort((a, b) => a.at - b.at);
}

const ACTIONS = { get_state: "to tell how it is", pause: "to pause", resume: "to go on", send_input: "to take input", kill: "to end" };
const OUTCOMES = { asked: "no answer yet", done: "done", refused: "refused", told: "told from what is stored" };

function Item({ item: { at, move, control } }) {
  const when = html`<time class="mono" title=${absolute(at)}>${clock(at)}</time>`;
  if (move) {
    return html`
      <li class="move" data-run=${move.state}>
        <span class="status-dot" aria-hidden="true"></span>
        <span><b>${stateText(move.state)}</b>${move.cause && `: ${move.cause}`}${move.by !== "system" && html` <span class="aside">· told by ${move.by}</span>`}</span>
        ${when}
      </li>
    `;
  }
  return html`
    <li class="move control" data-control=${control.status}>
      <span class="status-dot" aria-hidden="true"></span>
      <span>${control.asked_by} asked it ${ACTIONS[control.action] ?? control.action}: <b>${control.error ?? OUTCOMES[control.status]}</b></span>
      ${when}
    </li>
  `;
}
