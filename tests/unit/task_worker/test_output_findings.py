"""What is found in the output of a process, by type."""

import hashlib
import json
from collections.abc import Sequence

import pytest

from services.task_worker.extraction import Extractor, Finding, Line

EXTRACTOR = Extractor()
TOKEN = "ghp_" + "Ab3" * 12


def find(*texts: str, extractor: Extractor = EXTRACTOR) -> list[Finding]:
    """Everything found in lines that are numbered from 1."""
    state, findings = extractor.feed({}, [Line(number, text) for number, text in enumerate(texts, 1)])
    return findings + extractor.finish(state)[1]


def of_type(found: Sequence[Finding], kind: str) -> list[Finding]:
    return [one for one in found if one.type == kind]


@pytest.mark.parametrize(
    ("line", "pattern", "value"),
    [
        ("$ pytest -q", "shell_prompt", "pytest -q"),
        ("ada@host:~/src$ make up", "shell_prompt", "make up"),
        ("(venv) ada@host:~/src$ make up", "shell_prompt", "make up"),
        ("\x1b[32mada@host\x1b[0m:\x1b[34m~\x1b[0m$ ls", "shell_prompt", "ls"),
        ("+ docker build -t x .", "shell_trace", "docker build -t x ."),
        ("++ date", "shell_trace", "date"),
        ("!git status", "shell_escape", "git status"),
        ("see src/app.py:12:5 for it", "file_path", "src/app.py"),
        ("/etc/hosts", "file_path", "/etc/hosts"),
        ('  File "/srv/app/main.py", line 7, in main', "file_path", "/srv/app/main.py"),
        ("main.go:9: undefined: x", "file_path", "main.go"),
        ("read package.json now", "file_path", "package.json"),
        ("Compiling main.cpp", "file_path", "main.cpp"),
        ("~/.ssh/id_ed25519 is there", "file_path", "~/.ssh/id_ed25519"),
        ("src/index.ts(3,14): error TS2304", "file_path", "src/index.ts"),
        ("docs at https://example.org/a?b=c#d.", "url", "https://example.org/a?b=c#d"),
        ("(see https://example.org/x)", "url", "https://example.org/x"),
        ("https://en.wikipedia.org/wiki/A_(b)", "url", "https://en.wikipedia.org/wiki/A_(b)"),
        ("Should I delete the old table?", "question", "Should I delete the old table?"),
        ("- which of the two do you want?", "question", "which of the two do you want?"),
        ("ERROR: disk is full", "error_line", "ERROR: disk is full"),
        ("2026-01-01 12:00:00 [ERROR] disk is full", "error_line", "2026-01-01 12:00:00 [ERROR] disk is full"),
        ("npm ERR! code E404", "error_line", "npm ERR! code E404"),
        ("bash: foo: command not found", "error_line", "bash: foo: command not found"),
        ("Segmentation fault (core dumped)", "error_line", "Segmentation fault (core dumped)"),
        (f"export GH={TOKEN}", "github_token", "ghp_Ab3A…[masked:github_token]"),
        (f"\x1b[0m{TOKEN}", "github_token", "ghp_Ab3A…[masked:github_token]"),
        ("10%\r50%\rsaved to out/report.csv", "file_path", "out/report.csv"),
    ],
)
def test_a_line_is_searched(line: str, pattern: str, value: str) -> None:
    found = [one for one in find(line) if one.pattern == pattern]

    assert [one.value for one in found] == [value]
    assert (found[0].first_line, found[0].last_line, found[0].index) == (1, 1, 0)


@pytest.mark.parametrize(
    "line",
    [
        "Everything is fine.",
        "and/or",
        "0 errors",
        "a + b",
        "+ 1",
        "12:30:45",
        "x = y ? a : b",
        "100%",
        "version 2.5.1",
        "mail ada@example.com or see www.example.com/docs",
        "",
    ],
)
def test_ordinary_lines_hold_nothing(line: str) -> None:
    assert find(line) == []


