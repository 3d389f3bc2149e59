"""Agents on a machine of their own: real processes under a runner that knows the gateway's URL and a token, no more."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from cli.local.stack import Stack
from switchyard_client import Connection
from switchyard_client.agents.options import Options
from switchyard_client.agents.runner import Runner
from tests.e2e.conftest import Doors
from tests.e2e.proxy import proxy_to
from tests.e2e.runners import RunnerProcess, agent, control, ended, lines_of, marked, run_of, runner
from tests.waiting import eventually

PYTHON = sys.executable
# The agent whose runner was killed.
LOST: list[str] = []


def delegated(doors: Doors, name: str, **data: Any) -> str:
    """The id of a task for an agent."""
    task_id: str = doors.command(
        "delegate_task", **{"session_id": doors.session(), "agent_name": name, "task_type": "test", **data}
    )["task"]["task_id"]
    return task_id


def task_in(doors: Doors, task_id: str, *statuses: str, deadline: float = 20) -> dict[str, Any]:
    """A task, as soon as it has one of these statuses."""

    def found() -> dict[str, Any] | None:
        task: dict[str, Any] = doors.command("get_task", task_id=task_id)["task"]
        return task if task["status"] in statuses else None

    task = eventually(found, deadline, interval=0.1, because=f"the task is {' or '.join(statuses)}")
    assert task is not None
    return task


def texts(lines: list[dict[str, Any]], stream: str = "stdout") -> list[str]:
    return [line["text"] for line in lines if line["stream"] == stream]


def test_a_killed_runners_processes_end_and_another_runner_takes_the_task(doors: Doors) -> None:
    name = agent(doors)
    script = (
        'echo begun; if [ $SWITCHYARD_ATTEMPT = 1 ]; then setsid sleep 300 & sleep 300; fi; echo \'{"by": "another"}\''
    )
    # The lease of an attempt ends with its time.
    task_id = delegated(doors, name, timeout_s=4)
    with runner(doors, name, "--", "bash", "-c", script) as one:
        run_id = run_of(doors, name, "running")["run_id"]
        eventually(lambda: len(marked(run_id)) >= 3)
        os.kill(one.process.pid, signal.SIGKILL)
        LOST.append(name)
        eventually(lambda: marked(run_id) == [], 10, because="its processes end with it")
        with runner(doors, name, "--count", "1", "--", "bash", "-c", script):
            task = task_in(doors, task_id, "completed")
    assert (task["attempt"], task["output_data"]["result"]) == (2, {"by": "another"})
    assert task["output_data"]["run_id"] != run_id


def test_a_task_is_read_from_the_input_and_the_environment_and_its_last_json_line_is_the_result(doors: Doors) -> None:
    name = agent(doors)
    program = """
