"""Paths whose parts are ids: a slash sent as `%2F` is part of an id, and separates nothing."""

import re
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote

from fastapi.routing import APIRoute
from starlette.routing import Match

# Stands for a slash within an id while a path is matched. Decoding never gives a lone surrogate.
_SLASH = "\ud800"
_ENCODED_SLASH = re.compile("%2f", re.IGNORECASE)


class SegmentRoute(APIRoute):
    """A route that tells `/api/state/a%2Fgoals` (the session `a/goals`) from `/api/state/a/goals`.

    Servers decode a path before it is matched, so this one looks at it as it was sent.
    """

    def matches(self, scope: MutableMapping[str, Any]) -> tuple[Match, MutableMapping[str, Any]]:
        """Starlette's: whether the route is meant, and what the path's parameters are."""
        raw = scope.get("raw_path") or b""
        if b"%2f" not in raw.lower():
            return super().matches(scope)
        path = unquote(_ENCODED_SLASH.sub(_SLASH, raw.decode("latin-1")))
        match, child = super().matches({**scope, "path": path})
        if "path_params" in child:
            child["path_params"] = {
                name: str(value).replace(_SLASH, "/") for name, value in child["path_params"].items()
            }
        return match, child
