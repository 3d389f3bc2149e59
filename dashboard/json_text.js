// Pretty JSON made from the text itself, never through numbers and objects: what was sent is what is shown.

const SPACE = new Set([" ", "\n", "\r", "\t"]);

/** Index just past the string that opens at `start`. */
function endOfString(text, start) {
  for (let i = start + 1; i < text.length; i += 1) {
    const c = text.charCodeAt(i);
    if (c === 92) i += 1;
    else if (c === 34) return i + 1;
  }
  return text.length;
}

function endOfWord(text, start) {
  let i = start;
  while (i < text.length && !SPACE.has(text[i]) && !',:{}[]"'.includes(text[i])) i += 1;
  return i;
}

function skipSpace(text, start) {
  let i = start;
  while (i < text.length && SPACE.has(text[i])) i += 1;
  return i;
}

const wordKind = (word) => (word === "true" || word === "false" || word === "null" ? "literal" : "number");

/**
 * Tokens `[kind, text]` of the JSON text, indented by two spaces. Kinds: key, string, number, literal, plain.
 * Numbers of any size and the order of keys stay as they are. Text that is not JSON comes out readable all the same.
 */
export function pretty(text) {
  const tokens = [];
  let plain = "";
  let depth = 0;
  const push = (kind, value) => {
    if (plain) tokens.push(["plain", plain]);
    plain = "";
    tokens.push([kind, value]);
  };
  const newline = () => {
    plain += `\n${"  ".repeat(depth)}`;
  };
  for (let i = skipSpace(text, 0); i < text.length; i = skipSpace(text, i)) {
    const c = text[i];
    if (c === '"') {
      const end = endOfString(text, i);
      const isKey = text[skipSpace(text, end)] === ":";
      push(isKey ? "key" : "string", text.slice(i, end));
      i = end;
    } else if (c === "{" || c === "[") {
      const next = skipSpace(text, i + 1);
      const closing = c === "{" ? "}" : "]";
      if (text[next] === closing) {
        plain += c + closing;
        i = next + 1;
      } else {
        plain += c;
        depth += 1;
        newline();
        i += 1;
      }
    } else if (c === "}" || c === "]") {
      depth = Math.max(0, depth - 1);
      newline();
      plain += c;
      i += 1;
    } else if (c === ",") {
      plain += c;
      newline();
      i += 1;
    } else if (c === ":") {
      plain += ": ";
      i += 1;
    } else {
      const end = Math.max(i + 1, endOfWord(text, i));
      const word = text.slice(i, end);
      push(wordKind(word), word);
      i = end;
    }
  }
  if (plain) tokens.push(["plain", plain]);
  return tokens;
}

/** The tokens joined to one text. */
export const join = (tokens) => tokens.map(([, text]) => text).join("");
