"""Schedules of faults, each drawn from its seed, and how they are played."""

from __future__ import annotations

import json
import os
import random
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from evomerge.errors import EvomergeError, JournalError
from evomerge.journal import DATABASE, read_events
from evomerge.study import resume_run, start_run
from evomerge.study import run as run_module
from evomerge.workers import GuardedExecutor, LocalExecutor
from evomerge.workers.cluster import ClusterExecutor, ClusterSpec, ray_cluster
from evomerge.workers.cluster.ray_cluster import RayCluster
from evomerge.workers.cluster.slot import Order
from tests.faults import invariants
from tests.faults.drivers import DONOR, REASONS, STRUCK, arm
from tests.faults.evaluation import AFFLICTIONS, DIARY, PLAN, Afflicted
from tests.faults.machines import on_machines
from tests.study.fakes import config, without_models
from tests.study.rungs.runs import HALVING, RUNGS
from tests.study.test_crash import begun, in_child

MAX_SESSIONS = 12
SAID = "said"
N_TRIALS = 28
PATIENCE = {"budget": {"trials": N_TRIALS, "hours": 5}, "workers": {"retries": 9, "grace_s": 1.0}}
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
CAPACITIES = {"processes": [1, 2, 3], "machines": [1, 2, 4, 8], "ray": [1, 2]}
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
        place: 'processes', the 'machines' of a cluster that is simulated, or a 'ray' of its own.
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
    def drawn(cls, seed, *, on_ray=False):
        draw = random.Random(seed)
        place = "ray" if on_ray else draw.choice(["processes", "machines"])
        ills = [one for one in AFFLICTIONS if place != "processes" or one != "kill_parent"]
        names = [one for one in REASONS if on_ray or one != "lost head"] + ["corrupted row"]
        return cls(
            seed,
            draw.choice(sorted(STUDIES)),
            place,
            draw.choice(CAPACITIES[place]),
            tuple((draw.choice(names), draw.randint(1, 45)) for _ in range(draw.randint(1, 4))),
            {draw.randint(1, 60): draw.choice(ills) for _ in range(draw.randint(0, 4))},
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
        invariants.one_clear_reason(out, verdict, fault, events)
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
    for name in (SAID, STRUCK):
        (folder / name).unlink(missing_ok=True)
    if schedule.place == "ray":  # which is not to be forked
        words = [str(folder), json.dumps([asdict(schedule), fault])]
        code = subprocess.run([sys.executable, "-m", __name__, *words], check=False).returncode
    else:
        _, status = os.waitpid(in_child(lambda: take_part(schedule, folder, fault)), 0)
        code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return "killed"
    assert code == 0, "not an error that is meant for users"
    return (folder / SAID).read_text()


def take_part(schedule, folder, fault):
    """Be the process of a session."""
    arm(*fault)
    try:
        ended = carry_on(schedule, folder)
    except (EvomergeError, KeyboardInterrupt) as error:
        said = str(error)
    else:
        said = ended.state if ended.state == "done" else ended.reason
    (folder / SAID).write_text(said)


def carry_on(schedule, folder):
    """Start the run, or resume it where it has begun."""
    out = folder / "run"

    def executor(study):
        spec = replace(study.evaluator, device="cpu")
        workers = PLACES[schedule.place](spec, folder, schedule.capacity)
        return GuardedExecutor(workers, [folder / DONOR])

    if begun(out):
        return resume_run(out, executor=executor)
    return start_run(study_of(schedule.study), folder, out, executor=executor)


def in_processes(spec, folder, count):
    return LocalExecutor(spec, count=count, timeout_s=TIMEOUT_S, build=Afflicted)


def on_ray(spec, folder, count):
    wanted = ClusterSpec("local", count)
    order = Order(spec, timeout_s=TIMEOUT_S, build=Afflicted)
    cluster = RayCluster(wanted, folder)
    return ClusterExecutor(cluster, wanted, order, beat_s=0.5, silence_s=4.0)


PLACES = {"processes": in_processes, "machines": on_machines, "ray": on_ray}


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
    played, armed = json.loads(sys.argv[2])
    without_models(pytest.MonkeyPatch(), run_module)
    ray_cluster.LOOK_EVERY_S, ray_cluster.HEADLESS_S = 0.5, 3.0
    take_part(Schedule(**played), Path(sys.argv[1]), armed)
