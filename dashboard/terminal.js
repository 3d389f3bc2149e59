// What a program wrote to its terminal, as plain text.

// CSI sequences, OSC and other strings with their ends, and escapes of two or three letters.
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]?|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~]?)|\x9b[0-?]*[ -/]*[@-~]?/g;
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;
const TAB = 8;

/** A line without colours and other escapes; of what was written over by carriage returns the last. */
export function plain(text) {
  let line = text.includes("\x1b") || text.includes("\x9b") ? text.replace(ESCAPES, "") : text;
  if (line.includes("\r")) line = line.replace(/\r+$/, "").split("\r").at(-1);
  return (line.includes("\t") ? untabbed(line) : line).replace(CONTROLS, "");
}

function untabbed(line) {
  const [first, ...others] = line.split("\t");
  return others.reduce((out, part) => out + " ".repeat(TAB - (out.length % TAB)) + part, first);
}

/** A stored line's text to be shown; what is no UTF-8 comes as base64. */
export function shownText({ text, encoding }) {
  if (encoding !== "base64") return plain(text);
  try {
    return plain(new TextDecoder().decode(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))));
  } catch {
    return text;
  }
}
