// The signed-in page below the top bar: sessions, feed and the open event, side by side as far as there is room.

import { html } from "../html.js";
import { active, detailOpen, pane } from "../store.js";
import { ConnectionBar } from "./connection.js";
import { Detail } from "./detail.js";
import { EventList } from "./event_list.js";
import { FilterBar } from "./filter_bar.js";
import { SessionList } from "./session_list.js";

export function Workspace({ onReconnect }) {
  const open = detailOpen.value && active.value !== null;
  return html`
    <${ConnectionBar} onReconnect=${onReconnect} />
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
