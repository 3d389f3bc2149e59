// What an empty feed says, and what to do next.

import { html } from "../html.js";
import { kept } from "../feed.js";
import { isActive } from "../filters.js";
import { clearFilters, connection, filters } from "../store.js";
import { count } from "../times.js";
import { CopyButton } from "./copy_button.js";

const firstEvent = () => `. ./.env
curl ${location.origin}/api/commands/create_session \\
  -H "X-API-Key: $SWITCHYARD_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"session_id": "hello", "title": "My first session"}'`;

export function EmptyFeed() {
  if (isActive(filters.value)) return html`<${NothingMatches} />`;
  if (connection.value.phase !== "live") {
    return html`<div class="empty"><p class="empty-quiet">Waiting for the gateway…</p></div>`;
  }
  return html`
    <div class="empty">
      <h2>Listening. Nothing has happened yet.</h2>
      <p>Events show here the moment they happen. Send the first one, from the folder of your checkout:</p>
      <div class="snippet">
        <pre class="mono">${firstEvent()}</pre>
        <${CopyButton} text=${firstEvent} />
      </div>
      <p class="empty-more">
        Or run <code>make demo</code> to see one real case on every path. The API is described at ${" "}
        <a href="/docs" target="_blank" rel="noopener">/docs</a>.
      </p>
    </div>
  `;
}

function NothingMatches() {
  return html`
    <div class="empty">
      <h2>Nothing matches these filters.</h2>
      <p>
        ${kept.value
          ? `${count(kept.value)} other events are kept and hidden by them.`
          : "New events that match will show here."}
      </p>
      <button type="button" class="button" onClick=${clearFilters}>Clear the filters</button>
    </div>
  `;
}
