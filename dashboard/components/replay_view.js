// A session that happens again: a player above, and its events as they come.

import { html } from "../html.js";
import { playReplay, replay } from "../replay.js";
import { active, detailOpen, isLive, replayOf, setFilters, show } from "../store.js";
import { Detail } from "./detail.js";
import { IconButton } from "./icons.js";
import { ReplayFork } from "./replay_fork.js";
import { ReplayList } from "./replay_list.js";
import { Player } from "./replay_player.js";
import { SessionList } from "./session_list.js";

export function ReplayView() {
  const isOpen = detailOpen.value && active.value !== null;
  return html`
    <div class="workspace replay-view" data-pane="replay" data-detail=${isOpen ? "open" : "closed"}>
      <${SessionList} />
      <main class="feed replay" aria-label="Replay">
        <${Head} />
        <${Body} />
      </main>
      ${isOpen && html`<${Detail} row=${active.value} />`}
    </div>
  `;
}

function Head() {
  const { session, id } = replay.value;
  const events = () => {
    setFilters({ session: replayOf.peek() });
    show("feed");
  };
  return html`
    <header class="talk-head">
      <div class="talk-title">
        <${IconButton} name="back" label="Back to the feed" look="button ghost icon-only" onClick=${events} />
        <h1 class="cut" title=${id}><span class="replay-word">Replay of</span> ${session?.title || replayOf.value}</h1>
        <${ReplayFork} />
      </div>
    </header>
  `;
}

function Body() {
  const { status, error, rows, last } = replay.value;
  if (!replayOf.value) {
    return html`<div class="empty"><p class="empty-quiet">Choose a session, then Replay.</p></div>`;
  }
  if (status === "failed" && !rows.length) {
    return html`
      <div class="empty">
        <h2>This session can’t be replayed.</h2>
        <p role="alert">${error}</p>
        <button type="button" class="button" onClick=${playReplay}>Try again</button>
      </div>
    `;
  }
  if (!isLive.value && !rows.length) return html`<div class="empty"><p class="empty-quiet">Waiting for the gateway…</p></div>`;
  if (status === "starting" && !last) return html`<div class="skeleton talk-skeleton" role="status" aria-label="Loading"><i></i><i></i><i></i></div>`;
  return html`<${Player} /><${ReplayList} />`;
}
