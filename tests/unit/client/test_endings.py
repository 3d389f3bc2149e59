"""What the runner's own log says of how a run ended."""

import pytest

from switchyard_client.agents.endings import Ending


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (Ending("completed", 0), "completed"),
        (Ending("failed", 2, error="exit code 2: hunter2 was refused"), "failed: exit code 2"),
        (
            Ending("failed", 143, error="it took longer than 2 s", cause="it took longer than 2 s"),
            "failed: it took longer than 2 s",
        ),
        (Ending("failed", error="the run was refused: forbidden"), "failed: the run was refused: forbidden"),
    ],
)
def test_the_log_has_nothing_that_the_process_said(ending: Ending, told: str) -> None:
    assert ending.told == told
