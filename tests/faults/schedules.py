"""Schedules of faults, each drawn from its seed, and how they are played."""

from __future__ import annotations

import json
import os
import random
import re
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from evomerge.errors import EvomergeError, JournalError
from evomerge.journal import DATABASE, read_events
from evomerge.study import resume_run, start_run
from evomerge.workers import GuardedExecutor, LocalExecutor
from tests.faults import invariants
from tests.faults.drivers import DONOR, REASONS, arm
from tests.faults.evaluation import DIARY, PLAN, Afflicted
from tests.faults.machines import on_machines
from tests.study.fakes import config
from tests.study.rungs.runs import HALVING, RUNGS
from tests.study.test_crash import begun, in_child

MAX_SESSIONS = 12
PATIENCE = {"budget": {"trials": 28, "hours": 5}, "workers": {"retries": 9, "grace_s": 1.0}}
SYNCHRONOUS = {
    "nsga2": {},
    "cma_es": {"search": {"optimizer": "cma_es", "scalarize": "mean"}},
    "sobol": {"search": {"optimizer": "sobol"}},
    "halving": {**RUNGS, **HALVING},
}
"""Studies that find the same however long each evaluation takes."""

STUDIES = SYNCHRONOUS | {
    "dirichlet": {"search": {"optimizer": "dirichlet"}},
    "moead": {"search": {"optimizer": "moead"}},
    "sms_emoa": {"search": {"optimizer": "sms_emoa", "population": 8}},
    "asynchronous halving": RUNGS,
}
TIMEOUT_S = 2.0
CORRUPTIONS = (
    "UPDATE event SET payload = payload || ' ' WHERE seq = ?",
    "UPDATE event SET timing = '{' WHERE seq = ?",
    "UPDATE event SET trial = 77 WHERE seq = ?",
    "DELETE FROM event WHERE seq = ?",
)


@dataclass(frozen=True)
class Schedule:
    """What is searched, where, and what goes wrong.

    Attributes:
        seed: it was drawn from.
        study: a name of `STUDIES`.
        place: 'processes', or the 'machines' of a cluster.
        capacity: how many workers.
        faults: of the driver, session by session, and the event at which each strikes;
            'corrupted row' happens to the journal between two sessions.
        afflictions: of workers, by the number of the evaluation.
    """

    seed: int
    study: str
    place: str
    capacity: int
    faults: tuple[tuple[str, int], ...]
    afflictions: dict[int, str]

    @classmethod
    def drawn(cls, seed):
        draw = random.Random(seed)
        names = [*REASONS, "corrupted row"]
        ills = ["kill", "freeze", "hang", "run_out_of_memory", "break_device"]
        place = draw.choice(["processes", "machines"])
        if place == "machines":
            ills.append("kill_parent")
        return cls(
            seed,
            draw.choice(sorted(STUDIES)),
            place,
            draw.choice([1, 2, 3] if place == "processes" else [1, 2, 4, 8]),
            tuple((draw.choice(names), draw.randint(1, 45)) for _ in range(draw.randint(1, 4))),
            {draw.randint(0, 60): draw.choice(ills) for _ in range(draw.randint(0, 4))},
        )


def study_of(name):
    return config(**{**STUDIES[name], **PATIENCE})


def play(schedule, folder):
    """Play a schedule to its end, holding it against the invariants; returns the journal."""
    out = folder / "run"
    (folder / PLAN).write_text(json.dumps(schedule.afflictions))
    draw = random.Random(schedule.seed)
    faults = [*schedule.faults, *[("none", 0)] * MAX_SESSIONS]
    for fault in faults:
        (folder / DONOR).write_bytes(b"a model")
        if fault[0] == "corrupted row":
            corrupt(out, draw)
            continue
        before = read_events(out) if begun(out) else []
        n_evaluated = len(evaluated(folder))
        verdict = session(schedule, folder, fault)
        events = read_events(out) if begun(out) else []
        invariants.nothing_is_lost(before, events)
        invariants.nothing_is_done_again(before, evaluated(folder)[n_evaluated:])
        invariants.one_clear_reason(out, verdict, fault)
        if verdict == "done":
            break
    else:
        raise AssertionError("the run never ended")
    invariants.nothing_is_doubled(events)
    invariants.it_replays(out)
    if schedule.study in SYNCHRONOUS:
        invariants.the_same_was_found(events, undisturbed(schedule.study))
    return events


def session(schedule, folder, fault):
    """Run one session in a process of its own; returns how it ended, in a line."""
    said = folder / "said"
    said.unlink(missing_ok=True)

    def body():
        arm(*fault)
        try:
            ended = carry_on(schedule, folder)
        except (EvomergeError, KeyboardInterrupt) as error:
            said.write_text(str(error))
        else:
            said.write_text(ended.state if ended.state == "done" else ended.reason)

    _, status = os.waitpid(in_child(body), 0)
    if os.WIFSIGNALED(status):
        return "killed"
    assert os.WEXITSTATUS(status) == 0, "not an error that is meant for users"
    return said.read_text()


def carry_on(schedule, folder):
    """Start the run, or resume it where it has begun."""
    out = folder / "run"

    def executor(study):
        spec = replace(study.evaluator, device="cpu")
        if schedule.place == "machines":
            workers = on_machines(spec, folder, schedule.capacity)
        else:
            workers = LocalExecutor(
                spec, count=schedule.capacity, timeout_s=TIMEOUT_S, build=Afflicted
            )
        return GuardedExecutor(workers, [folder / DONOR])

    if begun(out):
        return resume_run(out, executor=executor)
    return start_run(study_of(schedule.study), folder, out, executor=executor)


def evaluated(folder):
    """The evaluations so far: job, split, attempt."""
    diary = folder / DIARY
    return [tuple(line.split("/")) for line in diary.read_text().split()] if diary.exists() else []


def corrupt(out, draw):
    """Damage an event, and mend the journal as the message says."""
    n_events = len(read_events(out)) if begun(out) else 0
    if n_events < 3:
        return
    row = draw.randint(2, n_events - 1)
    with closing(sqlite3.connect(out / DATABASE)) as database, database:
        database.execute(draw.choice(CORRUPTIONS), (row,))
    try:
        resume_run(out)
    except JournalError as error:
        (said,) = re.findall(r"deleting the rows of table 'event' with seq >= (\d+)", str(error))
        assert int(said) == row
    else:
        raise AssertionError("the damage was not noticed")
    with closing(sqlite3.connect(out / DATABASE)) as database, database:
        database.execute("DELETE FROM event WHERE seq >= ?", (int(said),))


@cache
def undisturbed(study):
    """The journal of a run of a study that nothing happens to."""
    calm = Schedule(0, study, "machines", 1, (), {})
    with TemporaryDirectory() as name:
        return play_calmly(calm, Path(name))


def play_calmly(schedule, folder):
    (folder / PLAN).write_text("{}")
    (folder / DONOR).write_bytes(b"a model")
    assert carry_on(schedule, folder).state == "done"
    return read_events(folder / "run")


if __name__ == "__main__":
    print(*(Schedule.drawn(int(seed)) for seed in sys.argv[1:]), sep="\n")
