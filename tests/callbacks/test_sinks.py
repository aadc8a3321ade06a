"""TensorBoard, MLflow and Weights & Biases themselves, read back by their own readers."""

import json
import struct
import time
from dataclasses import replace

import mlflow
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto import wandb_internal_pb2

from evomerge.callbacks import FinishedTrial, RunEnd, RunStart, build_callback
from evomerge.types import Objective

pytestmark = pytest.mark.filterwarnings("ignore")  # they have deprecations of their own

STUDY = {"name": "math and code", "seed": 7, "budget": {"trials": 9, "hours": None}}
TRIALS = [
    FinishedTrial(
        number=number,
        count=number + 1,
        stage="",
        origin="random",
        genes={"weight[math].layers[0:4]": 0.25 * number, "method": "ties"},
        state="estimated" if number == 1 else "completed",
        metrics={"math": 0.5 + number, "code": 0.25},
        failure="",
        rung=None,
        seconds=1.5,
        at=1_800_000_000.0 + number,
        best={"math": 0.5 + number, "code": 0.25},
        front=number + 1,
        hypervolume=None if number == 0 else 0.125 * number,
        failed=0,
    )
    for number in range(3)
]


def start(folder, *, resumed=False):
    objectives = (Objective("math"), Objective("code"))
    return RunStart("0123456789abcdef", "math and code", folder, STUDY, objectives, resumed)


def tell(name, folder, trials, *, resumed=False, state="done", **args):
    callback = build_callback(name, args, folder=folder)
    callback.begin(start(folder, resumed=resumed))
    for trial in trials:
        callback.trial(trial)
    callback.end(RunEnd(state, "budget: 9 trials", len(trials), 0))


def test_the_numbers_of_a_trial():
    assert TRIALS[1].numbers == {
        "trial": 1,
        "failed": 0,
        "estimate/math": 1.5,
        "estimate/code": 0.25,
        "best/math": 1.5,
        "best/code": 0.25,
        "front/size": 2,
        "front/hypervolume": 0.125,
        "seconds": 1.5,
        "gene/weight[math].layers[0:4]": 0.25,
    }
    failed = replace(TRIALS[0], state="failed", metrics={}, best={}, seconds=0.0, genes={})
    assert failed.numbers == {"trial": 0, "failed": 0}


def test_tensorboard_shows_a_resumed_run_as_one_curve(tmp_path):
    tell("tensorboard", tmp_path, TRIALS[:2], state="interrupted")
    tell("tensorboard", tmp_path, TRIALS[2:], resumed=True)
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    curve = [(one.step, one.wall_time, one.value) for one in found.Scalars("best/math")]
    assert curve == [(one.count, one.at, one.best["math"]) for one in TRIALS]
    assert [one.step for one in found.Scalars("score/math")] == [1, 3]
    assert [one.step for one in found.Scalars("estimate/math")] == [2]
    assert [one.value for one in found.Scalars("front/hypervolume")] == [0.125, 0.25]
    text = found.Tensors("study/text_summary")
    assert len(text) == 1
    assert json.loads(text[0].tensor_proto.string_val[0].decode().strip("`json\n")) == STUDY


def test_mlflow_has_one_run_over_the_sessions(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tell("mlflow", tmp_path, TRIALS[:2], state="interrupted", tracking_uri=uri)
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("math and code").experiment_id
    assert client.search_runs([experiment])[0].info.status == "KILLED"
    tell("mlflow", tmp_path, TRIALS[2:], resumed=True, tracking_uri=uri)
    (run,) = client.search_runs([experiment])
    assert run.info.status == "FINISHED"
    assert run.data.params == {"name": "math and code", "seed": "7", "budget.trials": "9"}
    assert run.data.tags["evomerge.reason"] == "budget: 9 trials"
    history = client.get_metric_history(run.info.run_id, "best/math")
    assert [(one.step, one.value) for one in history] == [(1, 0.5), (2, 1.5), (3, 2.5)]
    assert [one.timestamp for one in history] == [int(one.at * 1000) for one in TRIALS]
    genes = client.get_metric_history(run.info.run_id, "gene/weight_math_.layers_0:4_")
    assert [one.value for one in genes] == [0.0, 0.25, 0.5]


def records(folder, seconds=60):
    """What an offline run has written, once its process, which goes on by itself, is done."""
    deadline = time.monotonic() + seconds
    while True:
        found = [
            record
            for path in (folder / "wandb").glob("offline-run-*/*.wandb")
            for record in records_in(path.read_bytes())
        ]
        done = any(one.WhichOneof("record_type") == "exit" for one in found)
        if done or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def records_in(data):
    """A LevelDB log of protocol buffers, in one block; nothing of one that is not whole yet."""
    assert data[:4] == b":W&B"[: len(data)]
    assert len(data) < 32768
    place = 7
    while place + 7 <= len(data):
        _, length, kind = struct.unpack_from("<IHB", data, place)
        assert kind == 1  # a whole record
        if len(data) < place + 7 + length:
            return
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data[place + 7 : place + 7 + length])
        yield record
        place += 7 + length


def test_wandb_gets_the_numbers_of_each_trial(tmp_path):
    tell("wandb", tmp_path, TRIALS, mode="offline")
    found = records(tmp_path)
    (run,) = [one.run for one in found if one.WhichOneof("record_type") == "run"][:1]
    assert (run.run_id, run.project, run.display_name) == (
        "0123456789abcdef",
        "math and code",
        "math and code",
    )
    rows = [
        {
            "/".join(item.nested_key) or item.key: json.loads(item.value_json)
            for item in one.history.item
        }
        for one in found
        if one.WhichOneof("record_type") == "history"
    ]
    assert [row["finished"] for row in rows] == [1, 2, 3]
    assert [row["best/math"] for row in rows] == [0.5, 1.5, 2.5]
    exits = [one.exit.exit_code for one in found if one.WhichOneof("record_type") == "exit"]
    assert exits == [0]
