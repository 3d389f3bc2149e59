// The sign-in page: a key to paste, and what went wrong with a link.

import { html, useEffect, useRef } from "../html.js";
import { signInByKey } from "../sign_in.js";
import { auth } from "../store.js";
import { Mark } from "./icons.js";

export function SignIn() {
  const field = useRef(null);
  const { status, error } = auth.value;
  const busy = status === "busy";
  useEffect(() => {
    if (!busy) field.current?.focus();
  }, [busy, error]);
  const submit = (event) => {
    event.preventDefault();
    signInByKey(field.current.value);
  };
  return html`
    <main class="sign-in">
      <div class="sign-in-card">
        <div class="brand"><${Mark} /><span>Switchyard</span></div>
        <h1>Sign in</h1>
        <p class="lead">Open the link that <code>make up</code> printed, or paste an API key.</p>
        <form onSubmit=${submit} novalidate>
          <label for="key">API key</label>
          <input id="key" ref=${field} class="field mono" type="password" autocomplete="off" spellcheck="false"
            autocapitalize="off" disabled=${busy} aria-describedby="key-error key-hint"
            aria-invalid=${String(Boolean(error && field.current?.value))} />
          <div id="key-error" class="form-error" role="alert">${error}</div>
          <button class="button primary wide" type="submit" disabled=${busy}>${busy ? "Signing in…" : "Sign in"}</button>
        </form>
        <p id="key-hint" class="hint">
          The first key is <code>SWITCHYARD_API_KEY</code> in the file <code>.env</code>. It stays in this tab and is
          forgotten when you close it.
        </p>
      </div>
    </main>
  `;
}
