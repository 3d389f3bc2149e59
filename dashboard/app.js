// The composition root: ties sign-in, connection, feed and sessions together, and draws the page.

import { effect, html, render } from "./html.js";
import { closeChat, openChat, startChatTalk, stopChatTalk } from "./chat_talk.js";
import { noteChatEvent, refreshChats, refreshStats, startChats, stopChats } from "./chats.js";
import { Header } from "./components/header.js";
import { SignIn } from "./components/sign_in.js";
import { Workspace } from "./components/workspace.js";
import { addEvent, addGap, noteCursor, reset, startFeed } from "./feed.js";
import { listenToKeys } from "./keyboard.js";
import { forgetDisplay, noteDisplay } from "./live.js";
import { forgetNotices, noteNotice, noteReconnected, tidyNotices } from "./notices.js";
import { leaveReplay, noteReplay, openReplay, startReplays } from "./replay.js";
import { closeRun, noteInRun, openRun, startRun, stopRun } from "./run_open.js";
import { noteRunEvent, refreshRuns, startRuns, stopRuns } from "./runs.js";
import { followConnection, noteEvent, startSessions, stopSessions } from "./sessions.js";
import { noteSidebarEvent, refreshSidebars, startSidebars, stopSidebars } from "./sidebars.js";
import { gatewayUrl, signOut, socketToken, startSignIn } from "./sign_in.js";
import { Connection } from "./socket.js";
import { auth, chatAt, closeDetail, connection, followHistory, isLive, now, pane, replayOf, runId, sidebarId, spoken } from "./store.js";
import { closeTalk, openTalk, startTalk, stopTalk } from "./talk.js";

let socket = null;

function onSignedIn(credential) {
  socket?.stop();
  socket = new Connection({
    token: () => socketToken(credential),
    url: gatewayUrl,
    onState: (state) => {
      connection.value = state;
      noteCursor(state.head);
    },
    onEvent: (frame, text) => {
      const { head } = connection.peek();
      if (noteNotice(frame, head)) return;
      const isNew = !(frame.cursor <= head);
      addEvent(frame, text, { isNew });
      noteEvent(frame);
      noteChatEvent(frame, { isNew });
      noteSidebarEvent(frame);
      noteRunEvent(frame, { isNew });
      noteInRun(frame, { isNew });
    },
    onGap: addGap,
    onGatewayState: noteDisplay,
    onReplay: noteReplay,
    onRefused,
  });
  const command = (name, data, messageId) => socket.command(name, data, messageId);
  startTalk(command);
  startSidebars(command);
  startChats(command);
  startChatTalk(command);
  startRuns(command);
  startRun(command);
  startReplays((frame) => socket.replay(frame), command);
  socket.watchGateway(pane.peek() === "live");
  socket.start();
  startSessions(credential, onRefused);
}

const ENDED = "Your sign-in has ended. Sign in again to go on.";
const onRefused = (error) => leave(error.kind === "forbidden" ? error.message : ENDED);

function leave(reason = "") {
  leaveReplay();
  socket?.stop();
  socket = null;
  stopSessions();
  stopSidebars();
  stopTalk();
  stopChats();
  stopChatTalk();
  stopRuns();
  stopRun();
  forgetDisplay();
  forgetNotices();
  closeDetail();
  reset();
  signOut(reason);
}

const reconnect = () => socket?.start();

// A name is part of the token.
function onNamed() {
  socket?.stop();
  socket?.start();
}

function App() {
  if (auth.value.status !== "in") return html`<${SignIn} />`;
  return html`
    <div class="shell">
      <${Header} onSignOut=${() => leave()} />
      <${Workspace} onReconnect=${reconnect} onNamed=${onNamed} />
    </div>
  `;
}

function Spoken() {
  return html`<div class="visually-hidden" role="status">${spoken.value}</div>`;
}

startFeed();
followConnection();
followHistory();
listenToKeys();
addEventListener("online", reconnect);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) now.value = Date.now();
});
setInterval(() => {
  now.value = Date.now();
  tidyNotices();
  if (pane.peek() === "chat" && isLive.peek() && !document.hidden) refreshStats();
}, 5_000);
effect(() => {
  const wanted = pane.value === "live";
  socket?.watchGateway(wanted);
});
effect(() => {
  if (!isLive.value) return;
  noteReconnected();
  refreshSidebars();
  refreshRuns();
});
effect(() => {
  if (!sidebarId.value) closeTalk();
  else if (isLive.value && pane.value === "sidebars") openTalk(sidebarId.value);
});
effect(() => {
  if (isLive.value && pane.value === "chat") refreshChats();
});
effect(() => {
  const { room, bot } = chatAt.value;
  if (!room || !bot) closeChat();
  else if (isLive.value && pane.value === "chat") openChat(room, bot);
});
effect(() => {
  if (!runId.value) closeRun();
  else if (isLive.value && pane.value === "agents") openRun(runId.value);
});
effect(() => {
  if (pane.value !== "replay" || !replayOf.value) leaveReplay();
  else if (isLive.value) openReplay(replayOf.value);
});
effect(() => {
  const { phase, reason } = connection.value;
  if (phase === "live") spoken.value = "Connected, live";
  else if (phase === "waiting" || phase === "stopped") spoken.value = `Disconnected. ${reason}`;
});

render(html`<${App} /><${Spoken} />`, document.getElementById("app"));
startSignIn(onSignedIn);
