"""One process: started in a session of its own, with pipes or a terminal, and read as fast as somebody takes it."""

import asyncio
import errno
import fcntl
import os
import pty
import shutil
import struct
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Lines of one byte are many: with more, a loud process would be far ahead of what the server takes.
READ_BYTES = 16 * 1024
# Rows and columns of a terminal that nobody looks at.
_SIZE = (50, 200)

# Given the name of a stream and what came; nothing when it has ended.
Reader = Callable[[str, bytes], None]


class CannotStart(Exception):
    """The process could not be started; the text says why."""


@dataclass(frozen=True)
class Plan:
    """What is to be started."""

    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    terminal: bool = False
    # What it is given to read; None: nothing.
    stdin: bytes | None = None
    # The input stays open behind that.
    interactive: bool = False


class Process:
    """A running process. `reading(False)` leaves what it writes where it is, so that it blocks."""

    def __init__(
        self,
        child: asyncio.subprocess.Process,
        outputs: dict[str, int],
        stdin: int,
        *,
        terminal: bool,
        input_file: tuple[int, int],
    ) -> None:
        """`outputs`: descriptors by name; `input_file`: device and inode of what it reads."""
        self.pid = child.pid
        self.terminal = terminal
        self.stdin_open = True
        self._child = child
        self._outputs = outputs
        self._stdin = stdin
        self._input_file = input_file
        self._open = {*outputs.values(), stdin}
        self._loop = asyncio.get_running_loop()
        self._reader: Reader | None = None
        self._reads = False
        self._silent = asyncio.Event()
        self._writing = asyncio.Lock()
        # Who waits for room in its input.
        self._room: asyncio.Future[None] | None = None

    @property
    def is_read(self) -> bool:
        """Whether what it writes is read just now."""
        return self._reads

    def input_file(self) -> tuple[int, int] | None:
        """Device and inode of what its standard input is; None when that is closed."""
        if not self.stdin_open:
            return None
        return self._input_file

    async def wait(self) -> int:
        """How it ended: its exit code, or minus the number of the signal that ended it."""
        return await self._child.wait()

    async def silent(self) -> None:
        """Wait until all of its outputs are closed."""
        await self._silent.wait()

    def read_to(self, reader: Reader) -> None:
        """Whom to give what it writes."""
        self._reader = reader
        self.reading(True)

    def reading(self, wanted: bool) -> None:
        """Read what it writes from now on, or leave it be."""
        if wanted == self._reads:
            return
        self._reads = wanted
        for name, descriptor in self._outputs.items():
            if wanted:
                self._loop.add_reader(descriptor, self._read, name, descriptor)
            else:
                self._loop.remove_reader(descriptor)

    async def write(self, data: bytes) -> None:
        """Write to its input, waiting until it has taken all of it. Raises BrokenPipeError when that is closed."""
        async with self._writing:
            left = memoryview(data)
            while left:
                if not self.stdin_open:
                    raise BrokenPipeError(errno.EPIPE, "its input is closed")
                try:
                    left = left[os.write(self._stdin, left) :]
                except BlockingIOError:
                    await self._writable()
                except OSError as error:
                    self._close_stdin()
                    raise BrokenPipeError(errno.EPIPE, "its input is closed") from error

    async def end_input(self) -> None:
        """Close its input; a terminal is sent what Ctrl-D sends."""
        if self.terminal:
            await self.write(b"\x04")
        else:
            async with self._writing:
                self._close_stdin()

    def close(self) -> None:
        """Let go of everything; the process is left to itself."""
        self.stdin_open = False
        for descriptor in {*self._outputs.values(), self._stdin} & self._open:
            self._release(descriptor)
        self._outputs.clear()
        self._silent.set()

    def _close_stdin(self) -> None:
        if self.stdin_open:
            self.stdin_open = False
            # A terminal is one descriptor for both ways.
            if not self.terminal:
                self._release(self._stdin)

    def _release(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        self._loop.remove_reader(descriptor)
        self._loop.remove_writer(descriptor)
        os.close(descriptor)
        if descriptor == self._stdin:
            self._has_room()

    async def _writable(self) -> None:
        """Wait until its input takes more, or is closed."""
        self._room = self._loop.create_future()
        self._loop.add_writer(self._stdin, self._has_room)
        try:
            await self._room
        finally:
            # Once it is closed, its number may be another's.
            if self._stdin in self._open:
                self._loop.remove_writer(self._stdin)

    def _has_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _read(self, name: str, descriptor: int) -> None:
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # so a terminal tells that nobody has it open any more
        if not data:
            del self._outputs[name]
            if self.terminal:
                self.stdin_open = False
            self._release(descriptor)
            if not self._outputs:
                self._silent.set()
        if self._reader:
            self._reader(name, data)


async def start(plan: Plan) -> Process:
    """Start a process, tied to our life where the system can do that. Raises `CannotStart`."""
    program = shutil.which(plan.command[0], path=plan.environment.get("PATH", os.defpath))
    if program is None and (plan.directory / plan.command[0]).is_file():
        program = str((plan.directory / plan.command[0]).resolve())
    if program is None:
        raise CannotStart(f"there is no program {plan.command[0]!r} in the PATH {plan.environment.get('PATH', '')}")
    ours, theirs, outputs, stdin = _terminal() if plan.terminal else _pipes()
    read = os.fstat(theirs[0])
    try:
        child = await asyncio.create_subprocess_exec(
            *_tied(),
            str(Path(program).absolute()),
            *plan.command[1:],
            stdin=theirs[0],
            stdout=theirs[1],
            stderr=theirs[2],
            env=dict(plan.environment),
            cwd=plan.directory,
            start_new_session=True,
            preexec_fn=_take_terminal if plan.terminal else None,
        )
    except (OSError, ValueError) as error:
        for descriptor in set(ours):
            os.close(descriptor)
        raise CannotStart(f"{plan.command[0]} could not be started: {error}") from error
    finally:
        for descriptor in set(theirs):
            os.close(descriptor)
    for descriptor in set(ours):
        os.set_blocking(descriptor, False)
    return Process(child, outputs, stdin, terminal=plan.terminal, input_file=(read.st_dev, read.st_ino))


def _tied() -> list[str]:
    """Words before a command that have the kernel kill it when this thread ends (Linux, util-linux)."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def _pipes() -> tuple[list[int], list[int], dict[str, int], int]:
    stdin_reader, stdin_writer = os.pipe()
    out_reader, out_writer = os.pipe()
    err_reader, err_writer = os.pipe()
    outputs = {"stdout": out_reader, "stderr": err_reader}
    return [stdin_writer, out_reader, err_reader], [stdin_reader, out_writer, err_writer], outputs, stdin_writer


def _terminal() -> tuple[list[int], list[int], dict[str, int], int]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *_SIZE, 0, 0))
    return [master], [slave, slave, slave], {"stdout": master}, master


def _take_terminal() -> None:
    """In the child: make the terminal that is its standard input the one of its session."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
