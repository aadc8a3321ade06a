"""The driver's side of callbacks: starts their processes, and ends them in time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from evomerge.study.following.config import CallbackConfig
from evomerge.study.following.process import folder_of
from evomerge.study.following.telling import EndState

FLUSH_S = 30.0
"""How long callbacks have, all of them together, to write the rest when a session has ended."""


@dataclass(slots=True)
class _Follower:
    """One callback's process."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]
    is_late: bool = False


class Followers:
    """The callbacks of a run, each in a process of its own.

    Nothing is sent to them but how the session ended: they read the journal. Whatever goes wrong
    with one is a line for the user, and the end of that one.

    Args:
        run: the run directory, whose journal is opened.
        callbacks: of the study, in order.
        warn: told of what went wrong; called from other threads.
        flush_s: seconds they have to write the rest.
    """

    def __init__(
        self,
        run: Path,
        callbacks: Sequence[CallbackConfig],
        warn: Callable[[str], None],
        *,
        flush_s: float = FLUSH_S,
    ) -> None:
        self._warn = warn
        self._flush_s = flush_s
        self._followers: list[_Follower] = []
        self._watchers: list[threading.Thread] = []
        for position, callback in enumerate(callbacks):
            try:
                self._followers.append(self._start(run, position, callback.callback))
            except OSError as error:
                warn(f"callback '{callback.callback}' cannot be started: {error}")

    def end(self, state: EndState, reason: str) -> None:
        """Say how the session ended, and wait until that is written everywhere, for a while."""
        deadline = time.monotonic() + self._flush_s
        said = json.dumps({"state": state, "reason": reason}).encode()
        try:
            for one in self._followers:
                _say(one.process, said)
            for one in self._followers:
                with suppress(subprocess.TimeoutExpired):
                    one.process.wait(max(0.0, deadline - time.monotonic()))
        finally:
            for one in self._followers:
                if one.process.poll() is None:
                    one.is_late = True
                    _kill(one.process)
            for watcher in self._watchers:
                watcher.join()

    def _start(self, run: Path, position: int, name: str) -> _Follower:
        folder = folder_of(run)
        folder.mkdir(exist_ok=True)
        log = folder / f"{position}.log"
        module = "evomerge.study.following.process"
        with log.open("ab") as file:
            process = subprocess.Popen(  # noqa: S603 our own interpreter and module
                [sys.executable, "-P", "-m", module, str(run), str(position)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,  # a signal meant for the driver must not end it
            )
        follower = _Follower(name, log, process)
        watcher = threading.Thread(target=self._watch, args=(follower,), daemon=True)
        watcher.start()
        self._watchers.append(watcher)
        return follower

    def _watch(self, follower: _Follower) -> None:
        """Wait for a process to end, and say why if that was not to be."""
        with cast(IO[bytes], follower.process.stdout) as pipe:
            verdict = pipe.read().decode(errors="replace")
        code = follower.process.wait()
        if code == 0:
            return
        what = f"gave up, the run goes on: {verdict or f'its process ended with exit code {code}'}"
        if follower.is_late:
            what = f"did not write the rest within {self._flush_s:g} s"
        self._warn(f"callback '{follower.name}' {what}; see {follower.log}")


def _say(process: subprocess.Popen[bytes], said: bytes) -> None:
    if process.stdin is not None:
        with suppress(OSError):  # it has given up, and was told of
            process.stdin.write(said)
        with suppress(OSError):
            process.stdin.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and whatever its library started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