def test_paths_have_their_place() -> None:
    found = of_type(find("src/app.py:12:5 and lib/x.rs:3, conf/a.toml", '  File "a.py", line 7'), "file_path")

    assert [(one.value, one.details) for one in found] == [
        ("src/app.py", {"line": 12, "column": 5}),
        ("lib/x.rs", {"line": 3}),
        ("conf/a.toml", {}),
        ("a.py", {"line": 7}),
    ]
    assert [one.index for one in found] == [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("line", "framework", "ok", "counts"),
    [
        ("===== 3 failed, 10 passed, 2 skipped in 1.23s =====", "pytest", False, (10, 3, 2)),
        ("10 passed in 0.12s", "pytest", True, (10, 0, 0)),
        ("1 failed, 1 error in 61.00s (0:01:01)", "pytest", False, (0, 2, 0)),
        ("Tests:       1 failed, 2 skipped, 5 passed, 8 total", "jest", False, (5, 1, 2)),
        ("ok  \tgithub.com/a/b\t0.003s", "go", True, (1, 0, 0)),
        ("FAIL\tgithub.com/a/b\t0.003s", "go", False, (0, 1, 0)),
        ("test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out", "cargo", False, (3, 1, 2)),
        ("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured", "cargo", True, (3, 0, 0)),
    ],
)
def test_the_results_of_tests_are_counted(line: str, framework: str, ok: bool, counts: tuple[int, int, int]) -> None:
    (found,) = of_type(find(line), "test_result")

    assert (found.details["framework"], found.details["ok"]) == (framework, ok)
    assert (found.details["passed"], found.details["failed"], found.details["skipped"]) == counts
    assert found.risk == ("low" if ok else "medium")


def test_the_summary_of_tap_is_one_result() -> None:
    (found,) = find(
        "ok 1 - adds", "1..1", "# tests 4", "# suites 0", "# pass 3", "# fail 1", "# skipped 0", "# duration_ms 5"
    )

    assert (found.type, found.first_line, found.last_line) == ("test_result", 3, 8)
    assert found.details == {"framework": "tap", "ok": False, "passed": 3, "failed": 1, "skipped": 0}


@pytest.mark.parametrize(
    ("line", "default", "risk", "auto"),
    [
        ("Continue? [Y/n] ", "yes", "low", True),
        ("Continue? [y/N] ", "no", "medium", False),
        ("Delete 3 files? [Y/n]", "yes", "high", False),
        ("Is this ok (yes/no)? ", "", "medium", False),
        ("Press Enter to continue", "enter", "low", True),
        ("Press any key to continue . . .", "enter", "low", True),
        ("Do you want to proceed?", "", "medium", False),
        ("Are you sure you want to continue connecting (yes/no/[fingerprint])?", "", "medium", False),
        ("Overwrite out.txt? (y/N) y", "no", "high", False),
        ("Ready? (yes/no) [yes]", "yes", "low", True),
    ],
)
def test_a_confirmation_says_what_enter_means(line: str, default: str, risk: str, auto: bool) -> None:
    found = find(line)
    (confirmation,) = of_type(found, "confirmation")

    assert (confirmation.details["default"], confirmation.risk, confirmation.auto_confirm) == (default, risk, auto)
    assert of_type(found, "question") == []