import json, os, sys
task = json.load(sys.stdin)
assert task == json.loads(os.environ["SWITCHYARD_TASK"]) and task["task_id"] == os.environ["SWITCHYARD_TASK_ID"]
print("\\x1b[31mworking\\x1b[0m"); print("a remark", file=sys.stderr)
print(sorted(set(os.environ) & {"DATABASE_URL", "GREETING", "SWITCHYARD_TOKEN", "SECRET_OF_THE_MACHINE"}))
print(json.dumps({"sum": sum(task["input_data"])}))
"""
    with runner(
        doors, name, "--count", "2", "--env", "GREETING=hi", "--", PYTHON, "-c", program, SECRET_OF_THE_MACHINE="x"
    ) as one:
        first = delegated(doors, name, input_data=[1, 2, 3])
        task = task_in(doors, first, "completed")
        run = ended(doors, name)
        assert task["output_data"] == {
            "exit_code": 0,
            "result": {"sum": 6},
            "run_id": run["run_id"],
            "lines": 4,
            "duration_s": task["output_data"]["duration_s"],
        }
        assert (run["state"], run["task_id"], run["attempt"], run["exit_code"]) == ("completed", first, 1, 0)
        assert run["name"].startswith(f"{name}-20") and run["lines"] == run["lines_given"] == 4
        lines = lines_of(doors, run["run_id"])
        assert [line["number"] for line in lines] == [1, 2, 3, 4]
        assert texts(lines) == ["\x1b[31mworking\x1b[0m", "['GREETING']", '{"sum": 6}']
        assert texts(lines, "stderr") == ["a remark"]

        failing = delegated(doors, name, input_data="no list", max_attempts=1)
        assert "exit code 1: TypeError" in task_in(doors, failing, "dead")["error_message"]
        assert one.wait() == 0


def test_a_command_that_cannot_be_started_fails_its_task(doors: Doors) -> None:
    name = agent(doors)
    with runner(doors, name, "--count", "1", "--", "no-such-program"):
        dead = task_in(doors, delegated(doors, name, max_attempts=1), "dead")
    assert "no program 'no-such-program'" in dead["error_message"]


def test_a_terminal_waits_for_input_is_paused_and_killed(doors: Doors) -> None:
    name = agent(doors)
    with runner(doors, name, "--once", "--pty", "--", PYTHON, "-q") as one:
        run = run_of(doors, name, "waiting_input")
        run_id = run["run_id"]
        assert run["session_id"] == run_id
        control(doors, run_id, "send_input", input="6 * 7\n")
        seen = eventually(lambda: [text for text in texts(lines_of(doors, run_id)) if text == "42"])
        assert seen == ["42"]

        state = control(doors, run_id, "get_state")
        assert state["pid"] == run["pid"] and state["processes"] == 1 and state["memory_bytes"] > 1_000_000
        last = eventually(
            lambda: [
                line
                for line in control(doors, run_id, "get_state")["last_output"][-1:]
                if line["text"].startswith(">>>")
            ],
            because="the next prompt is handed out",
        )
        assert last[0]["partial"]

        control(doors, run_id, "pause")
        assert run_of(doors, name, "paused") and _status(run["pid"]) == "T"
        control(doors, run_id, "resume")
        assert run_of(doors, name, "running", "waiting_input") and _status(run["pid"]) != "T"

        control(doors, run_id, "kill", grace_s=0.5)
        assert ended(doors, name)["state"] == "killed"
        assert one.wait() > 128
    states = [each["state"] for each in doors.command("get_run", run_id=run_id)["run"]["transitions"]]
    assert states[:3] == ["starting", "running", "waiting_input"] and states[-1] == "killed"
    assert doors.command("get_session", session_id=run_id)["session"]["status"] == "failed"


def test_what_ignores_term_and_forks_is_ended_with_all_its_descendants(doors: Doors) -> None:
    name = agent(doors)
    own = "(setsid sh -c 'trap \"\" TERM; sleep 300' &)"
    script = f"trap '' TERM; setsid sleep 300 & {own} ; echo ready; sleep 300; sleep 300"
    with runner(doors, name, "--once", "--", "bash", "-c", script) as one:
        run_id = run_of(doors, name, "running")["run_id"]
        eventually(lambda: texts(lines_of(doors, run_id)) == ["ready"])
        assert control(doors, run_id, "get_state")["processes"] >= 4 and len(marked(run_id)) >= 4
        control(doors, run_id, "kill", grace_s=0.3)
        assert ended(doors, name)["state"] == "killed" and one.wait() > 128
    assert marked(run_id) == []


def test_a_loud_process_is_held_up_until_its_output_is_taken(doors: Doors) -> None:
    name = agent(doors)
    with runner(doors, name, "--once", "--", "yes", "y" * 200) as one:
        run_id = run_of(doors, name, "running")["run_id"]
        eventually(lambda: control(doors, run_id, "get_state")["lines"] > 4_000, 40)
        state = control(doors, run_id, "get_state")
        stored = doors.command("get_run", run_id=run_id)["run"]["lines"]
        # What is under way is bounded, however fast it would write: millions of lines by now.
        assert state["lines"] - stored < 6_000
        control(doors, run_id, "kill", grace_s=1)
        run = ended(doors, name)
        assert run["state"] == "killed" and run["lines"] == run["lines_given"]
        one.wait()


def test_what_is_left_behind_ends_however_loud_it_is_and_what_was_written_before_is_all_there(doors: Doors) -> None:
    name = agent(doors)
    # The last of it lies in the pipe when the process ends, thousands of lines more than are taken at once.
    script = "yes left >&2 & seq 1 20000"
    with runner(doors, name, "--once", "--", "bash", "-c", script) as one:
        assert one.wait(60) == 0
        run = ended(doors, name)
    lines = lines_of(doors, run["run_id"], stream="stdout")
    # Where it was held up within a line, that came in two pieces.
    written = "".join(line["text"] + ("" if line["partial"] else "\n") for line in lines)
    assert written == "".join(f"{number}\n" for number in range(1, 20_001))


def test_bytes_that_are_no_text_long_lines_and_closed_outputs_arrive_as_they_were(doors: Doors) -> None:
    name = agent(doors)
    program = """
