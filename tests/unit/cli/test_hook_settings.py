"""The settings that Claude Code gets, and how they go into a file that is there."""

import http.server
import json
import os
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from cli.hook_settings import (
    COMMAND_EVENTS,
    HTTP_EVENTS,
    SettingsUnusable,
    curl_command,
    hooks_section,
    merged,
    read_settings,
    write_settings,
)

URL = "http://127.0.0.1:8000"
SECTION = hooks_section(URL)


def test_the_key_is_named_and_never_there() -> None:
    hook = SECTION["PreToolUse"][0]["hooks"][0]
    assert hook["url"] == f"{URL}/hooks/claude"
    assert hook["headers"] == {"X-API-Key": "$SWITCHYARD_HOOKS_KEY"} and hook["allowedEnvVars"]
    assert {event: SECTION[event][0]["hooks"][0]["type"] for event in SECTION} == {
        **dict.fromkeys(COMMAND_EVENTS, "command"),
        **dict.fromkeys(HTTP_EVENTS, "http"),
    }


def test_what_was_there_stays_and_what_we_put_there_is_replaced() -> None:
    mine = {"matcher": "Bash", "hooks": [{"type": "command", "command": "./check.sh"}]}
    settings = {"model": "x", "hooks": {"PreToolUse": [mine], "Else": [mine]}}
    once = merged(settings, hooks_section("https://switchyard.example/below"))
    twice = merged(once, SECTION)
    assert twice == merged(settings, SECTION) == merged(twice, SECTION)
    assert twice["hooks"]["PreToolUse"] == [mine, *SECTION["PreToolUse"]]
    assert (twice["hooks"]["Else"], twice["model"]) == ([mine], "x")
    assert settings["hooks"] == {"PreToolUse": [mine], "Else": [mine]}


@pytest.mark.parametrize("hooks", [[], 7, {"Stop": {}}, None])
def test_settings_we_do_not_understand_are_left_alone(hooks: Any) -> None:
    with pytest.raises(SettingsUnusable):
        merged({"hooks": hooks}, SECTION)


@pytest.mark.parametrize("text", ["{", "[]", "7"])
def test_a_file_that_is_no_settings_file_is_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.json"
    file.write_text(text)
    with pytest.raises(SettingsUnusable):
        read_settings(file)


def test_every_copy_of_the_file_before_is_kept(tmp_path: Path) -> None:
    file = tmp_path / ".claude" / "settings.json"
    assert read_settings(file) == {}
    assert write_settings(file, {"a": 1}) is None
    file.chmod(0o644)
    first, second = write_settings(file, {"a": "é"}), write_settings(file, {"a": 3})
    assert first and second and first != second
    assert [json.loads(each.read_text())["a"] for each in (first, second, file)] == [1, "é", 3]
    assert file.stat().st_mode & 0o777 == 0o644 and len(list(file.parent.iterdir())) == 3


def test_the_command_sends_its_input_and_says_nothing_whatever_happens(tmp_path: Path) -> None:
    asked: list[tuple[Any, bytes]] = []

    class Taking(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append((self.headers, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        environ = {**os.environ, "SWITCHYARD_HOOKS_KEY": "sy_k$y %s", "no_proxy": "*"}
        ours, theirs = socket.socketpair()  # as Claude Code does it
        ours.sendall("é\n{}".encode())
        ours.close()
        with theirs:
            done = subprocess.run(
                curl_command(url), shell=True, stdin=theirs, text=True, capture_output=True, env=environ, check=False
            )
        server.shutdown()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    ((headers, body),) = asked
    assert (headers["X-API-Key"], body.decode()) == ("sy_k$y %s", "é\n{}")
    assert headers["Idempotency-Key"]
    away = subprocess.run(curl_command(url), shell=True, input=b"{}", capture_output=True, check=False)
    assert (away.returncode, away.stdout, away.stderr) == (0, b"", b"")
