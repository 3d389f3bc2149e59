// The mark and the icons, drawn on a 16-unit grid; decoration only, so hidden from screen readers.

import { html } from "../html.js";

/** A railway switch: the branch leaves the main line at the point set. */
export const Mark = () => html`
  <svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
    <rect class="mark-ground" width="32" height="32" rx="8" />
    <path class="mark-line" d="M6 22h20" />
    <path class="mark-branch" d="M10 22c8 0 5-12 12-12h4" />
    <circle class="mark-point" cx="10" cy="22" r="3.2" />
  </svg>
`;

const PATHS = {
  pause: "M5.5 3.5v9M10.5 3.5v9",
  play: "M5 3.2v9.6L12.6 8z",
  clear: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5",
  search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.4 10.4l3.1 3.1",
  close: "M4 4l8 8M12 4l-8 8",
  down: "M4.5 6.5L8 10l3.5-3.5",
  up: "M8 12.5v-9M4 7.5l4-4 4 4",
  check: "M3.5 8.5l3 3 6-7",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  leave: "M6.5 2.5h-4v11h4M6.5 8h7M10.5 5l3 3-3 3",
  back: "M9.5 3.5L5 8l4.5 4.5",
  send: "M3 8h9M8.5 4l4 4-4 4",
  merge: "M4 3v3.5a3 3 0 0 0 3 3h5M9.5 7l2.5 2.5-2.5 2.5M4 6v7",
  warning: "M8 2.5l6 10.5H2zM8 6.5v3M8 11.3v.2",
  edit: "M3 13l.6-2.8 7-7 2.2 2.2-7 7zM9.3 4.5l2.2 2.2",
  end: "M8 3v7.5M4.5 7.5L8 11l3.5-3.5M4 13.5h8",
  next: "M4 3.5v9l6-4.5zM12 3.5v9",
  replay: "M3 8a5 5 0 1 0 1.5-3.6M3 2v3h3M7 6v4l3-2z",
  fork: "M4.5 13V3M4.5 8c5 0 7 0 7-4.5M9.5 5l2-2 2 2",
  retry: "M13 8a5 5 0 1 1-1.5-3.6M13 2v3h-3",
};

/** An icon of `PATHS`. */
export const Icon = ({ name }) => html`
  <svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>
`;

/** A button that shows an icon only; `label` is its name for those who don't see it, `hint` adds to its title. */
export const IconButton = ({ name, label, hint = "", look = "button ghost icon-only", onClick }) => html`
  <button type="button" class=${look} aria-label=${label} title=${label + hint} onClick=${onClick}><${Icon} name=${name} /></button>
`;