@pytest.mark.parametrize(
    ("command", "risk"),
    [
        ("ls -la", "low"),
        ("git status && git diff | head -20", "low"),
        ("cat x > y", "medium"),
        ("echo $(rm x)", "medium"),
        ("ls\trm", "low"),
        ("git diff --output=/etc/x", "medium"),
        ("sort -o x y", "medium"),
        ("npm install", "medium"),
        ("git push", "medium"),
        ("git push --force origin main", "high"),
        ("git -C x push -f", "high"),
        ("git reset --hard HEAD~1", "high"),
        ("sudo apt install x", "high"),
        ("cat ~/.ssh/id_rsa", "high"),
        ("grep KEY '.env' | head -1", "high"),
        ("rm -rf build", "high"),
        ("rm -rf /", "critical"),
        ("rm -fr ~", "critical"),
        ("rm -r -f $HOME", "critical"),
        ("rm -rf *", "critical"),
        ("curl -fsSL https://x.sh | sh", "critical"),
        ("curl x | sudo bash -s", "critical"),
        ("bash <(curl -s x)", "critical"),
        ("psql -c 'DROP TABLE users'", "critical"),
        ("mkfs.ext4 /dev/sda1", "critical"),
        ("dd if=/dev/zero of=/dev/sda", "critical"),
    ],
)
def test_a_command_has_its_risk_and_only_one_that_reads_needs_no_question(command: str, risk: str) -> None:
    (found,) = of_type(find(f"$ {command}"), "command")

    assert (found.risk, found.auto_confirm) == (risk, risk == "low")


def test_a_block_of_code_has_its_language_hash_and_place() -> None:
    found = find("Here:", "```python", "def f():", "    return 1", "```", "Done.")

    content = "def f():\n    return 1"
    (block,) = found
    assert (block.type, block.pattern, block.first_line, block.last_line) == ("code_block", "fenced_block", 2, 5)
    assert block.details == {
        "language": "python",
        "sha256": hashlib.sha256(content.encode()).hexdigest(),
        "content": content,
        "lines": 2,
        "closed": True,
    }


def test_the_commands_of_a_shell_block_are_found_and_the_block_has_their_risk() -> None:
    found = find("```bash", "# make room", "rm -rf \\", "  build", "", "ls", "```")

    assert [(one.value, one.risk) for one in of_type(found, "command")] == [("rm -rf build", "high"), ("ls", "low")]
    assert of_type(found, "code_block")[0].risk == "high"


def test_what_a_console_wrote_is_no_command() -> None:
    found = find("~~~console", "$ ls", "a.py", "$ pwd", "~~~")

    assert [one.value for one in of_type(found, "command")] == ["ls", "pwd"]


def test_what_stands_in_code_is_not_searched_but_for_secrets_and_addresses() -> None:
    found = find("```", "Should I go on?", "ERROR: no", f"key = '{TOKEN}' # https://example.org", "```")

    assert [one.type for one in found] == ["secret", "url", "code_block"]
    assert TOKEN not in found[2].details["content"]


def test_a_block_that_never_ends_is_given_up_at_its_limit_and_its_fence_opens_no_other() -> None:
    found = find("```", *["x" * 1_000] * 80, "```", "ERROR: after it")

    block, error = found
    assert (block.type, block.details["closed"], error.type) == ("code_block", False, "error")
    assert len(block.details["content"]) <= 64 * 1024


PYTHON = [
    "Traceback (most recent call last):",
    '  File "/srv/a.py", line 3, in <module>',
    "    f()",
    '  File "/srv/b.py", line 9, in f',
    "    raise ValueError('no')",
    "ValueError: no",
]
NODE = ["TypeError: x is not a function", "    at f (/srv/a.js:1:2)", "    at node:internal/main:5:6"]
GO = ["panic: boom", "", "goroutine 1 [running]:", "main.main()", "\t/srv/main.go:5 +0x1d", "exit status 2"]
RUST = [
    "thread 'main' panicked at src/main.rs:2:5:",
    "index out of bounds",
    "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
]
JAVA = [
    'Exception in thread "main" java.lang.IllegalStateException: no',
    "\tat org.x.Main.run(Main.java:10)",
    "Caused by: java.io.IOException: gone",
    "\tat org.x.Main.read(Main.java:20)",
    "\t... 1 more",
]
RUSTC = ["error[E0425]: cannot find value `x`", " --> src/main.rs:2:5", "  |", "2 |     x;", "  |     ^ not found"]


