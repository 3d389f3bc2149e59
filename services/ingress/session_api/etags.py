"""Entity tags of states and the preconditions of requests (RFC 9110, 8.8.3 and 13.1); pure."""

import re

from shared.errors import invalid

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_LIST = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
# Tags we gave: the state's version, which no two contents of one state share.
_OURS = re.compile(r'"(0|[1-9]\d{0,9})"')
_MAX_VERSION = 2**31 - 1


def etag(version: int) -> str:
    """The tag of a state in this version."""
    return f'"{version}"'


def versions_allowed(if_match: str | None) -> int | list[int] | None:
    """The versions `If-Match` allows: None is any, an empty list none, for a weak or foreign tag never matches.

    Raises `Rejected("invalid")` for what is no list of tags.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    versions = [int(ours[1]) for tag in _tags("If-Match", if_match) if (ours := _OURS.fullmatch(tag))]
    allowed = sorted({version for version in versions if version <= _MAX_VERSION})
    return allowed[0] if len(allowed) == 1 else allowed


def is_known(if_none_match: str | None, version: int) -> bool:
    """Whether `If-None-Match` says that the client has this version; here a weak tag matches as a strong one does.

    Raises `Rejected("invalid")` for what is no list of tags.
    """
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return etag(version) in (tag.removeprefix("W/") for tag in _tags("If-None-Match", if_none_match))


def _tags(header: str, text: str) -> list[str]:
    if not _LIST.fullmatch(text):
        raise invalid(
            f'{header} is `*` or a list of quoted tags such as "7", not {text[:100]!r}',
            fields=[{"field": header, "fault": "should be `*` or a list of quoted tags", "kind": "entity_tag"}],
        )
    return re.findall(_TAG, text)
