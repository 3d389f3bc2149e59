// What was found in a run's output, by type, each with its risk.

import { html, useEffect, useState } from "../html.js";
import { closeFound, filterFound, found, groups, loadMoreFound, openFound, readCodeBlock, refreshFound, RISKS, TYPES } from "../run_found.js";
import { showLine } from "../run_output.js";
import { absolute, count, parse } from "../times.js";
import { CopyButton } from "./copy_button.js";

const words = (type) => type.replaceAll("_", " ");

/** `onShown` is called when a line is to be shown. */
export function RunFound({ id, onShown }) {
  const { status, error, type, risk, items, next } = found.value;
  useEffect(() => {
    openFound(id);
    return closeFound;
  }, [id]);
  const onLine = (number) => {
    showLine(number);
    onShown();
  };
  return html`
    <div class="found">
      <div class="found-filters">
        <label class="visually-hidden" for="found-type">Type</label>
        <select id="found-type" class="field" value=${type} onChange=${({ target }) => filterFound({ type: target.value })}>
          <option value="">Everything</option>
          ${TYPES.map((each) => html`<option key=${each} value=${each}>${words(each)}</option>`)}
        </select>
        <label class="visually-hidden" for="found-risk">Risk</label>
        <select id="found-risk" class="field" value=${risk} onChange=${({ target }) => filterFound({ risk: target.value })}>
          <option value="">Any risk</option>
          ${RISKS.map((each) => html`<option key=${each} value=${each}>${each} risk</option>`)}
        </select>
      </div>
      ${error && html`<p class="pane-error" role="alert">${error} <button type="button" class="only" onClick=${refreshFound}>Try again</button></p>`}
      ${items.length === 0 && status !== "failed" && html`<p class="found-none">${status === "ready" ? "Nothing of that was found." : "Reading…"}</p>`}
      ${groups.value.map(([each, inIt]) => html`
        <section key=${each} class="found-group" aria-labelledby="found-${each}">
          <h2 id="found-${each}">${words(each)} <span class="pane-count">${count(inIt.length)}</span></h2>
          <ul>${inIt.map((item) => html`<${Item} key=${item.extraction_id} item=${item} onLine=${onLine} />`)}</ul>
        </section>
      `)}
      ${next && html`<button type="button" class="button small more" onClick=${loadMoreFound}>Show more</button>`}
    </div>
  `;
}

function Item({ item, onLine }) {
  const { type, pattern, risk, auto_confirm: harmless, text, first_line: first, last_line: last, at, sha256 } = item;
  const { language, default: standard } = item.data ?? {};
  return html`
    <li class="found-item" data-risk=${risk}>
      <p class="found-text mono">${text}</p>
      <p class="found-more">
        <span class="tag risk" data-risk=${risk}>${risk}</span>
        ${harmless && html`<span class="tag quiet" title="Nothing could be lost by a yes that no human gave">harmless yes</span>`}
        <span>${[words(pattern), language, standard && `default ${standard}`].filter((each) => each && each !== words(type)).join(" · ")}</span>
        <button type="button" class="only" title=${absolute(parse(at))} onClick=${() => onLine(first)}>${first === last ? `line ${count(first)}` : `lines ${count(first)} to ${count(last)}`}</button>
      </p>
      ${sha256 && html`<${CodeBlock} sha256=${sha256} />`}
    </li>
  `;
}

/** Read when it is opened. */
function CodeBlock({ sha256 }) {
  const [block, setBlock] = useState(null);
  const [error, setError] = useState("");
  const onToggle = async ({ target }) => {
    if (!target.open || block) return;
    try {
      setBlock(await readCodeBlock(sha256));
    } catch (fault) {
      setError(fault.message);
    }
  };
  return html`
    <details class="code" onToggle=${onToggle}>
      <summary>The whole of it</summary>
      ${error && html`<p class="form-error" role="alert">${error}</p>`}
      ${block && html`
        <p class="found-more">
          <span>${[block.language, `${count(block.bytes)} bytes`, block.seen > 1 ? `seen ${count(block.seen)} times` : "seen once", sha256.slice(0, 12)].filter(Boolean).join(" · ")}</span>
          <${CopyButton} text=${() => block.content} />
        </p>
        <pre class="json mono" tabindex="0" aria-label="Code">${block.content}</pre>
      `}
    </details>
  `;
}
