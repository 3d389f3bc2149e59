"""JSON Merge Patch (RFC 7386) on text: what a patch does not touch stays as its sender wrote it; pure."""

from shared.messages import JsonText, encode
from shared.messages.json_text import slices


def merge(target: bytes | None, patch: bytes) -> bytes:
    """The target after the patch, both checked JSON; None is a target that isn't there.

    Members keep their place, new ones follow in the order of the patch. Numbers keep their spelling: a value is
    either the target's own text or the patch's; a patch that changes nothing gives the target back, byte for byte.
    """
    if not _is_object(patch):
        return patch
    if b"null" not in patch and (target is None or not _is_object(target)):
        return patch
    before = slices(target) if target is not None and _is_object(target) else None
    members = dict(before or {})
    for name, value in slices(patch).items():
        if value == b"null":
            members.pop(name, None)
        else:
            members[name] = merge(members.get(name), value)
    if target is not None and members == before:
        return target
    return encode({name: JsonText(value) for name, value in members.items()})


def _is_object(text: bytes) -> bool:
    return text.lstrip()[:1] == b"{"
