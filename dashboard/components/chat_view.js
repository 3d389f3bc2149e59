// Chats with bots: the list with the pool, the bots and what waits to be allowed, and beside it one conversation.

import { html } from "../html.js";
import { chatAt } from "../store.js";
import { ChatList } from "./chat_list.js";
import { ChatTalk } from "./chat_talk.js";

export function ChatView({ onNamed }) {
  const { room, bot } = chatAt.value;
  const isOpen = room !== "" && bot !== "";
  return html`
    <div class="workspace sidebar-view chat-view" data-open=${isOpen ? "yes" : "no"}>
      <${ChatList} />
      ${isOpen ? html`<${ChatTalk} key=${JSON.stringify([room, bot])} room=${room} bot=${bot} onNamed=${onNamed} />` : html`<${NoneChosen} />`}
    </div>
  `;
}

function NoneChosen() {
  return html`
    <main class="talk none-chosen" aria-label="Conversation">
      <div class="empty">
        <p class="empty-quiet">Choose a chat to follow it, or begin one.</p>
      </div>
    </main>
  `;
}
