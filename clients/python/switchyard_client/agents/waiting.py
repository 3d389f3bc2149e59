"""Whether a silent process waits for somebody to type: what the kernel says, and what its last words look like."""

import contextlib
import platform
import re
from pathlib import Path

# The system calls that read from one descriptor, and those that wait for one of several (Linux).
_READS = {"x86_64": {0, 19}, "aarch64": {63, 65}}
_POLLS = {"x86_64": {7, 23, 270, 271, 232, 281}, "aarch64": {72, 73, 22}}
# A question, a choice or a shell's sign at the end of a line that has not ended.
_PROMPT = re.compile(r"(\?|:|>|\$|#|%|\]|\))[ \t]*$")
# Colours and cursor moves.
_STEERING = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_=>])")


def looks_like_prompt(unfinished: bytes) -> bool:
    """Whether an unfinished line looks like a question."""
    text = _STEERING.sub(b"", unfinished[-400:]).decode(errors="replace")
    return bool(_PROMPT.search(text))


def reads_input(pids: list[int], inode: tuple[int, int] | None) -> bool | None:
    """Whether one of these processes is held up reading the file that is its input; None where nobody can tell.

    `inode`: device and inode of the pipe or terminal.
    """
    reads, polls = _READS.get(platform.machine()), _POLLS.get(platform.machine(), set())
    if reads is None or inode is None or not Path("/proc/self").is_dir():
        return None
    seen = False
    for pid in pids:
        with contextlib.suppress(OSError, ValueError):
            words = Path(f"/proc/{pid}/syscall").read_text().split()
            seen = True
            if not words or not words[0].isdigit():
                continue
            number = int(words[0])
            if number in reads and _is(pid, int(words[1], 16), inode):
                return True
            # Which descriptors it polls stands in its memory; a line editor polls its input.
            if number in polls and _is(pid, 0, inode) and not _sockets(pid):
                return True
    return False if seen else None


def _is(pid: int, descriptor: int, inode: tuple[int, int]) -> bool:
    found = Path(f"/proc/{pid}/fd/{descriptor}").stat()
    return (found.st_dev, found.st_ino) == inode


def _sockets(pid: int) -> list[str]:
    """The sockets a process has open: one that polls those has more to wait for than its input."""
    links = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(path.readlink()))
    return [link for link in links if link.startswith("socket:")]
