// Sidebars: the list, and beside it one conversation.

import { html } from "../html.js";
import { sidebarId } from "../store.js";
import { SidebarList } from "./sidebar_list.js";
import { Talk } from "./talk.js";

export function SidebarView({ onNamed }) {
  const id = sidebarId.value;
  return html`
    <div class="workspace sidebar-view" data-open=${id ? "yes" : "no"}>
      <${SidebarList} />
      ${id ? html`<${Talk} key=${id} id=${id} onNamed=${onNamed} />` : html`<${NoneChosen} />`}
    </div>
  `;
}

function NoneChosen() {
  return html`
    <main class="talk none-chosen" aria-label="Conversation">
      <div class="empty">
        <p class="empty-quiet">Choose a sidebar to follow what is said in it.</p>
      </div>
    </main>
  `;
}
