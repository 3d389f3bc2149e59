"""Outlives a runner for a moment: when the runner is gone, however it went, its processes are killed.

Started by the runner with the reading end of a pipe as its standard input; the runner alone holds the other end, and
never writes.
"""

import os
import subprocess
import sys

from switchyard_client.agents.tree import RUNNER_MARK, end_marked, marked


class Warden:
    """The warden of this runner, for as long as the runner lives."""

    def __init__(self, runner_id: str) -> None:
        reader, self._writer = os.pipe()  # not inherited by what is started later
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "switchyard_client.agents.warden", runner_id],
            stdin=reader,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,
        )
        os.close(reader)

    def dismiss(self) -> None:
        """The runner ends in good order: what it left behind is killed, and the warden with it."""
        os.close(self._writer)
        self._process.wait(10)


def main(runner_id: str) -> None:
    """Wait for the end of the runner, and do what is left to do."""
    while os.read(0, 1):
        pass
    end_marked(lambda: marked(RUNNER_MARK, runner_id))


if __name__ == "__main__":
    main(sys.argv[1])
