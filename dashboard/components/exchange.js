// One thing said in a sidebar, one move of its status, and what it knew from the beginning.

import { html } from "../html.js";
import { grant, show } from "../store.js";
import { absolute, clock, count, parse } from "../times.js";
import { statusText } from "./sidebar_list.js";

const KINDS = { test_result: "test result", waiting: "waits", merge: "merged" };
const OUTCOME = /: (passed|failed|inconclusive)(?:\n|$)/;

/** `own` is the sidebar shown; what was said elsewhere first names its place. */
export function Exchange({ exchange, own }) {
  const { kind, author, text, created, mentions, data_refs: refs, origin_sidebar_id: origin, seq } = exchange;
  const at = parse(created);
  const outcome = kind === "test_result" ? OUTCOME.exec(text)?.[1] : "";
  return html`
    <li class="exchange" data-kind=${kind} data-seq=${seq} data-own=${author === grant.value.name}>
      <p class="exchange-head">
        <strong>${author}</strong>
        ${KINDS[kind] && html`<span class="tag" data-outcome=${outcome}>${outcome || KINDS[kind]}</span>`}
        ${origin && origin !== own && html`<button type="button" class="only" onClick=${() => show("sidebars", origin)}>said in <span class="mono">${origin}</span></button>`}
        <time class="mono" datetime=${created} title=${absolute(at)}>${clock(at).replace(/\.\d+$/, "")}</time>
      </p>
      <p class="exchange-text">${marked(kind === "post" ? text : tight(text), mentions ?? [])}</p>
      ${hasRefs(refs) && html`<p class="refs mono">${Object.entries(refs).map(([name, value]) => html`
        <span key=${name}><b>${name}</b> ${typeof value === "string" ? value : JSON.stringify(value)}</span>
      `)}</p>`}
    </li>
  `;
}

// What a test has shown, or a merge has brought, is put together of paragraphs that are a line each.
const tight = (text) => text.replaceAll("\n\n", "\n");

const hasRefs = (refs) => refs !== null && typeof refs === "object" && Object.keys(refs).length > 0;

/** A text in pieces, those who were mentioned marked. */
export function marked(text, mentions) {
  if (!mentions.length) return text;
  const names = mentions.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).sort((a, b) => b.length - a.length);
  const pieces = text.split(new RegExp(`(@(?:${names.join("|")}))(?![\\w@-])`, "i"));
  return pieces.map((piece, n) => (n % 2 ? html`<b class="mention">${piece}</b>` : piece));
}

export function Move({ move, at }) {
  const { from_status: from, to_status: to, by, reason } = move;
  return html`
    <li class="move" data-to=${to}>
      <span class="status-dot" data-status=${to}></span>
      <span>${from ? html`${statusText(from)} → <b>${statusText(to)}</b>` : html`<b>opened</b>`} by ${by}${reason && html`<span class="aside">: ${reason}</span>`}</span>
      <time class="mono" title=${absolute(at)}>${clock(at).replace(/\.\d+$/, "")}</time>
    </li>
  `;
}

/** What a sidebar knew when it was opened, folded. */
export function Inherited({ memory }) {
  if (!memory?.length) return null;
  return html`
    <details class="inherited">
      <summary>Knew ${count(memory.length)} ${memory.length === 1 ? "thing" : "things"} when it was opened</summary>
      <ul>${memory.map(({ exchange, memory: kept }) => (exchange
        ? html`<li key=${exchange.exchange_id}><b>${exchange.author}</b> ${exchange.text}</li>`
        : html`<li key=${kept.key}><b class="mono">${kept.key}</b> ${typeof kept.content === "string" ? kept.content : JSON.stringify(kept.content)}</li>`))}</ul>
    </details>
  `;
}
