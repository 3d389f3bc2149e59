// The signed-in page below the top bar: one view, or sessions, feed and the open event side by side.

import { html } from "../html.js";
import { active, detailOpen, pane } from "../store.js";
import { AgentView } from "./agent_view.js";
import { ChatView } from "./chat_view.js";
import { ConnectionBar } from "./connection.js";
import { Detail } from "./detail.js";
import { EventList } from "./event_list.js";
import { FilterBar } from "./filter_bar.js";
import { LiveView } from "./live_view.js";
import { Notices } from "./notices.js";
import { ReplayView } from "./replay_view.js";
import { SessionList } from "./session_list.js";
import { SidebarView } from "./sidebar_view.js";

const VIEWS = { live: LiveView, sidebars: SidebarView, chat: ChatView, agents: AgentView, replay: ReplayView };

export function Workspace({ onReconnect, onNamed }) {
  const View = VIEWS[pane.value] ?? Feed;
  return html`
    <${Notices} />
    <${ConnectionBar} onReconnect=${onReconnect} />
    <${View} onNamed=${onNamed} />
  `;
}

function Feed() {
  const open = detailOpen.value && active.value !== null;
  return html`
    <div class="workspace" data-pane=${pane.value} data-detail=${open ? "open" : "closed"}>
      <${SessionList} />
      <main class="feed" aria-label="Event feed">
        <${FilterBar} />
        <${EventList} />
      </main>
      ${open && html`<${Detail} row=${active.value} />`}
    </div>
  `;
}
