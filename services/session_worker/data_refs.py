"""Data references: JSON objects whose members say by name what data a conversation is about; pure."""

from collections.abc import Mapping

from shared.errors import Rejected, invalid
from shared.messages import JsonText
from shared.messages.json_text import slices

# What the references of one sidebar may take: they travel with what is told of it.
MAX_BYTES = 64_000
NONE = JsonText(b"{}")


def checked(given: JsonText | None) -> JsonText:
    """References as they were given; none for null. Raises `Rejected`: `invalid` unless an object, or `too_large`."""
    if given is None or given.text == b"null":
        return NONE
    if not given.text.lstrip().startswith(b"{"):
        raise invalid(
            "`data_refs` is an object: what is referred to by its name",
            fields=[{"field": "data_refs", "fault": "should be an object", "kind": "dict_type"}],
        )
    return _fitting(given)


def united(references: JsonText, others: JsonText) -> JsonText:
    """Both, each member as it was written; of one name, that of `others` counts. Raises `Rejected("too_large")`."""
    if _is_empty(others) or references == others:
        return references
    if _is_empty(references):
        return _fitting(others)
    return _fitting(_object({**slices(references.text), **slices(others.text)}))


def new_in(references: JsonText, others: JsonText) -> JsonText:
    """Those of `others` that `references` has not, or has otherwise."""
    known = slices(references.text)
    return _object({name: raw for name, raw in slices(others.text).items() if known.get(name) != raw})


def _is_empty(references: JsonText) -> bool:
    return len(references.text) < 20 and not slices(references.text)


def _object(members: Mapping[str, bytes]) -> JsonText:
    return JsonText.of({name: JsonText(raw) for name, raw in members.items()})


def _fitting(references: JsonText) -> JsonText:
    if len(references.text) > MAX_BYTES:
        raise Rejected(
            "too_large",
            f"the data references of a sidebar would take {len(references.text)} bytes, and may take {MAX_BYTES}; keep "
            "the data elsewhere and refer to it",
            bytes=len(references.text),
            limit=MAX_BYTES,
        )
    return references
