// A button that copies a text and says so.

import { html, useEffect, useState } from "../html.js";
import { spoken } from "../store.js";
import { Icon } from "./icons.js";

/** `text()` is asked for when pressed. */
export function CopyButton({ text, label = "Copy" }) {
  const [done, setDone] = useState("");
  useEffect(() => {
    if (!done) return undefined;
    const timer = setTimeout(() => setDone(""), 1600);
    return () => clearTimeout(timer);
  }, [done]);
  const onClick = async () => {
    const said = (await copy(text())) ? "Copied" : "Select it and copy by hand";
    setDone(said);
    spoken.value = said;
  };
  return html`
    <button type="button" class="button small copy" data-done=${done !== ""} onClick=${onClick}>
      <${Icon} name=${done === "Copied" ? "check" : "copy"} /><span>${done || label}</span>
    </button>
  `;
}

// The clipboard's own interface exists on https and localhost only; elsewhere a hidden field does it.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = document.createElement("textarea");
    field.className = "visually-hidden";
    field.value = text;
    document.body.append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    return copied;
  }
}
