// A button that opens a list of things to tick.

import { html, useLayoutEffect, useRef, useState } from "../html.js";
import { Icon } from "./icons.js";

/** `options` are `{value, label, area?}`; `chosen` their values. An empty choice means all, and reads `all`. */
export function Menu({ label, all, options, chosen, onToggle, onClear }) {
  const [open, setOpen] = useState(false);
  const root = useRef(null);
  useLayoutEffect(() => {
    if (!open) return undefined;
    const outside = (event) => !root.current.contains(event.target) && setOpen(false);
    document.addEventListener("pointerdown", outside);
    root.current.querySelector("[role=menuitemcheckbox]")?.focus();
    return () => document.removeEventListener("pointerdown", outside);
  }, [open]);
  const close = () => {
    setOpen(false);
    root.current.querySelector("button").focus();
  };
  const showAll = () => {
    onClear();
    close();
  };
  const onKeyDown = (event) => open && onMenuKey(event, root.current, close);
  const onFocusOut = (event) => event.relatedTarget && !root.current.contains(event.relatedTarget) && setOpen(false);
  const text = chosen.length === 0 ? all : chosen.length === 1 ? chosen[0] : `${chosen.length} ${label.toLowerCase()}s`;
  return html`
    <div class="menu" ref=${root} onKeyDown=${onKeyDown} onFocusOut=${onFocusOut}>
      <button type="button" class="button" aria-haspopup="menu" aria-expanded=${String(open)} aria-label="${label}: ${text}"
        data-on=${chosen.length > 0} onClick=${() => setOpen(!open)}>
        <span class="menu-text">${text}</span><${Icon} name="down" />
      </button>
      ${open && html`
        <div class="menu-list" role="menu" aria-label=${label}>
          ${options.map((option) => html`
            <${Item} key=${option.value} ...${option} on=${chosen.includes(option.value)} onToggle=${onToggle} />
          `)}
          ${chosen.length > 0 && html`<button type="button" class="menu-clear" onClick=${showAll}>Show all</button>`}
        </div>
      `}
    </div>
  `;
}

function Item({ value, label, area, on, onToggle }) {
  return html`
    <button type="button" class="menu-item" role="menuitemcheckbox" aria-checked=${String(on)} tabindex="-1"
      onClick=${() => onToggle(value)}>
      <span class="tick">${on && html`<${Icon} name="check" />`}</span>
      ${area && html`<span class="dot" data-area=${area}></span>`}
      <span>${label ?? value}</span>
    </button>
  `;
}

function onMenuKey(event, root, close) {
  const items = [...root.querySelectorAll("[role=menuitemcheckbox], .menu-clear")];
  const at = items.indexOf(document.activeElement);
  const go = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  if (go !== undefined) items[(go + items.length) % items.length]?.focus();
  else if (event.key === "Escape") close();
  else return;
  event.preventDefault();
  event.stopPropagation();
}
