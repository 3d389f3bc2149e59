"""Getting a RabbitMQ onto a machine without one, with small scripts in place of apt-get and docker."""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.local import rabbitmq_install
from cli.local.processes import LocalError
from cli.local.rabbitmq_docker import DockerRabbitMQ
from cli.local.rabbitmq_install import install, provide
from tests.waiting import eventually

# Fails until the package lists are there, as in a fresh container; "installs" only where no service would be started.
APT = """#!/bin/sh
echo "$@" >> {folder}/calls
case "$*" in
    update*) touch {folder}/lists; exit 0 ;;
esac
test -e {folder}/lists || exit 100
{folder}/policy && exit 1
touch {folder}/rabbitmq-server
"""

# Keeps one container in a file; its broker is a listener that greets like RabbitMQ.
DOCKER = """#!{python}
import json, os, pathlib, signal, socket, subprocess, sys
state = pathlib.Path({folder!r}, "container.json")
known = json.loads(state.read_text()) if state.exists() else {{}}
words = sys.argv[1:]
server = (
    "import socket,sys; s=socket.create_server(('127.0.0.1', int(sys.argv[1]))); s.settimeout(60)\\n"
    "while True:\\n c,_=s.accept(); c.recv(8); c.sendall(b'\\\\x01'); c.close()"
)
if words[0] == "create":
    port = words[words.index("-p") + 1].split(":")[1]
    state.write_text(json.dumps({{"port": port, "words": words}}))
elif words[0] == "start":
    process = subprocess.Popen([sys.executable, "-c", server, known["port"]], stdout=-3, stderr=-3)
    state.write_text(json.dumps({{**known, "pid": process.pid}}))
elif words[0] in ("stop", "kill"):
    os.kill(known["pid"], signal.SIGKILL)
    state.write_text(json.dumps({{**known, "pid": 0}}))
elif words[:2] == ["container", "inspect"]:
    if not known:
        sys.exit(1)
    shown = {{"{{{{.Id}}}}": "abc", "{{{{.State.Pid}}}}": known.get("pid", 0)}}
    shown["{{{{.State.Running}}}}"] = "true" if known.get("pid") else "false"
    print(shown[words[3]])
"""


def script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine without RabbitMQ: only what the test puts into the folder is on its PATH."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "env", "touch", "printf", "chmod", "rm", "true", "test"):
        (tools / name).symlink_to(
            Path("/usr/bin") / name if (Path("/usr/bin") / name).exists() else Path("/bin") / name
        )
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr(rabbitmq_install, "POLICY", tmp_path / "policy")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    server = tmp_path / "rabbitmq-server"
    monkeypatch.setattr(rabbitmq_install, "find_server", lambda: server if server.exists() else None)
    return tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="apt-get is Debian's")
def test_apt_installs_with_fresh_lists_and_no_service_started(bare: Path) -> None:
    script(bare / "bin" / "apt-get", APT.format(folder=bare))
    said: list[str] = []

    assert install(said.append) == bare / "rabbitmq-server"

    calls = (bare / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["install", "update", "install"]
    assert "--no-install-recommends rabbitmq-server" in calls[-1]
    assert not (bare / "policy").exists()
    assert len(said) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="apt-get is Debian's")
def test_a_policy_that_is_there_already_is_left_alone(bare: Path) -> None:
    script(bare / "bin" / "apt-get", APT.format(folder=bare))
    script(bare / "policy", "#!/bin/sh\nexit 101\n# mine\n")

    install(lambda _: None)

    assert "# mine" in (bare / "policy").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="apt-get is Debian's")
def test_a_package_manager_that_fails_is_quoted_and_leaves_no_policy_behind(bare: Path) -> None:
    script(bare / "bin" / "apt-get", "#!/bin/sh\necho 'no route to mirror' >&2\nexit 100\n")

    with pytest.raises(LocalError, match="no route to mirror"):
        install(lambda _: None)

    assert not (bare / "policy").exists()


def test_without_any_way_one_message_says_what_to_install(bare: Path) -> None:
    with pytest.raises(LocalError, match="sudo apt-get install rabbitmq-server"):
        provide(bare / "data", say=lambda _: None)


def test_docker_is_the_last_way(bare: Path) -> None:
    script(bare / "bin" / "docker", DOCKER.format(python=sys.executable, folder=str(bare)))

    broker = provide(bare / "data", say=lambda _: None)

    assert isinstance(broker, DockerRabbitMQ)
    broker.start(20)
    url = broker.url
    assert broker.running
    assert "rabbitmq:4" in (bare / "container.json").read_text()
    broker.stop()
    eventually(lambda: not broker.running)
    assert not broker.crashed

    again = DockerRabbitMQ(bare / "data")
    again.start(20)
    assert again.url == url
    again.kill()
    assert not again.running
