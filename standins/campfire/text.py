"""How a message stands in Campfire: as rich HTML with mentions in it, and as the plain text made from that."""

import html
import json
import re
from html.parser import HTMLParser
from typing import Any

MENTION = "application/vnd.campfire.mention"
_BLOCKS = frozenset(
    ["div", "p", "pre", "blockquote", "li", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "dl", "dd", "dt"]
)
# What Campfire shows; any other element is taken out, with all that is in it.
_INLINE = (
    r"a|abbr|acronym|address|b|big|br|cite|code|del|dfn|em|hr|i|ins|kbd|samp|small|span|strong|sub|sup|time|tt|var"
)
_ALLOWED = re.compile(rf"{_INLINE}|{'|'.join(_BLOCKS)}|action-text-attachment|figure|figcaption")
_VOID = frozenset(["br", "hr", "img", "input", "link", "meta"])
_HARD_SPACE = "\0"
_SPACE = re.compile(r"\A\s+|\s+\Z")


def mention(name: str, sgid: str) -> str:
    """The attachment that mentions somebody."""
    content = html.escape(f'<span class="mention">{html.escape(name)}</span>')
    return (
        f'<action-text-attachment sgid="{sgid}" content-type="{MENTION}" content="{content}"></action-text-attachment>'
    )


def rich(text: str, mentions: str = "") -> str:
    """What the editor makes of a text that is typed: lines in a `div`, code between ``` in a `pre`."""
    said, _, rest = text.partition("```")
    code, _, after = rest.partition("```")
    line = mentions + (" " if mentions and said else "") + _lines(said.rstrip("\n"))
    return "".join(
        [f"<div>{line}</div>", f"<pre>{_escaped(code.strip())}</pre>" if rest else "", _lines(after.strip())]
    )


def _lines(text: str) -> str:
    return _escaped(text).replace("\n", "<br>")


def _escaped(text: str) -> str:
    # As the editor does: quotes stay.
    return html.escape(text, quote=False)


def mentioned(body: str) -> list[str]:
    """The sgids of everybody a body mentions, once each."""
    parser = _Reader({})
    parser.feed(body)
    return list(dict.fromkeys(parser.mentioned))


def plain(body: str, names: dict[str, str]) -> str:
    """The plain text of a body; `names` has the name for each sgid, and a mention reads `@Name`."""
    parser = _Reader(names)
    parser.feed(body)
    return "".join(parser.parts).strip()


def shown(body: str, names: dict[str, str]) -> str:
    """What a reader sees: white space counts in a `pre` alone, and elements that are not allowed are gone."""
    parser = _Reader(names, as_shown=True)
    parser.feed(body)
    return re.sub(r" *\n *", "\n", "".join(parser.parts)).replace(_HARD_SPACE, " ").strip()


def without_mentions_of(name: str, text: str) -> str:
    """A text as the bot of that name gets it: without mentions of itself, and without white space round it."""
    return _SPACE.sub("", text.replace(f"@{name}", ""))


def rails_json(value: Any) -> bytes:
    """JSON as Rails writes it: nothing between the parts, and what could end a script or a line escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for each in "<>&\u2028\u2029":
        text = text.replace(each, f"\\u{ord(each):04x}")
    return text.encode()


class _Reader(HTMLParser):
    """Collects the text and the mentions of a body."""

    def __init__(self, names: dict[str, str], *, as_shown: bool = False) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.mentioned: list[str] = []
        self._names = names
        self._as_shown = as_shown
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "action-text-attachment" and found.get("content-type") == MENTION:
            sgid = found.get("sgid") or ""
            self.mentioned.append(sgid)
            if sgid in self._names:
                self.parts.append(f"@{self._names[sgid]}")
        elif tag == "br" or (tag in _BLOCKS and self.parts and not self.parts[-1].endswith("\n")):
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            del self._open[len(self._open) - 1 - self._open[::-1].index(tag) :]
        if tag in _BLOCKS and self.parts and not self.parts[-1].endswith("\n"):
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if self._as_shown:
            if not all(map(_ALLOWED.fullmatch, self._open)):
                return
            data = data.replace(" ", _HARD_SPACE) if "pre" in self._open else re.sub(r"\s+", " ", data)
        self.parts.append(data)
