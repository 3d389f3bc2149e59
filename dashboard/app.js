// The composition root: ties sign-in, connection, feed and sessions together, and draws the page.

import { effect, html, render } from "./html.js";
import { Header } from "./components/header.js";
import { SignIn } from "./components/sign_in.js";
import { Workspace } from "./components/workspace.js";
import { addEvent, addGap, noteCursor, reset, startFeed } from "./feed.js";
import { listenToKeys } from "./keyboard.js";
import { followConnection, noteEvent, startSessions, stopSessions } from "./sessions.js";
import { gatewayUrl, signOut, socketToken, startSignIn } from "./sign_in.js";
import { Connection } from "./socket.js";
import { auth, closeDetail, connection, followHistory, now, spoken } from "./store.js";

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
      addEvent(frame, text, { isNew: !(frame.cursor <= connection.peek().head) });
      noteEvent(frame);
    },
    onGap: addGap,
    onRefused,
  });
  socket.start();
  startSessions(credential, onRefused);
}

const ENDED = "Your sign-in has ended. Sign in again to go on.";
const onRefused = (error) => leave(error.kind === "forbidden" ? error.message : ENDED);

function leave(reason = "") {
  socket?.stop();
  socket = null;
  stopSessions();
  closeDetail();
  reset();
  signOut(reason);
}

const reconnect = () => socket?.start();

function App() {
  if (auth.value.status !== "in") return html`<${SignIn} />`;
  return html`
    <div class="shell">
      <${Header} onSignOut=${() => leave()} />
      <${Workspace} onReconnect=${reconnect} />
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
}, 5_000);
effect(() => {
  const { phase, reason } = connection.value;
  if (phase === "live") spoken.value = "Connected, live";
  else if (phase === "waiting" || phase === "stopped") spoken.value = `Disconnected. ${reason}`;
});

render(html`<${App} /><${Spoken} />`, document.getElementById("app"));
startSignIn(onSignedIn);
