// Words as people read them.

/** A server's words as a sentence: a capital at the beginning, a stop at the end. */
export function sentence(text) {
  const whole = String(text ?? "").trim();
  return whole && whole[0].toUpperCase() + whole.slice(1) + (/[.?!]$/.test(whole) ? "" : ".");
}
