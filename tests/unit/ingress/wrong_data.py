"""Wrong data for every command, made from its own schema: each case is its example with one thing amiss."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

import orjson

from shared.messages import COMMANDS, CommandSpec, encode

PUBLIC = sorted(spec.name for spec in COMMANDS.values() if spec.public)
_OTHER_TYPES: dict[str, list[Any]] = {
    "string": [7, True, [], {}, 1.5],
    "integer": ["7", 1.5, True, [], {}],
    "number": ["7", True, [], {}],
    "boolean": ["true", 1, 0, [], {}],
    "array": ["x", 7, {}, True],
    "object": ["x", 7, [], True],
}


class Wrong(NamedTuple):
    """Data with a fault, as text, and the field that must be named."""

    fault: str
    field: str
    data: bytes


def wrong_data(spec: CommandSpec) -> Iterator[Wrong]:
    """Every fault that the schema of a command lets us think of."""
    schema = spec.data.model_json_schema()
    definitions = schema.get("$defs", {})
    for name in schema.get("required", []):
        yield _case(spec, "missing", name, leave_out=True)
    for name, field in schema.get("properties", {}).items():
        shapes = _shapes(field, definitions)
        if not shapes:  # any JSON value
            continue
        if not any(shape.get("type") == "null" for shape in shapes):
            yield _case(spec, "null", name, None)
        kinds = {str(shape.get("type", "string")) for shape in shapes}
        for value in (value for kind in kinds for value in _OTHER_TYPES.get(kind, [])):
            if not any(_could_be(value, kind) for kind in kinds):
                yield _case(spec, f"{type(value).__name__} for {'/'.join(sorted(kinds))}", name, value)
        for fault, value in _out_of_bounds(shapes, definitions):
            yield _case(spec, fault, name, value)
    yield _case(spec, "unknown field", "no_such_field", 1)
    yield _case(spec, "field of a prototype", "__proto__", {})


def wrong_text(spec: CommandSpec) -> Iterator[tuple[str, bytes]]:
    """Texts that are no data at all, or must not be kept."""
    text = encode(spec.example)
    inside = text[:-1] + (b"," if spec.example else b"")
    yield "nothing closed", text[:-1]
    yield "two documents", text + text
    yield "a list", b"[" + text + b"]"
    yield "text", b'"text"'
    yield "null", b"null"
    yield "not UTF-8", inside + b'"note":"\xff"}'
    yield "NaN", inside + b'"note":NaN}'
    yield "Infinity", inside + b'"note":-Infinity}'
    yield "a lone surrogate", inside + b'"note":"\\ud800"}'
    yield "a NUL", inside + b'"note":"a\\u0000b"}'
    yield "a NUL in a name", inside + b'"a\\u0000":1}'
    yield "nested deep", inside + b'"note":' + b"[" * 64 + b"]" * 64 + b"}"
    yield "nested very deep", inside + b'"note":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    yield "an open bracket", inside + b'"note":' + b"[" * 100_000
    yield "a leading zero", inside + b'"note":007}'
    yield "a byte order mark", b"\xef\xbb\xbf" + text


def _case(spec: CommandSpec, fault: str, name: str, value: Any = None, *, leave_out: bool = False) -> Wrong:
    data = deepcopy(spec.example)
    if leave_out:
        data.pop(name, None)
    else:
        data[name] = value
    return Wrong(f"{name}: {fault}", name, orjson.dumps(data))


def _shapes(schema: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """The alternatives a field may be; none when it may be anything."""
    if "$ref" in schema:
        return _shapes(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    for alternatives in ("anyOf", "oneOf"):
        if alternatives in schema:
            parts = [_shapes(part, definitions) for part in schema[alternatives]]
            return [shape for part in parts for shape in part] if all(parts) else []
    return [schema] if "type" in schema or "enum" in schema or "const" in schema else []


def _could_be(value: Any, kind: str) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
    return value is None


def _out_of_bounds(shapes: list[dict[str, Any]], definitions: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Values of the right type beyond what it allows. With several alternatives only those none of them takes."""
    shapes = [shape for shape in shapes if shape.get("type") != "null"]
    if len(shapes) != 1:
        return
    (shape,) = shapes
    if "enum" in shape or "const" in shape:
        yield "not in the list", "no-such-value"
        yield "another case", str(shape.get("enum", [shape.get("const")])[0]).upper()
    elif shape["type"] == "string":
        if "maxLength" in shape:
            yield "too long", "x" * (shape["maxLength"] + 1)
        if shape.get("minLength"):
            yield "empty", ""
        if "pattern" in shape:
            yield "against the pattern", "a\nb\x7f"
    elif shape["type"] in ("integer", "number"):
        for bound, beyond in (("minimum", -1), ("maximum", 1), ("exclusiveMinimum", 0), ("exclusiveMaximum", 0)):
            if bound in shape:
                yield f"beyond the {bound}", shape[bound] + beyond
        if shape["type"] == "integer":
            yield "beyond 64 bits", 2**63
    elif shape["type"] == "array":
        yield from _wrong_items(shape, definitions)


def _wrong_items(shape: dict[str, Any], definitions: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    items = _shapes(shape.get("items", {}), definitions)
    if "maxItems" in shape:
        yield "too many", [_some(items)] * (shape["maxItems"] + 1)
    if shape.get("minItems"):
        yield "too few", []
    if items and not any(item.get("type") == "null" for item in items):
        yield "null among the items", [None]
    for fault, value in _out_of_bounds(items, definitions):
        yield f"an item {fault}", [value]


def _some(items: list[dict[str, Any]]) -> Any:
    if not items:
        return 1
    if "enum" in items[0]:
        return items[0]["enum"][0]
    return {"string": "x" * max(1, items[0].get("minLength", 1)), "integer": 1, "object": {}}.get(items[0]["type"], 1)
