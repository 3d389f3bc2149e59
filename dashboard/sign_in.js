// Signing in and out: the one-use link, the pasted key, and where the credential is kept while the tab lives.

import { exchangeCode, issueToken, readConfig } from "./api.js";
import { auth } from "./store.js";

const KEPT_AS = "switchyard.credential";
const BROWSER_AS = "switchyard.browser";

let onSignedIn = () => {};

const SAID = {
  unauthorized: "That key is not valid. Copy it again: the whole of it, without quotes.",
  limited: "Too many tries with this key. Wait a minute, then try again.",
};
const LINK_ENDED = "This sign-in link was already used or has expired. Run “switchyard status” for a new one.";

/**
 * Take up a sign-in: that of a link in the address, else the one this tab already has.
 * `signedIn(credential)` is called each time somebody is in.
 */
export async function startSignIn(signedIn) {
  onSignedIn = signedIn;
  addEventListener("hashchange", () => signInByLink(takeCode()));
  const code = takeCode();
  if (code) return signInByLink(code);
  const kept = sessionStorage.getItem(KEPT_AS);
  return kept ? enter(kept) : undefined;
}

// The code must not stay in the address, where it would be bookmarked, shared or restored.
function takeCode() {
  const code = new URLSearchParams(location.hash.slice(1)).get("login");
  if (code !== null) history.replaceState(null, "", location.pathname + location.search);
  return code;
}

async function signInByLink(code) {
  if (!code) return;
  auth.value = { status: "busy", error: "" };
  try {
    const { access_token: credential } = await exchangeCode(code);
    enter(credential);
  } catch (error) {
    const ended = ["unauthorized", "forbidden"].includes(error.kind) || [400, 404, 409, 410, 422].includes(error.status);
    signOut(ended ? LINK_ENDED : error.message);
  }
}

/** Try a pasted key; wrong ones end in `auth.error`. */
export async function signInByKey(text) {
  const key = text.trim().replace(/^(SWITCHYARD_API_KEY=)?["']?|["']$/g, "");
  if (!key) return void (auth.value = { status: "out", error: "Paste a key first." });
  if (!/^[\x21-\x7e]+$/.test(key)) return void (auth.value = { status: "out", error: SAID.unauthorized });
  auth.value = { status: "busy", error: "" };
  try {
    await issueToken(key, browserId());
    enter(key);
  } catch (error) {
    auth.value = { status: "out", error: SAID[error.kind] ?? error.message };
  }
}

function enter(credential) {
  sessionStorage.setItem(KEPT_AS, credential);
  auth.value = { status: "in", error: "" };
  onSignedIn(credential);
}

/** Forget the credential; `reason` is shown on the sign-in page. */
export function signOut(reason = "") {
  sessionStorage.removeItem(KEPT_AS);
  auth.value = { status: "out", error: reason };
}

/** What the gateway needs of this page: a fresh token, and its own address. */
export const socketToken = (credential) => issueToken(credential, browserId());
export const gatewayUrl = async () => (await readConfig()).gateway_url;

// Five tabs are allowed for each name, so each browser has a name of its own. It is no secret.
function browserId() {
  try {
    const known = localStorage.getItem(BROWSER_AS);
    if (known) return known;
    const made = `dashboard-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
    localStorage.setItem(BROWSER_AS, made);
    return made;
  } catch {
    return "dashboard";
  }
}