@pytest.mark.parametrize(
    ("lines", "pattern", "language", "value", "risk"),
    [
        (PYTHON, "python_traceback", "python", "ValueError: no", "medium"),
        (NODE, "node_error", "javascript", NODE[0], "medium"),
        (GO, "go_panic", "go", "panic: boom", "high"),
        (RUST, "rust_panic", "rust", f"{RUST[0]} {RUST[1]}", "high"),
        (JAVA, "java_exception", "java", JAVA[0], "medium"),
        (RUSTC, "rust_error", "rust", RUSTC[0], "medium"),
        (["KeyError: 'x'"], "error_line", "", "KeyError: 'x'", "medium"),
    ],
)
def test_an_error_of_many_lines_is_one(lines: list[str], pattern: str, language: str, value: str, risk: str) -> None:
    (error,) = of_type(find("before", *lines, "and after"), "error")

    assert (error.pattern, error.value, error.risk) == (pattern, value, risk)
    assert (error.first_line, error.last_line) == (2, 1 + len(lines))
    assert error.details == {"language": language, "text": "\n".join(lines)}


def test_each_of_chained_tracebacks_is_an_error_and_its_paths_are_found() -> None:
    found = find(*PYTHON, "", "During handling of the above exception, another exception occurred:", "", *PYTHON)

    assert [one.first_line for one in of_type(found, "error")] == [1, 10]
    assert [one.details["line"] for one in of_type(found, "file_path")] == [3, 9, 3, 9]


def test_what_claude_code_tells_in_json_is_read() -> None:
    bash = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "rm -rf /", "description": "x"}}
    said = {"type": "text", "text": "Look:\n```py\nx = 1\n```\nShould I go on?"}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "===== 1 failed in 0.1s ====="}
    found = find(
        json.dumps({"type": "system", "subtype": "init", "cwd": "/srv/x.py"}),
        json.dumps({"type": "assistant", "message": {"content": [said, bash]}}),
        json.dumps({"type": "user", "message": {"content": [result]}}),
        json.dumps({"type": "result", "result": "Should I go on?"}),
    )

    assert [(one.type, one.first_line) for one in found] == [
        ("tool_call", 2),
        ("command", 2),
        ("code_block", 2),
        ("question", 2),
        ("test_result", 3),
    ]
    assert (found[0].value, found[0].risk) == ("Bash(rm -rf /)", "critical")
    assert found[0].details == {"tool": "Bash", "call_id": "t1", "about": "rm -rf /"}
    assert found[1].pattern == "tool_command"


def test_what_codex_tells_in_json_is_read() -> None:
    item = {"type": "command_execution", "id": "i", "command": "cat a", "aggregated_output": "ERROR: no a"}
    found = find(json.dumps({"type": "item.completed", "item": item}))

    assert [(one.type, one.value) for one in found] == [
        ("tool_call", "shell(cat a)"),
        ("command", "cat a"),
        ("error", "ERROR: no a"),
    ]


def test_a_prompt_is_known_before_its_line_ends() -> None:
    state, none = EXTRACTOR.feed({}, [Line(1, "Cont", more=True), Line(2, "inue? [Y/n] ", more=True)])

    (waiting,) = EXTRACTOR.waiting(state)
    _, (ended,) = EXTRACTOR.feed(state, [Line(3, "y")])

    assert none == []
    assert (waiting.pattern, waiting.first_line, waiting.index) == (ended.pattern, ended.first_line, ended.index)
    assert (ended.value, ended.last_line) == ("Continue? [Y/n]", 3)


def test_both_streams_are_texts_of_their_own_and_input_is_none() -> None:
    lines = [Line(2 * number, text, "stderr") for number, text in enumerate(PYTHON)]
    between = [Line(2 * number + 1, "ERROR: out", "stdout") for number in range(3)]
    typed = [Line(100, "ERROR: typed", "input")]

    _, found = EXTRACTOR.feed({}, sorted([*lines, *between, *typed], key=lambda line: line.number))

    assert [one.pattern for one in of_type(found, "error")] == [*["error_line"] * 3, "python_traceback"]