import os, sys
out = sys.stdout.buffer
out.write(b"caf\\xe9\\n\\x00\\n" + "ü€😀\\r\\n".encode() + b"x" * 10_000_000 + b"\\nno end")
out.flush(); os.close(1)
os.write(2, b"still here\\n")
"""
    with runner(doors, name, "--once", "--title", "odd bytes", "--", PYTHON, "-c", program) as one:
        assert one.wait(90) == 0
    run = ended(doors, name)
    # Two of them travel in base64: not a byte is missing, and none is counted twice.
    assert run["state"] == "completed" and run["bytes"] == 4 + 1 + 9 + 10_000_000 + 6 + 10
    begin = doors.command("get_output", run_id=run["run_id"], stream="stdout", limit=4)["lines"]
    assert [(line["text"], line["encoding"], line["partial"]) for line in begin[:3]] == [
        ("Y2Fm6Q==", "base64", False),
        ("AA==", "base64", False),
        ("ü€😀", None, False),
    ]
    assert begin[3]["partial"] and set(begin[3]["text"]) == {"x"}
    end = doors.command("get_output", run_id=run["run_id"], stream="stdout", limit=4, tail=True)["lines"][-3:]
    assert [(set(line["text"]) == {"x"}, line["partial"]) for line in end] == [
        (True, True),
        (True, False),
        (False, False),
    ]
    assert end[-1]["text"] == "no end"
    assert [line["text"] for line in lines_of(doors, run["run_id"], stream="stderr")] == ["still here"]
    session = doors.command("get_session", session_id=run["run_id"])["session"]
    assert (session["title"], session["status"]) == ("odd bytes", "completed")


COUNTING = "import sys, time\nfor n in range({lines}):\n    print(n, flush=True)\n    time.sleep({pause})"


def test_no_line_is_lost_or_doubled_when_the_gateway_is_killed_in_mid_run(doors: Doors, stack: Stack) -> None:
    name = agent(doors)
    program = COUNTING.format(lines=3_000, pause=0.001)
    with runner(doors, name, "--once", "--", PYTHON, "-c", program) as one:
        run_id = run_of(doors, name, "running")["run_id"]
        eventually(lambda: len(lines_of(doors, run_id)) > 100)
        stack.process("ws_gateway").kill()
        assert one.wait(60) == 0
    assert texts(lines_of(doors, run_id)) == [str(n) for n in range(3_000)]
    eventually(lambda: stack.health("ws_gateway")[0], 20, because="the gateway is ready again")


@pytest.mark.parametrize("broken", [True, False], ids=["broken", "silent"])
def test_no_line_is_lost_or_doubled_when_the_network_is_cut(doors: Doors, stack: Stack, broken: bool) -> None:
    name = agent(doors)
    program = COUNTING.format(lines=2_000, pause=0.002)
    with proxy_to(int(stack.environment.get("SWITCHYARD_GATEWAY_PORT"))) as network:
        url = f"ws://127.0.0.1:{network.port}/ws"
        with runner(doors, name, "--once", "--", PYTHON, "-c", program, url=url) as one:
            run = run_of(doors, name, "running")
            eventually(lambda: len(lines_of(doors, run["run_id"])) > 100)
            network.cut(broken=broken)
            # It goes on writing to its end meanwhile: nobody holds it up.
            eventually(lambda: not _alive(run["pid"]), 20, because="the process ends while the network is away")
            network.heal()
            assert one.wait(60) == 0
    assert texts(lines_of(doors, run["run_id"])) == [str(n) for n in range(2_000)]


def test_a_cancelled_tasks_process_is_ended_and_its_result_not_reported(doors: Doors) -> None:
    name = agent(doors)
    task_id = delegated(doors, name)
    with runner(doors, name, "--count", "1", "--", "sleep", "300") as one:
        run = run_of(doors, name, "running")
        task_in(doors, task_id, "running")
        doors.command("cancel_task", task_id=task_id)
        assert one.wait() == 0 and not _alive(run["pid"])
    assert ended(doors, name)["state"] == "killed"
    assert doors.command("get_task", task_id=task_id)["task"]["status"] == "cancelled"


def test_a_runner_that_is_told_to_stop_gives_back_what_it_cannot_finish(doors: Doors) -> None:
    name = agent(doors)
    task_id = delegated(doors, name)
    with runner(doors, name, "--grace", "0.2", "--", "sleep", "300") as one:
        run = run_of(doors, name, "running")
        one.process.send_signal(signal.SIGTERM)
        assert one.wait() == 0 and not _alive(run["pid"])
    task = task_in(doors, task_id, "pending")
    assert task["error_message"] == "the runner was told to stop"


@pytest.mark.parametrize("cut", [None, "broken", "silent"])
def test_an_idle_runner_that_is_told_to_stop_ends_at_once(doors: Doors, stack: Stack, cut: str | None) -> None:
    name = agent(doors)
    with proxy_to(int(stack.environment.get("SWITCHYARD_GATEWAY_PORT"))) as network:
        url = f"ws://127.0.0.1:{network.port}/ws"
        with runner(doors, name, "-c", "2", "--", "true", url=url) as one:
            # It has done one task and waits for the next.
            task_in(doors, delegated(doors, name), "completed")
            if cut:
                network.cut(broken=cut == "broken")
            if cut == "broken":
                eventually(lambda: "trying again" in one.said())
            one.process.send_signal(signal.SIGTERM)
            assert one.wait(4) == 0


def test_a_task_that_is_claimed_in_the_moment_of_the_stop_is_given_back(doors: Doors) -> None:
    name = agent(doors)
    task_id = delegated(doors, name)

    class Stopped(Connection):
        async def command(self, called: str, *data: Any, **more: Any) -> dict[str, Any]:
            answer = await super().command(called, *data, **more)
            if called == "claim_task":
                one.stop()
            return answer

    async def story() -> None:
        nonlocal one
        async with Stopped(doors.gateway_url, doors.token(permission="active")) as bus:
            one = Runner(bus, Options(name, ["true"]))
            await asyncio.wait_for(one.work(), 10)

    one: Any = None
    asyncio.run(story())
    task = task_in(doors, task_id, "pending")
    assert (task["attempt"], task["error_message"]) == (1, "the runner was told to stop")
    assert doors.command("list_runs", agent_name=name)["runs"] == []


def test_what_a_runner_can_not_tell_when_it_is_told_to_stop_is_said_in_its_log(
    doors: Doors, stack: Stack, tmp_path: Path
) -> None:
    of_task, of_once, twice = agent(doors), agent(doors), agent(doors)
    task_id = delegated(doors, of_task)
    until_told = f"echo begun; until [ -e {tmp_path}/go ]; do sleep 0.05; done; echo last"
    with proxy_to(int(stack.environment.get("SWITCHYARD_GATEWAY_PORT"))) as network, ExitStack() as ending:

        def begun(name: str, *words: str) -> tuple[RunnerProcess, dict[str, Any]]:
            url = f"ws://127.0.0.1:{network.port}/ws"
            started = ending.enter_context(runner(doors, name, *words, url=url))
            run = run_of(doors, name, "running")
            eventually(lambda: texts(lines_of(doors, run["run_id"])) == ["begun"])
            return started, run

        busy, its_run = begun(of_task, "--grace", "0.2", "-c", "2", "--", "sh", "-c", "echo begun; sleep 300")
        done, single = begun(of_once, "--once", "--grace", "0.5", "--", "sh", "-c", until_told)
        stubborn, third = begun(twice, "--once", "--", "sh", "-c", "trap '' TERM; echo begun; sleep 300")
        network.cut(broken=True)
        (tmp_path / "go").touch()
        eventually(lambda: not _alive(single["pid"]), because="it ends while the gateway is away")
        for one in (busy, done, stubborn):
            eventually(lambda one=one: "trying again" in one.said())  # type: ignore[misc]
            one.process.send_signal(signal.SIGTERM)
        assert busy.wait(8) == 3 and not _alive(its_run["pid"])
        said = busy.said()
        assert f"run {its_run['run_id']}: its end (killed: the runner was told to stop) could not be told" in said
        assert "it will be lost, and the task's lease lapses within 60 s" in said
        assert done.wait(8) == 3
        said = done.said()
        assert f"run {single['run_id']}: 1 of its 2 lines and its end (completed) could not be told" in said
        assert "it will be lost, and its session stays open" in said
        # A second time, nothing is waited for.
        eventually(lambda: "stopping: 1 in hand" in stubborn.said())
        stubborn.process.send_signal(signal.SIGINT)
        assert stubborn.wait(3) == 130
        eventually(lambda: not _alive(third["pid"]), because="the warden ends its process")
    assert task_in(doors, task_id, "running")["attempt"] == 1


def test_tasks_are_done_side_by_side_each_in_a_folder_of_its_own(doors: Doors, tmp_path: Any) -> None:
    name = agent(doors)
    # Each waits until all three are there.
    script = f"pwd > here; until [ $(ls {tmp_path}/*/here | wc -l) = 3 ]; do sleep 0.05; done; echo '\"done\"'"
    tasks = [delegated(doors, name) for _ in range(3)]
    with runner(doors, name, "-c", "3", "--count", "3", "--workdir", str(tmp_path), "--", "bash", "-c", script) as one:
        assert one.wait() == 0
    assert all(task_in(doors, task_id, "completed")["output_data"]["result"] == "done" for task_id in tasks)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{task_id}-1" for task_id in tasks)


def test_a_command_that_takes_too_long_is_ended_and_one_that_fails_is_started_again(
    doors: Doors, tmp_path: Any
) -> None:
    name = agent(doors)
    script = f"echo x >> {tmp_path}/tries; [ $(wc -l < {tmp_path}/tries) = 2 ] && exit 0; sleep 300"
    with runner(doors, name, "--once", "--restart", "on-failure", "--timeout", "0.5", "--", "sh", "-c", script) as one:
        assert one.wait() == 0
    runs = doors.command("list_runs", agent_name=name)["runs"]
    assert [run["state"] for run in runs] == ["completed", "failed"] and "longer than 0.5 s" in runs[1]["error"]


def test_claude_code_does_a_task_its_tool_calls_are_events_and_its_answer_the_result(
    doors: Doors, stack: Stack, tmp_path: Path
) -> None:
    bundled = Path(find_spec("claude_agent_sdk").origin or "").parent / "_bundled"  # type: ignore[union-attr]
    name = agent(doors)
    environ = {
        "PATH": f"{bundled}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "ANTHROPIC_BASE_URL": stack.environment.get("ANTHROPIC_BASE_URL"),
        "ANTHROPIC_API_KEY": "sk-stand-in",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    (tmp_path / "work").mkdir()
    prompt = (
        '[[tool Bash {"command": "ls", "description": "look"}]] [[say nothing to do]] [[usage input=1000 output=500]]'
    )
    with (
        doors.listen(f"agent.{name}.activity") as listener,
        runner(
            doors, name, "--recipe", "claude", "--count", "1", "--workdir", str(tmp_path / "work"), **environ
        ) as one,
    ):
        task = task_in(
            doors, delegated(doors, name, description=prompt, max_attempts=1), "completed", "dead", deadline=60
        )
        assert task["status"] == "completed", task["error_message"]
        assert task["output_data"]["result"]["result"] == "nothing to do"
        calls = eventually(lambda: [each for each in [listener.next()] if each["kind"] == "tool_call"])
        assert (calls[0]["data"]["name"], calls[0]["data"]["input"]) == (
            "Bash",
            {"command": "ls", "description": "look"},
        )
        assert one.wait() == 0
    run = ended(doors, name)
    assert (run["command"], run["recipe"]) == ("claude", "claude")
    assert run["usage"]["output_tokens"] >= 500 and run["usage"]["cost_usd"] > 0


def test_the_command_line_runs_agents_with_the_settings_of_its_checkout(doors: Doors, stack: Stack) -> None:
    name = agent(doors)
    words = ["agent", "run", name, "--once", "--", "sh", "-c", 'echo "$SWITCHYARD_AGENT"; exit 3']
    done = subprocess.run(
        [PYTHON, "-m", "cli.main", *words], env=stack.environment.for_children(), timeout=60, check=False
    )
    run = ended(doors, name)
    assert done.returncode == run["exit_code"] == 3
    assert texts(lines_of(doors, run["run_id"])) == [name]


def test_a_secret_in_a_commands_last_words_stands_nowhere_in_its_session(doors: Doors) -> None:
    name = agent(doors)
    with runner(doors, name, "--once", "--", "sh", "-c", "echo fatal: password=hunter2xyz >&2; exit 3") as one:
        one.wait()
        run = ended(doors, name)
        assert "exit code 3" in run["error"]
        session = doors.command("get_session", session_id=run["session_id"])
        assert session["session"]["status"] == "failed"
        timeline = doors.command("get_timeline", session_id=run["session_id"], limit=500)["entries"]
    assert "session_failed" in {event["type"] for event in timeline}
    assert "hunter2xyz" not in str((run, session, timeline))


def test_a_bad_token_is_said_and_ends_the_runner(doors: Doors) -> None:
    with runner(doors, agent(doors), "--", "true", SWITCHYARD_TOKEN="no token") as one:
        assert one.wait() == 3 and "token" in one.said()


def test_the_run_of_the_killed_runner_is_lost(doors: Doors) -> None:
    if not LOST:
        pytest.skip("no runner was killed")
    # The last of these tests, so that most of the 30 s of silence have passed.
    runs = eventually(
        lambda: doors.command("list_runs", agent_name=LOST[0], state="lost")["runs"], 40, because="the run is lost"
    )
    assert "nothing was heard" in runs[0]["cause"]


def _alive(pid: int) -> bool:
    try:
        return _status(pid) != "Z"
    except OSError:
        return False


def _status(pid: int) -> str:
    """The letter the kernel has for what a process does: T, stopped; Z, ended."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
