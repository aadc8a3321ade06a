"""The process of one callback: `python -m evomerge.study.following.process RUN POSITION`.

It reads the journal at its own pace. Its standard input says how the session ended, in JSON, or
just ends where the driver was killed. Standard output and error are the callback's log; the one
line about why it gave up goes to the file descriptor that standard output was.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from pathlib import Path

from evomerge.callbacks import build_callback
from evomerge.errors import JournalError
from evomerge.journal import Follower
from evomerge.study.following.config import CallbackConfig
from evomerge.study.following.telling import EndState, Told

POLL_S = 1.0
GAVE_UP = 3


def follow(run: Path, position: int, ending: Ending) -> None:
    """Tell a callback of a run until its session has ended.

    Args:
        run: the run directory.
        position: of the callback in the study file.
        ending: says how the session ended, once it has.

    Raises:
        Exception: whatever the callback raises.
    """
    follower = Follower(run)
    events = follower.new_events()
    opening = events[0].payload
    entry = CallbackConfig.model_validate(opening["study"]["callbacks"][position])
    callback = build_callback(entry.callback, entry.arguments, folder=Path(opening["folder"]))
    place = Place(run, position)
    told = Told(callback, run, place.read())
    is_over = False
    while True:
        try:
            told.tell(events)
        finally:
            place.write(told.seq)
        if is_over:
            told.end(ending.state, ending.reason)
            return
        is_over = ending.wait(POLL_S)  # before reading, so that nothing follows what is read
        events = follower.new_events()


class Place:
    """Remembers the last event that a callback was told of.

    Args:
        run: the run directory.
        position: of the callback in the study file.
    """

    def __init__(self, run: Path, position: int) -> None:
        self._path = folder_of(run) / f"{position}.json"
        self._written = 0

    def read(self) -> int:
        """Return the number of the event; 0 where there is none, or nothing that can be read."""
        try:
            return int(json.loads(self._path.read_text(encoding="utf-8"))["seq"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def write(self, seq: int) -> None:
        """Remember the number of an event."""
        if seq == self._written:
            return
        self._written = seq
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps({"seq": seq}), encoding="utf-8")
        partial.replace(self._path)


class Ending(threading.Event):
    """How the session ended, as the driver writes it to standard input."""

    def __init__(self) -> None:
        super().__init__()
        self.state: EndState = "killed"
        self.reason = ""

    def listen(self) -> None:
        """Wait for it in a thread."""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        text = sys.stdin.read()
        if text:
            said = json.loads(text)
            self.state, self.reason = said["state"], said["reason"]
        self.set()


def folder_of(run: Path) -> Path:
    """Return where callbacks of a run keep their logs and places."""
    return run / "callbacks"


def main() -> None:
    """Run the process of one callback."""
    run, position = Path(sys.argv[1]), int(sys.argv[2])
    verdict = os.dup(1)
    os.dup2(2, 1)  # what libraries print belongs to the log
    ending = Ending()
    ending.listen()
    try:
        follow(run, position, ending)
    except Exception as error:  # noqa: BLE001 a callback may raise anything, and costs no run
        traceback.print_exc()
        first = (str(error).splitlines() or [""])[0]
        text = first if isinstance(error, JournalError) else f"{type(error).__name__}: {first}"
        os.write(verdict, text.encode())
        sys.stderr.flush()
        os._exit(GAVE_UP)  # its library may wait for ever for what it could not send


if __name__ == "__main__":
    main()
