// Agents' runs: the list, and beside it one run.

import { html } from "../html.js";
import { runId } from "../store.js";
import { RunList } from "./run_list.js";
import { RunPage } from "./run_page.js";

export function AgentView() {
  const id = runId.value;
  return html`
    <div class="workspace sidebar-view agent-view" data-open=${id ? "yes" : "no"}>
      <${RunList} />
      ${id ? html`<${RunPage} key=${id} id=${id} />` : html`<${NoneChosen} />`}
    </div>
  `;
}

function NoneChosen() {
  return html`
    <main class="talk none-chosen" aria-label="Run">
      <div class="empty">
        <p class="empty-quiet">Choose a run to see what it writes, and to control it.</p>
      </div>
    </main>
  `;
}
