// One message to a bot and what became of it: the answer as it grows, what it took, or why there is none.

import { approvalOf } from "../chats.js";
import { html, useRef } from "../html.js";
import { isAdmin, isLive } from "../store.js";
import { absolute, ago, clock, count, parse } from "../times.js";
import { now } from "../store.js";
import { useDeed } from "./talk_actions.js";

export function ChatTurn({ turn, bot, growing, turns }) {
  const { user_name: name, text, trust, queued, status, number } = turn;
  const at = parse(queued);
  return html`
    <li class="turn" data-turn=${status} data-number=${number}>
      <div class="exchange">
        <p class="exchange-head">
          <strong>${name}</strong>
          ${trust === "untrusted" && html`<span class="tag quiet" title="It came from outside">untrusted</span>`}
          <${Moment} at=${at} />
        </p>
        <p class="exchange-text">${text}</p>
      </div>
      <${Outcome} turn=${turn} bot=${bot} growing=${growing} turns=${turns} />
    </li>
  `;
}

const Moment = ({ at }) => html`<time class="mono" title=${absolute(at)}>${clock(at).replace(/\.\d+$/, "")}</time>`;

function Outcome({ turn, bot, growing, turns }) {
  const { status, answer, completed } = turn;
  if (status === "dropped") return html`<p class="turn-end" data-end="dropped">Not answered: ${whyDropped(turn.reason)}</p>`;
  if (status === "merged") {
    const into = turns.find(({ turn_id: id }) => id === turn.merged_into);
    return html`<p class="turn-end">Answered together with ${into ? `message ${into.number}` : "another message"}</p>`;
  }
  if (status === "queued") return html`<p class="turn-end" data-end="open"><span class="status-dot"></span>Waits for its turn${turn.attempt ? ", once more" : ""}</p>`;
  if (status === "parked") return html`<${Parked} turn=${turn} bot=${bot} />`;
  if (status === "running") {
    // Not read out piece by piece: the whole is, when it is there.
    return html`
      <div class="exchange answer" aria-live="off" aria-busy="true">
        <p class="exchange-head"><strong>${bot}</strong><span class="tag" data-chat="running">answering${turn.attempt > 1 ? ", once more" : ""}</span></p>
        <p class="exchange-text growing">${growing?.text ?? ""}<i class="caret" aria-hidden="true"></i></p>
      </div>
    `;
  }
  return html`
    <div class="exchange answer" key="ended" data-end=${status}>
      <p class="exchange-head">
        <strong>${bot}</strong>
        ${status === "failed" && html`<span class="tag" data-outcome="failed">${whyFailed(turn.reason)}</span>`}
        ${completed && html`<${Moment} at=${parse(completed)} />`}
      </p>
      <p class="exchange-text">${answer}</p>
      <${Took} turn=${turn} />
    </div>
  `;
}

const REASONS = {
  busy: "the bot was busy", interrupted: "a later message took its place", reset: "the conversation was begun anew",
  budget: "what it may use today is used up", switched_off: "the bot is switched off", expired: "it waited too long",
  loop: "too many bots have answered each other", own_message: "it is the bot’s own", unknown_bot: "the bot is not declared any more",
};
const FAILURES = {
  worker_died: "its worker died", deadline: "took too long", client_died: "its client died", no_credential: "no credential",
  not_installed: "the SDK is not installed", not_connected: "could not be started", api_unreachable: "the API is not reached",
};
const whyDropped = (reason) => `${REASONS[reason] ?? reason ?? "no reason was given"}.`;
const whyFailed = (reason) => FAILURES[reason] ?? String(reason ?? "failed").replace(/^api_/, "API error ");

const ms = (value) => (value >= 10_000 ? `${(value / 1000).toFixed(0)} s` : value >= 1000 ? `${(value / 1000).toFixed(1)} s` : `${Math.round(value)} ms`);

/** The path an answer took, its times, tokens and cost. */
function Took({ turn }) {
  const { path, waited_ms: waited, connect_ms: connect, answer_ms: answer, input_tokens: input, output_tokens: output, cost_usd: cost } = turn;
  const times = [["waited", waited], ["connected", connect], ["answered", answer]].filter(([, value]) => value != null);
  return html`
    <p class="took">
      ${path && html`<span class="path" data-path=${path} title=${PATHS[path]}>${path}</span>`}
      ${times.map(([word, value]) => html`<span key=${word}>${word} ${ms(value)}</span>`)}
      ${input + output > 0 && html`<span>${count(input)} + ${count(output)} tokens</span>`}
      ${cost > 0 && html`<span>$${cost.toFixed(4)}</span>`}
      ${turn.attempt > 1 && html`<span>attempt ${turn.attempt}</span>`}
    </p>
  `;
}

const PATHS = {
  hot: "The client was connected",
  warm: "The conversation was taken up again",
  cold: "A new conversation",
};

/** A tool that waits to be allowed, and who may do that. */
function Parked({ turn, bot }) {
  const approval = approvalOf(turn.turn_id);
  const note = useRef(null);
  const { run, busy, error } = useDeed();
  if (!approval) return html`<p class="turn-end" data-end="open"><span class="status-dot"></span>Waits until a tool is allowed</p>`;
  const { approval_id: id, tool, input, expires } = approval;
  const decide = (command) => {
    const words = note.current?.value.trim();
    run(command, words ? { approval_id: id, note: words } : { approval_id: id });
  };
  return html`
    <section class="approval" aria-label="${bot} asks to use ${tool}">
      <p><strong>${bot}</strong> asks to use <code>${tool}</code></p>
      <pre class="mono" tabindex="0" aria-label="What it is called with">${JSON.stringify(input, null, 2)}</pre>
      ${isAdmin.value
        ? html`
          <div class="approval-row">
            <label class="visually-hidden" for="note-${id}">A note for the bot</label>
            <input id="note-${id}" ref=${note} class="field" type="text" maxlength="200" autocomplete="off" placeholder="A note, optional" />
            <button type="button" class="button small primary" disabled=${busy || !isLive.value} onClick=${() => decide("approve")}>Approve</button>
            <button type="button" class="button small danger" disabled=${busy || !isLive.value} onClick=${() => decide("deny")}>Deny</button>
          </div>
        `
        : html`<p class="form-hint">Somebody with the scope <code>admin</code> can allow it.</p>`}
      <p class="form-hint">Refused by itself ${until(parse(expires), now.value)}.</p>
      ${error && html`<p class="form-error" role="alert">${error}</p>`}
    </section>
  `;
}

// Distance to a moment, as `ago` tells the one from it.
function until(moment, at) {
  const away = ago(2 * at - moment, at);
  return away === "now" ? "now" : `in ${away.replace(" ago", "")}`;
}
