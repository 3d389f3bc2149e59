"""The `Prefer` header (RFC 7240): how long a caller wants to wait for a reply."""

import re

from services.ingress.calls import Call

_WAIT = re.compile(r'wait\s*=\s*"?(\d{1,9})"?', re.IGNORECASE)


def wait_of(call: Call) -> float | None:
    """Seconds to wait; 0 for `respond-async` alone; None when nothing usable is said, since preferences bind nobody."""
    if b"prefer" not in call.headers:
        return None
    # A header sent twice means the same as one list.
    sent = [value.decode("latin-1") for name, value in call.scope["headers"] if name == b"prefer"]
    wait: float | None = None
    for preference in ",".join(sent).split(","):
        # Parameters after a semicolon belong to the preference and say nothing of waiting.
        name = preference.partition(";")[0].strip()
        found = _WAIT.fullmatch(name)
        if found:
            return float(found[1])
        if name.lower() == "respond-async":
            wait = 0.0
    return wait
