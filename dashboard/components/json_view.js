// Coloured JSON, selectable as text. Very long ones are cut until asked for whole.

import { html, useState } from "../html.js";
import { count } from "../times.js";

const TOKENS_AT_FIRST = 6_000;

export function JsonView({ tokens }) {
  const [whole, setWhole] = useState(false);
  const cut = !whole && tokens.length > TOKENS_AT_FIRST;
  const drawn = cut ? tokens.slice(0, TOKENS_AT_FIRST) : tokens;
  return html`
    <pre class="json mono" tabindex="0" aria-label="Event as JSON">${drawn.map(([kind, text]) =>
      kind === "plain" ? text : html`<span class="j-${kind}">${text}</span>`)}</pre>
    ${cut && html`
      <button type="button" class="button wide" onClick=${() => setWhole(true)}>
        Show all of it (${count(tokens.length - TOKENS_AT_FIRST)} values more)
      </button>
    `}
  `;
}
