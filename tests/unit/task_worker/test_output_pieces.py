"""Output in pieces: however lines are divided among batches, the same is found."""

import json
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from services.task_worker.extraction import Extractor, Finding, Line, UserPattern
from tests.examples import examples

EXTRACTOR = Extractor({"ticket": UserPattern(type="question", regex=r"\b([A-Z]{2,5}-\d+)\b", risk="medium")})
OUTPUTS = [
    "",
    "   ",
    "words",
    "$ rm -rf build",
    "```python",
    "```bash",
    "```",
    "~~~",
    "ls \\",
    "Traceback (most recent call last):",
    '  File "/srv/a.py", line 3, in f',
    "    raise ValueError()",
    "ValueError: no",
    "TypeError: x",
    "    at f (/srv/a.js:1:2)",
    "panic: boom",
    "goroutine 1 [running]:",
    "\t/srv/main.go:5 +0x1d",
    "exit status 2",
    "thread 'main' panicked at src/main.rs:2:5:",
    "error[E0425]: no x",
    " --> src/main.rs:2:5",
    "# tests 3",
    "# pass 3",
    "\x1b[31mERROR: red\x1b[0m",
    "1%\r99%\rhttps://example.org/é",
    "Continue? [Y/n] ",
    "PROJ-12 and OPS-3",
    "token ghp_" + "Ab3" * 12,
    "-----BEGIN PRIVATE KEY-----",
    "-----END PRIVATE KEY-----",
    "日本語 in docs/é.md:4",
    json.dumps({"type": "assistant", "message": {"content": [{"type": "text", "text": "```\nx\n```\nERROR: in it"}]}}),
    "x" * 9_000 + " ERROR: too far",
]


def found_in(batches: list[list[Line]]) -> list[Finding]:
    state, findings = {}, []
    for batch in batches:
        state, found = EXTRACTOR.feed(json.loads(json.dumps(state)), batch)
        findings += found
    none, found = EXTRACTOR.finish(json.loads(json.dumps(state)))
    assert none == {}
    return findings + found


@given(st.data())
@settings(max_examples=examples(60), deadline=None)
def test_batches_and_pieces_of_any_size_and_a_restored_state_give_the_same(data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.sampled_from(OUTPUTS), max_size=25))
    streams = [data.draw(st.sampled_from(["stdout", "stdout", "stderr"])) for _ in texts]
    whole = [Line(number, text, stream) for number, (text, stream) in enumerate(zip(texts, streams, strict=True), 1)]

    pieces = []
    for line in whole:
        cuts = sorted(data.draw(st.sets(st.integers(0, len(line.text)), max_size=2)))
        bounds = list(pairwise([0, *cuts, len(line.text)]))
        pieces += [
            Line(line.number, line.text[start:end], line.stream, more=index < len(bounds) - 1)
            for index, (start, end) in enumerate(bounds)
        ]
    ends = sorted({0, len(pieces), *data.draw(st.sets(st.integers(0, len(pieces)), max_size=6))})
    batches = [pieces[start:end] for start, end in pairwise(ends)]

    assert found_in(batches) == found_in([whole])


@given(st.lists(st.tuples(st.text(max_size=60), st.booleans()), max_size=30))
@settings(max_examples=examples(50), deadline=None)
def test_any_text_at_all_is_searched_without_an_error(texts: list[tuple[str, bool]]) -> None:
    lines = [Line(number, text, more=more) for number, (text, more) in enumerate(texts)]

    found = found_in([[line] for line in lines])

    assert len({(one.pattern, one.stream, one.first_line, one.index) for one in found}) == len(found)
    assert all(one.first_line <= one.last_line and len(one.value) <= 2_000 for one in found)


def test_the_state_is_bounded() -> None:
    endless = [Line(0, "```"), *(Line(number, "y" * 5_000) for number in range(1, 100))]
    piece = [Line(number, "{" + "z" * 16_000, "stderr", more=True) for number in range(100, 200)]
    trace = [Line(200, "x"), Line(201, "Traceback (most recent call last):")]
    frames = [Line(number, "  " + "f" * 5_000) for number in range(202, 400)]

    state, _ = EXTRACTOR.feed({}, [*endless, *piece])
    assert len(json.dumps(state)) < 250_000
    state, _ = EXTRACTOR.feed({}, [*trace, *frames])
    assert len(json.dumps(state)) < 20_000
