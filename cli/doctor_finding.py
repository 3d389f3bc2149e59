"""One thing the doctor has tried."""

from collections.abc import Callable
from dataclasses import dataclass

from cli.client import CallFailed
from cli.local.processes import LocalError


@dataclass(frozen=True)
class Finding:
    """One thing that was tried: is it well, what was seen, and what mends it.

    `advice`: nothing is broken, but something is not there that somebody may want; how to have it.
    """

    good: bool
    what: str
    seen: str
    mend: str = ""
    advice: str = ""


def tried(what: str, attempt: Callable[[], str], mend: str) -> Finding:
    """What an attempt has returned, or why it failed."""
    try:
        return Finding(True, what, attempt())
    except (CallFailed, LocalError) as error:
        return Finding(False, what, str(error), mend)
    except Exception as error:  # noqa: BLE001 - whatever a driver raises is the finding
        return Finding(False, what, f"{type(error).__name__}: {error}".strip().splitlines()[0], mend)
