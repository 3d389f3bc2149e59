"""Topic patterns as AMQP has them: words between dots, `*` for exactly one word, `#` for any number of them."""

from collections.abc import Iterable, Iterator

from shared.errors import invalid

MAX_PATTERNS = 100
MAX_PATTERN_BYTES = 255
# More distinct routing keys than are in use at a time; the cache starts anew when it is full.
CACHED_KEYS = 10_000
# A word no pattern holds literally.
_ANY_OTHER = "\0"


def check_pattern(pattern: str) -> str:
    """The pattern itself. Raises `Rejected("invalid")` when it can't match any routing key."""
    if len(pattern.encode(errors="replace")) > MAX_PATTERN_BYTES:
        raise invalid(f"a topic holds at most {MAX_PATTERN_BYTES} bytes", topic=pattern[:80])
    for word in pattern.split("."):
        if not word or not word.isprintable() or " " in word or (len(word) > 1 and ("*" in word or "#" in word)):
            raise invalid(
                f"{pattern!r} is not a topic: words between dots, `*` alone for one word, `#` alone for any number",
                topic=pattern,
            )
    return pattern


class _Node:
    """A place in the tree of patterns: what was read so far, and what may follow."""

    __slots__ = ("children", "ends", "loops")

    def __init__(self, loops: bool = False) -> None:
        self.children: dict[str, _Node] = {}
        self.ends: set[object] = set()
        # After a `#` any further word leads back here.
        self.loops = loops


class PatternTree:
    """Patterns with whom each belongs to; finds the owners for a routing key in one walk over its words.

    All ways through the tree are followed side by side, so a pattern full of `#` costs no more than its length.
    """

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, pattern: str, owner: object) -> None:
        """Enter a pattern."""
        node = self._root
        for word in pattern.split("."):
            child = node.children.get(word)
            if child is None:
                child = node.children[word] = _Node(loops=word == "#")
            node = child
        node.ends.add(owner)

    def remove(self, pattern: str, owner: object) -> None:
        """Take a pattern out, with the branch that served it alone."""
        path = [(self._root, "")]
        for word in pattern.split("."):
            path.append((path[-1][0].children[word], word))
        path[-1][0].ends.discard(owner)
        for (parent, _), (node, word) in zip(path[-2::-1], path[:0:-1], strict=True):
            if node.ends or node.children:
                break
            del parent.children[word]

    def find(self, routing_key: str) -> set[object]:
        """The owners of all patterns that match."""
        places = self._start()
        for word in routing_key.split("."):
            places = _step(places, word)
            if not places:
                return set()
        return set().union(*(node.ends for node in places))

    def covers(self, pattern: str) -> bool:
        """Whether every routing key the pattern matches is matched by one of these.

        Where the pattern leaves a word open, only `*` and `#` on our side can take it: so the open word is walked as
        one that no pattern names, and after a `#` each number of such words must end well.
        """
        walks = {self._start()}
        for word in pattern.split("."):
            if word == "#":
                reached = set(walks)
                while reached:
                    reached = {_step(places, _ANY_OTHER) for places in reached} - walks
                    walks |= reached
            else:
                walks = {_step(places, _ANY_OTHER if word == "*" else word) for places in walks}
        return all(any(node.ends for node in places) for places in walks)

    def _start(self) -> frozenset[_Node]:
        return frozenset(_with_open_ends((self._root,)))


def _step(places: Iterable[_Node], word: str) -> frozenset[_Node]:
    return frozenset(_with_open_ends(_followers(places, word)))


def _followers(places: Iterable[_Node], word: str) -> Iterator[_Node]:
    for node in places:
        if node.loops:
            yield node
        # A routing key may hold a bare `*` or `#` as a word; only a literal may be looked up by name.
        if word not in ("*", "#") and (child := node.children.get(word)):
            yield child
        if child := node.children.get("*"):
            yield child


def _with_open_ends(places: Iterable[_Node]) -> Iterator[_Node]:
    for node in places:
        yield node
        # A `#` may stand for no word at all.
        following = node.children.get("#")
        while following is not None:
            yield following
            following = following.children.get("#")


class Topics:
    """A set of patterns, as one client wants them."""

    __slots__ = ("_cache", "_cached_keys", "_tree", "patterns")

    def __init__(self, patterns: Iterable[str], cached_keys: int = CACHED_KEYS) -> None:
        self.patterns = frozenset(patterns)
        self._cached_keys = cached_keys
        self._tree = PatternTree()
        self._cache: dict[str, bool] = {}
        for pattern in self.patterns:
            self._tree.add(pattern, True)

    def matches(self, routing_key: str) -> bool:
        """Whether one of the patterns matches; each routing key is looked at once."""
        known = self._cache.get(routing_key)
        if known is None:
            if len(self._cache) >= self._cached_keys:
                self._cache.clear()
            known = self._cache[routing_key] = bool(self._tree.find(routing_key))
        return known

    def cover(self, pattern: str) -> bool:
        """Whether a pattern asks for nothing beyond these."""
        return self._tree.covers(pattern)
