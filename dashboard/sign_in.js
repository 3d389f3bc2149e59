// Signing in and out: the one-use link, the pasted key, and where the credential is kept while the tab lives.

import { ApiError, exchangeCode, issueToken, readConfig } from "./api.js";
import { auth, grant, NO_GRANT } from "./store.js";

const KEPT_AS = "switchyard.credential";
const BROWSER_AS = "switchyard.browser";
const NAME_AS = "switchyard.name";

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
    grant.value = NO_GRANT;
    await socketToken(key);
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
  grant.value = NO_GRANT;
}

export const gatewayUrl = async () => (await readConfig()).gateway_url;

/** A fresh token for the gateway: one to write with, if the credential may; `grant` then says what it allows. */
export async function socketToken(credential) {
  const name = ownName();
  const { permission } = grant.peek();
  const given = permission === "observer" ? await issueToken(credential, name, permission) : await mostOf(credential, name);
  const { scopes } = given;
  if (!scopes.includes("read") && !scopes.includes("admin")) throw new ApiError("forbidden", "This key lacks the scope “read”.");
  grant.value = { name, scopes, permission: given.permission ?? permission };
  return given;
}

// What a credential may do is learnt by asking; one that only reads is refused the first question, once.
async function mostOf(credential, name) {
  try {
    return { ...(await issueToken(credential, name, "active")), permission: "active" };
  } catch (error) {
    if (error.kind !== "forbidden") throw error;
    return { ...(await issueToken(credential, name, "observer")), permission: "observer" };
  }
}

/** What others see this person's words under: the name chosen in this browser, else one it has made up. */
export const ownName = () => chosenName() || browserId();

const NAME = /^[\p{L}\p{N}][\p{L}\p{N}._-]{0,63}$/u;

/** Go by another name from the next token on; false when it is no name that can be mentioned. */
export function chooseName(name) {
  if (!NAME.test(name)) return false;
  try {
    localStorage.setItem(NAME_AS, name);
  } catch {
    return false;
  }
  return true;
}

function chosenName() {
  try {
    return localStorage.getItem(NAME_AS) ?? "";
  } catch {
    return "";
  }
}

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
