"""The scripts themselves, outside an image, with stand-ins for the schedulers' own programs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evomerge.journal import read_events
from tests.cli.conftest import models, world  # noqa: F401
from tests.cli.test_killed import finished

ROOT = Path(__file__).parents[2]
RECORD = '#!/bin/sh\necho "$(basename "$0") $*" >> "$CALLS"\n'


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A PATH with our command and stand-ins that write down how they were called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    ours = f'#!/bin/sh\nexec {sys.executable} -m evomerge.cli.app "$@"\n'
    scripts = {"evomerge": ours, "scontrol": RECORD, "srun": RECORD, "ray": RECORD}
    for name, content in scripts.items():
        (programs / name).write_text(content)
        (programs / name).chmod(0o755)
    calls = tmp_path / "calls"
    calls.touch()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("CALLS", str(calls))
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    return calls


def replace(machine, name, content):
    (machine.parent / "bin" / name).write_text(content)


def submit(study, run, **environment):
    return subprocess.Popen(
        [ROOT / "docker" / "slurm.sh", study, run],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_a_preempted_job_goes_back_to_the_queue_and_finishes_there(machine, world):  # noqa: F811
    (world.folder / "slow.py").write_text(
        "import time\n\n\ndef score(model):\n    time.sleep(0.1)\n    return 0.5\n"
    )
    world.study["objectives"] = {"slow": {"fitness": "./slow.py:score"}}
    world.study["budget"] = {"trials": 40}
    world.study["search"] = {"optimizer": "random"}
    world.study["front"] = {"size": 1, "baselines": ["base"]}
    study, run = world.write(), world.folder / "run"
    job = submit(study, run)
    deadline = time.monotonic() + 120
    while len(finished(run)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    job.send_signal(signal.SIGUSR1)
    job.send_signal(signal.SIGTERM)  # as preemption does too: it must not stop what is in flight
    said, _ = job.communicate(timeout=60)
    assert job.returncode == 0, said
    assert "ended with 130; back to the queue" in said
    assert machine.read_text() == "scontrol requeue 42\n"
    events = read_events(run)
    assert sum(event.kind == "asked" for event in events) == len(finished(run)) < 40

    machine.write_text("")
    again = submit(study, run, SLURM_RESTART_COUNT="1")
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert "slurm.sh: done" in said
    assert machine.read_text() == ""
    assert sorted(event.trial for event in finished(run)) == list(range(40))
    assert sum(event.kind == "opened" for event in read_events(run)) == 1


@pytest.mark.parametrize(
    ("code", "restarts", "calls", "ends"),
    [
        (0, "3", "", 0),
        (1, "0", "", 1),
        (2, "0", "", 2),
        (130, "0", "scontrol requeue 42\n", 0),
        (137, "49", "scontrol requeue 42\n", 0),
        (137, "50", "", 137),
    ],
)
def test_what_the_job_does_with_each_exit_code(machine, code, restarts, calls, ends):
    replace(machine, "evomerge", f"#!/bin/sh\nexit {code}\n")
    job = submit("study.yaml", "run", SLURM_RESTART_COUNT=restarts)
    job.communicate(timeout=30)
    assert job.returncode == ends
    assert machine.read_text() == calls


def test_a_job_that_is_not_requeued_says_how_to_go_on(machine):
    replace(machine, "evomerge", "#!/bin/sh\nexit 130\n")
    replace(machine, "scontrol", "#!/bin/sh\nexit 1\n")
    job = submit("study.yaml", "run")
    said, _ = job.communicate(timeout=30)
    assert job.returncode == 130
    assert "continue with: sbatch slurm.sh study.yaml run" in said


def test_several_nodes_become_a_ray_cluster(machine):
    replace(machine, "evomerge", RECORD)
    replace(machine, "hostname", "#!/bin/sh\necho first\n")
    (machine.parent / "bin" / "hostname").chmod(0o755)
    job = submit("study.yaml", "run", SLURM_JOB_NUM_NODES="4")
    job.communicate(timeout=30)
    assert job.returncode == 0
    head, *others = machine.read_text().splitlines()
    assert head.startswith("ray start --head --port=6379")
    assert set(others) == {
        "srun --nodes=3 --exclude=first --ntasks-per-node=1 ray start --address=first:6379 "
        "--disable-usage-stats --block",
        "evomerge run study.yaml --out run --or-resume",
    }


def test_a_search_joins_the_cluster_first(machine):
    replace(
        machine, "evomerge", RECORD + 'echo "address ${RAY_ADDRESS-none}" >> "$CALLS"\nexit 130\n'
    )
    script = ROOT / "docker" / "on-ray.sh"
    environment = {**os.environ, "RAY_HEAD": "head:6379", "RAY_ADDRESS": "elsewhere:1"}
    done = subprocess.run([script, "run", "a b.yaml", "--or-resume"], env=environment, check=False)
    assert done.returncode == 130
    assert machine.read_text().splitlines() == [
        "ray start --address=head:6379 --num-cpus=0 --num-gpus=0 --disable-usage-stats",
        "evomerge run a b.yaml --or-resume",
        "address none",
    ]
    machine.write_text("")
    replace(machine, "ray", RECORD + "exit 1\n")
    done = subprocess.run([script, "run"], env=environment, check=False)
    assert done.returncode == 75  # not 1: nothing has failed yet
    assert machine.read_text().count("\n") == 1
    machine.write_text("")
    environment.pop("RAY_HEAD")
    done = subprocess.run(
        [script, "run"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "set it to host:port" in done.stderr
    assert machine.read_text() == ""


def on_ray(*words, **environment):
    return subprocess.Popen(
        [ROOT / "docker" / "on-ray.sh", *words],
        env={**os.environ, "RAY_HEAD": "head:6379", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(
    ("code", "restarts", "calls"),
    [(0, "3", 1), (1, "3", 1), (2, "3", 1), (130, "3", 4), (137, "3", 4), (137, "0", 1)],
)
def test_a_search_that_was_killed_is_started_again_and_one_that_failed_is_not(
    machine, code, restarts, calls
):
    replace(machine, "evomerge", RECORD + f"exit {code}\n")
    job = on_ray("run", "study.yaml", "--or-resume", RESTARTS=restarts)
    said, _ = job.communicate(timeout=30)
    assert job.returncode == code
    joined, *searches = machine.read_text().splitlines()
    assert joined.startswith("ray start")
    assert searches == ["evomerge run study.yaml --or-resume"] * calls
    assert said.count(f"ended with {code}; started again") == calls - 1


def test_a_search_that_ends_well_the_second_time_is_done(machine):
    again = 'if [ "$(grep -c ^evomerge "$CALLS")" -eq 1 ]; then kill -KILL $$; fi\n'
    replace(machine, "evomerge", RECORD + again)
    job = on_ray("run", "study.yaml", RESTARTS="5")
    said, _ = job.communicate(timeout=30)
    assert job.returncode == 0
    assert machine.read_text().count("evomerge run") == 2
    assert "on-ray: evomerge ended with 137; started again, 1 of 5" in said


def test_a_search_that_is_asked_to_stop_drains_and_stays_stopped(machine):
    drains = "trap 'echo drained >> \"$CALLS\"; exit 130' TERM\nwhile :; do sleep 0.05; done\n"
    replace(machine, "evomerge", RECORD + drains)
    job = on_ray("run", "study.yaml", RESTARTS="5")
    deadline = time.monotonic() + 30
    while "evomerge" not in machine.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)  # the stand-in sets its trap
    job.send_signal(signal.SIGTERM)
    job.communicate(timeout=30)
    assert job.returncode == 130
    assert machine.read_text().splitlines()[1:] == ["evomerge run study.yaml", "drained"]
