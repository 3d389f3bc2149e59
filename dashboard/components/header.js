// The top bar: mark, views, connection state, rate, and the way out.

import { html } from "../html.js";
import { waitingCount } from "../chats.js";
import { liveCount } from "../runs.js";
import { openCount } from "../sidebars.js";
import { pane, show, showChat, showRun } from "../store.js";
import { sessions } from "../sessions.js";
import { ConnectionState } from "./connection.js";
import { IconButton, Mark } from "./icons.js";
import { Rate } from "./rate.js";

export function Header({ onSignOut }) {
  return html`
    <header class="topbar">
      <div class="brand"><${Mark} /><span>Switchyard</span></div>
      <nav class="tabs" aria-label="Views">
        <${Tab} name="feed" hint="1">Feed<//>
        <${Tab} name="sessions">Sessions <span class="tab-count">${sessions.value.length || ""}</span><//>
        <${Tab} name="live" hint="2">Live<//>
        <${Tab} name="sidebars" hint="3">Sidebars <span class="tab-count">${openCount.value || ""}</span><//>
        <${Tab} name="chat" hint="4">Chat <span class="tab-count">${waitingCount.value || ""}</span><//>
        <${Tab} name="agents" hint="5">Agents <span class="tab-count">${liveCount.value || ""}</span><//>
      </nav>
      <div class="topbar-end">
        <${Rate} />
        <${ConnectionState} />
        <${IconButton} name="leave" label="Sign out" onClick=${onSignOut} />
      </div>
    </header>
  `;
}

function Tab({ name, hint, children }) {
  const here = pane.value === name;
  // A second press leads back from what is open to the view itself.
  const close = { chat: () => showChat(), agents: () => showRun() }[name] ?? (() => show(name, ""));
  const onClick = () => (here ? close() : show(name));
  return html`
    <button type="button" class="tab" data-view=${name} aria-current=${here ? "page" : "false"}
      title=${hint && `Key ${hint}`} onClick=${onClick}>
      ${children}
    </button>
  `;
}
