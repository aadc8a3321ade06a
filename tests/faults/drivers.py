"""What befalls a driver, at a moment of its journal; in a process of its own, which it is done to.

Each is armed with a number n and strikes when the n-th event is about to be written.
"""

from __future__ import annotations

import os
import signal
import time

from evomerge.errors import RunDirectoryError
from evomerge.journal import Journal
from tests.study.test_crash import kill_in_write_path

DONOR, STRUCK = "donor.safetensors", "struck"
SLOW_S = 0.02


def strike(at, blow):
    """Let a blow fall, once, before an event is written, and note after how many it fell."""
    append, left = Journal.append, [at]

    def counted(journal, *arguments, **options):
        left[0] -= 1
        if left[0] == 0:
            (journal.folder.parent / STRUCK).write_text(str(len(journal.events)))
            blow(journal)
        return append(journal, *arguments, **options)

    Journal.append = counted


def send(*signals):
    def blow(journal):
        for number in signals:
            os.kill(os.getpid(), number)

    return blow


def fill_disk(journal):
    """No page more; what SQLite says then is what it says of a disk."""
    (pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")


def change_donor(journal):
    """As somebody does who copies another model over the one that is mapped."""
    (journal.folder.parent / DONOR).write_bytes(b"another model")


def remove_donor(journal):
    (journal.folder.parent / DONOR).unlink()


def come_second(journal):
    """Another process may not write meanwhile."""
    try:
        Journal(journal.folder)
    except RunDirectoryError:
        return
    os._exit(70)


def set_clock(by_s):
    def blow(journal):
        tell = time.time
        time.time = lambda: tell() + by_s

    return blow


def lose_head(journal):
    """End all of Ray that runs for this driver, but for its actors, who notice."""
    from ray._private.worker import _global_node  # noqa: PLC0415 an extra

    for processes in _global_node.all_processes.values():
        for one in processes:
            os.kill(one.process.pid, signal.SIGKILL)


def slow_down(at):
    """Storage that takes its time for every event from now on."""
    append, left = Journal.append, [at]

    def slowly(journal, *arguments, **options):
        left[0] -= 1
        if left[0] <= 0:
            time.sleep(SLOW_S)
        return append(journal, *arguments, **options)

    Journal.append = slowly


BLOWS = {
    "kill": send(signal.SIGKILL),
    "terminate": send(signal.SIGTERM),
    "interrupt": send(signal.SIGINT),
    "interrupt twice": send(signal.SIGINT, signal.SIGINT),
    "full disk": fill_disk,
    "changed donor": change_donor,
    "vanished donor": remove_donor,
    "second driver": come_second,
    "clock a day on": set_clock(86_400.0),
    "clock a day back": set_clock(-86_400.0),
    "lost head": lose_head,
}


def arm(fault, at):
    """Prepare this process for a fault; 'none' leaves it in peace."""
    if fault == "kill while writing":
        kill_in_write_path(6 * at)
    elif fault == "slow storage":
        slow_down(at)
    elif fault != "none":
        strike(at, BLOWS[fault])


REASONS = {
    "none": "^done$",
    "kill": "^killed$",
    "kill while writing": "^killed$",
    "terminate": "^interrupted by SIGTERM",
    "interrupt": "^interrupted by SIGINT$",
    "interrupt twice": "^interrupted by SIGINT$",
    "full disk": "free some disk space .* every finished trial is safe$",
    "changed donor": f"/{DONOR} changed while the search went on",
    "vanished donor": f"/{DONOR} went away while the search went on",
    "second driver": "^done$",
    "clock a day on": "^done$",
    "clock a day back": "^done$",
    "slow storage": "^done$",
    "lost head": "does not answer any more .* then resume the run$",
}
"""What a session says, in one line, that met with a fault before it was done."""
