// The top bar: mark, connection state, rate, and the way out.

import { html } from "../html.js";
import { closeDetail, pane } from "../store.js";
import { sessions } from "../sessions.js";
import { ConnectionState } from "./connection.js";
import { IconButton, Mark } from "./icons.js";
import { Rate } from "./rate.js";

export function Header({ onSignOut }) {
  return html`
    <header class="topbar">
      <div class="brand"><${Mark} /><span>Switchyard</span></div>
      <nav class="tabs" aria-label="Panes">
        <${Tab} name="feed">Feed<//>
        <${Tab} name="sessions">Sessions <span class="tab-count">${sessions.value.length || ""}</span><//>
      </nav>
      <div class="topbar-end">
        <${Rate} />
        <${ConnectionState} />
        <${IconButton} name="leave" label="Sign out" onClick=${onSignOut} />
      </div>
    </header>
  `;
}

function Tab({ name, children }) {
  const here = pane.value === name;
  const onClick = () => {
    closeDetail();
    pane.value = name;
  };
  return html`
    <button type="button" class="tab" aria-current=${here ? "page" : "false"} onClick=${onClick}>
      ${children}
    </button>
  `;
}
