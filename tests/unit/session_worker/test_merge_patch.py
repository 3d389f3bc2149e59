"""JSON Merge Patch on text."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.session_worker.merge_patch import merge

# Source: RFC 7386, appendix A: the target, the patch, the result.
EXAMPLES = [
    ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
    ('{"a":"b"}', '{"a":null}', "{}"),
    ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
    ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
    ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
    ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
    ('["a","b"]', '["c","d"]', '["c","d"]'),
    ('{"a":"b"}', '["c"]', '["c"]'),
    ('{"a":"foo"}', "null", "null"),
    ('{"a":"foo"}', '"bar"', '"bar"'),
    ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
    ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
    ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.sampled_from(["", "null", "é", '{"a":null}']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcé"), inner, max_size=4),
    max_leaves=12,
)


def reference(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2, as it stands there."""
    if not isinstance(patch, dict):
        return patch
    if not isinstance(target, dict):
        target = {}
    target = dict(target)
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = reference(target.get(name), value)
    return target


@pytest.mark.parametrize(("target", "patch", "result"), EXAMPLES)
def test_the_examples_of_the_standard(target, patch, result):
    assert merge(target.encode(), patch.encode()).decode() == result


@given(JSON, JSON)
def test_it_does_what_the_standards_own_function_does(target, patch):
    merged = merge(orjson.dumps(target), orjson.dumps(patch))
    assert orjson.loads(merged) == reference(target, patch)
    # And in its order: members keep their place, new ones follow.
    assert merged == orjson.dumps(reference(target, patch))


@given(JSON)
def test_a_target_that_is_not_there_is_an_empty_one(patch):
    assert orjson.loads(merge(None, orjson.dumps(patch))) == reference(None, patch)


@given(st.dictionaries(st.sampled_from("abc"), JSON), JSON)
def test_a_patch_twice_changes_nothing_more(target, patch):
    once = merge(orjson.dumps(target), orjson.dumps(patch))
    assert merge(once, orjson.dumps(patch)) == once


def test_what_the_patch_leaves_alone_keeps_its_text():
    target = b'{ "big" : 36893488147419103232 , "n":1.50,"s":"\\u00e9\\/","o":{ "k":1e5 , "l":-0.0}}'
    merged = merge(target, b'{"o":{"l":2E0},"new":{"x":1e400 },"n2":10.0}')
    assert merged == (
        b'{"big":36893488147419103232,"n":1.50,"s":"\\u00e9\\/","o":{"k":1e5,"l":2E0},"new":{"x":1e400 },"n2":10.0}'
    )


@pytest.mark.parametrize("patch", [b"{}", b'{"a":1.0}', b'{"none":null}', b'{ "o" : {"k":2,"m":null}}', b'{"o":{}}'])
def test_a_patch_that_changes_nothing_gives_the_target_back_byte_for_byte(patch):
    target = b'{ "a":1.0, "o":{ "k":2 } }'
    assert merge(target, patch) is target


def test_another_spelling_of_a_number_is_a_change():
    assert merge(b'{"a":1}', b'{"a":1.0}') == b'{"a":1.0}'


def test_a_word_null_in_a_text_or_a_list_is_no_removal():
    assert merge(b'{"a":1}', b'{"a":"null","b":[null,{"c":null}]}') == b'{"a":"null","b":[null,{"c":null}]}'


def test_the_deepest_patch_is_merged():
    deep = b'{"a":' * 63 + b"null" + b"}" * 63
    merged = merge(b"{}", deep)
    assert merged == b'{"a":' * 62 + b"{}" + b"}" * 62
