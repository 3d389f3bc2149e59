"""How a run ended, and what is made of that."""

import contextlib
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from switchyard_client.agents.recipes import Reading, fitting, json_or_none
from switchyard_client.agents.reports import label


@dataclass(frozen=True)
class Ending:
    """How a run ended. `given_away`: nobody wants to know its result any more."""

    state: str
    exit_code: int | None = None
    signal: str | None = None
    error: str | None = None
    cause: str | None = None
    given_away: bool = False
    # What it came to, when it completed, and why there is none though there should be.
    result: Any = None
    result_error: str | None = None
    # The runner ended it to stop in time itself.
    stopped: bool = False

    @property
    def told(self) -> str:
        """How it ended, for the runner's log: what the process said may hold a secret, and only the server masks it."""
        ours = self.cause is not None or self.exit_code is None
        why = self.error if ours or self.error is None else f"exit code {self.exit_code}"
        return f"{self.state}: {why}" if why else self.state


def judge(code: int, why: tuple[str, str] | None, reading: Reading, result_file: Path | None) -> Ending:
    """What an exit code means; `why` is the reason for which the process was ended by us, and what to say of it."""
    name = _signal_name(-code) if code < 0 else None
    exit_code = code if code >= 0 else 128 - code
    if why is not None:
        reason, text = why
        ours = reason in ("killed", "given_away", "stopped")
        return Ending(
            "killed" if ours else "failed",
            exit_code,
            name,
            error=text,
            cause=text,
            given_away=reason == "given_away",
            stopped=reason == "stopped",
        )
    if name:
        return Ending("failed", exit_code, name, error=f"it was ended by {name}", cause=f"ended by {name}")
    if code:
        said = reading.last_error
        return Ending("failed", code, error=label(f"exit code {code}" + (f": {said}" if said else "")))
    if reading.failure:
        return Ending("failed", code, error=label(reading.failure))
    result, fault = fitting(_result(reading, result_file))
    return Ending("completed", 0, result=result, result_error=fault)


def _result(reading: Reading, file: Path | None) -> Any:
    """What the command has written into its result file, else what is read out of its output."""
    if file is not None:
        with contextlib.suppress(OSError):
            if text := file.read_bytes().strip():
                found = json_or_none(text)
                return text.decode(errors="replace").replace("\0", "\ufffd") if found is None else found
    return reading.result()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
