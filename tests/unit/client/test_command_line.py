"""What a runner makes of its words, and how it ends before any gateway has let it in."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from switchyard_client.agents.command_line import run
from tests.waiting import eventually

CLIENT = Path(__file__).resolve().parents[3] / "clients" / "python"
# Nobody listens there.
NOWHERE = "ws://127.0.0.1:1/ws"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://user:hunter2@127.0.0.1:8001/ws", "not with http://: write ws://HOST:PORT/ws"),
        ("https://switchyard.example.com/ws", "not with https://: write wss://HOST:PORT/ws"),
        ("127.0.0.1:8001/ws", "names no scheme: write ws://HOST:PORT/ws"),
        ("ws:///ws", "names no host"),
        ("ws://127.0.0.1:port/ws", "port"),
    ],
)
@pytest.mark.parametrize("given", ["--url", "SWITCHYARD_GATEWAY_URL"])
def test_a_url_that_is_no_gateways_is_wrong_usage(
    url: str, said: str, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words, environ = (["--url", url], {}) if given == "--url" else ([], {given: url})
    with pytest.raises(SystemExit) as ended:
        run(["reviewer", *words, "--", "true"], environ={"SWITCHYARD_TOKEN": "t", **environ})
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert given in told and said in told and "hunter2" not in told


@pytest.mark.parametrize(("words", "code"), [([], 0), (["--once"], 3)], ids=["tasks", "once"])
def test_a_runner_that_is_told_to_stop_before_it_was_let_in_ends_at_once(words: list[str], code: int) -> None:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "switchyard_client", "run", "reviewer", *words, "--", "true"],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(CLIENT),
                "SWITCHYARD_GATEWAY_URL": NOWHERE,
                "SWITCHYARD_TOKEN": "t",
            },
            stderr=log,
        )

        def said() -> str:
            log.seek(0)
            return log.read().decode()

        try:
            eventually(lambda: "trying again" in said(), because="it has found nobody")
            process.send_signal(signal.SIGTERM)
            assert process.wait(3) == code
        finally:
            process.kill()
            process.wait()
        assert ("no run was begun" in said()) == bool(code)
