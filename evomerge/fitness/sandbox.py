"""Runs one untrusted program with its tests in a process that can do little else.

The process has a time limit (wall clock and CPU), a memory limit, a limit on the size of a file,
an empty working directory that is removed afterwards, an environment of PYTHONHASHSEED, PYTHONUTF8
and, set by Python itself, LC_CTYPE, no standard streams, and on Linux no other files than the
interpreter's own, no sockets, no child processes, no signals to others, and no way to outlive its
parent. Started by root it becomes a user who owns nothing, or, where only root can read the
interpreter, root without its capabilities.

What is not defended: a program that was written against this very module can find the protocol in
its own process and report a pass, as it can with every harness that runs tests in the process they
test; it can as well return objects whose `__eq__` says True to anything. It may fill the disk, by
many files, as fast as its time allows. A fault of the kernel or the interpreter is a way out: for
programs of an attacker, and not merely of a model, use a virtual machine.
"""

from __future__ import annotations

import math
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from evomerge.errors import FitnessError

_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from confined.child import main; "
    "sys.path.pop(0); main()"
)
_START_S = 60.0  # for the interpreter to start on a busy machine; not a program's time
_MOST = 4096  # bytes of a message from a program


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use.

    Attributes:
        timeout_s: seconds for the program and its tests together.
        memory_mb: MiB of address space, of which the interpreter itself takes about 30.
        file_mb: MiB that a file may have.
        allow_network: do without the wall that keeps it from the network; where the kernel has
            none, neither are processes and signals held back.
        allow_files: do without the wall that keeps it from files outside its working directory.
    """

    timeout_s: float = 5.0
    memory_mb: int = 512
    file_mb: int = 16
    allow_network: bool = False
    allow_files: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a program.

    Attributes:
        passed: it ran and all its tests did.
        reason: 'passed', or in a few words what happened instead.
        timed_out: it took longer than it may.
    """

    passed: bool
    reason: str
    timed_out: bool = False


def check_sandbox(limits: Limits) -> None:
    """Make sure that the walls can be built here, by running a program of one line.

    Raises:
        FitnessError: they cannot; the message says which setting would do without.
    """
    verdict = run_program("x = 1", "assert x == 1", limits)
    if not verdict.passed:
        raise FitnessError(f"the sandbox does not work here: {verdict.reason}")


def run_program(program: str, tests: str, limits: Limits) -> Verdict:
    """Run a program and then its tests, in one namespace, and say whether both ended well.

    Random numbers of `random` are seeded and strings are hashed alike in every run. `__name__` is
    'program'. Output is discarded.

    Raises:
        FitnessError: a wall cannot be built here.
    """
    _refuse_platform(limits)
    with tempfile.TemporaryDirectory(prefix="evomerge-program-", ignore_cleanup_errors=True) as cwd:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = _start(theirs, cwd)
            theirs.close()
            try:
                return _Conversation(ours, limits).hold(program, tests)
            finally:
                _end(process)


class _Conversation:
    """The parent's side of the protocol of `evomerge.fitness.confined.child`."""

    def __init__(self, channel: socket.socket, limits: Limits) -> None:
        self._channel = channel
        self._limits = limits
        self._deadline = time.monotonic() + _START_S

    def hold(self, program: str, tests: str) -> Verdict:
        limits = self._limits
        settings = (
            math.ceil(limits.timeout_s) + 1,
            limits.memory_mb * 2**20,
            limits.file_mb * 2**20,
            int(not limits.allow_files),
            int(not limits.allow_network),
        )
        answer = self._ask(" ".join(map(str, settings)).encode())
        if answer != b"ready":
            raise FitnessError(_cannot(answer))
        self._deadline = time.monotonic() + limits.timeout_s
        number = secrets.token_bytes(16)
        for message, wanted in ((program, b"ran"), (tests, b"tested"), (number, number)):
            content = message if isinstance(message, bytes) else _encoded(message)
            try:
                answer = self._ask(content)
            except TimeoutError:
                return Verdict(False, f"timed out after {limits.timeout_s:g} s", timed_out=True)
            if answer is None:
                return Verdict(False, "the process ended before its tests did")
            if answer != wanted:
                return Verdict(False, _readable(answer))
        return Verdict(True, "passed")

    def _ask(self, content: bytes) -> bytes | None:
        """Send a message and return the answer; None where the process has ended.

        Raises:
            TimeoutError: the deadline passed.
        """
        try:
            self._channel.settimeout(self._left())
            self._channel.sendall(len(content).to_bytes(4, "big") + content)
            head = self._exactly(4)
            size = int.from_bytes(head or b"", "big")
            return self._exactly(min(size, _MOST)) if head else None
        except (BrokenPipeError, ConnectionResetError):
            return None

    def _exactly(self, size: int) -> bytes | None:
        content = b""
        while len(content) < size:
            self._channel.settimeout(self._left())
            part = self._channel.recv(size - len(content))
            if not part:
                return None
            content += part
        return content

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _start(channel: socket.socket, cwd: str) -> subprocess.Popen[bytes]:
    """Start the child; its flags and environment keep out all but the standard library.

    -I would do that too, and would ignore the seed of the strings' hash.
    """
    package = str(Path(__file__).parent)
    command = [sys.executable, "-s", "-S", "-P", "-B", "-c", _BOOT, package, str(channel.fileno())]
    return subprocess.Popen(  # noqa: S603 -- the command is ours; what it runs is walled in
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(channel.fileno(),),
        cwd=cwd,
        env={"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all of its group."""
    with suppress(ProcessLookupError, PermissionError):  # ended, and on macOS being buried
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _refuse_platform(limits: Limits) -> None:
    if sys.platform == "linux" or (limits.allow_network and limits.allow_files):
        return
    raise FitnessError(
        f"{sys.platform} offers no way to keep programs from the network and from files without "
        "privileges; run the study on Linux, or accept that with 'allow_network: true' and "
        "'allow_files: true'"
    )


def _cannot(answer: bytes | None) -> str:
    if answer is None:
        return (
            "the sandbox's interpreter ended at once; can every user read the files of "
            f"{sys.executable}?"
        )
    return (
        f"programs cannot be kept from the network and from files here "
        f"({_readable(answer).removeprefix('cannot: ')}); it takes Linux 5.13 with Landlock and "
        "seccomp on x86_64 or aarch64; or accept it with 'allow_network: true' or "
        "'allow_files: true'"
    )


def _encoded(text: str) -> bytes:
    """Return a text as UTF-8; a lone surrogate is no UTF-8, and no Python either."""
    return text.encode(errors="replace")


def _readable(answer: bytes) -> str:
    return " ".join(answer[:400].decode(errors="replace").split()) or "nothing"
