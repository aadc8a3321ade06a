"""Models in several places, as a study says it: the same search, or one line that says why not."""

import pytest

from evomerge.journal import read_events

ROOM = 60_000
"""Bytes for weights; a model has 81,024, of which its embedding and the largest layer must fit."""


def scores(run):
    return {event.trial: event.content for event in read_events(run) if event.kind == "finished"}


def test_a_model_that_is_partly_on_disk_is_searched_like_any(world):
    assert world.run()[0] == 0
    world.study["workers"] |= {"device": "cpu", "device_memory": ROOM, "offload": "disk"}
    code, out, err = world("check", world.write(), "--estimate")
    assert code == 0, err
    assert "GB of weights on each device, the rest on disk" in out
    assert "  offload " in out
    assert "offloaded weights" in out
    code, _, err = world("run", world.write(), "--out", world.folder / "spread")
    assert code == 0, err
    found, wanted = scores(world.folder / "spread"), scores(world.folder / "run")
    assert found == wanted
    assert len(found) == 12
    recorded = read_events(world.folder / "spread")[0].payload["study"]["workers"]
    assert (recorded["offload"], recorded["device_memory"]) == ("disk", ROOM)
    plain = read_events(world.folder / "run")[0].payload["study"]["workers"]
    assert not {"offload", "device_memory", "gpus_per_worker"} & set(plain)


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        ({"gpus_per_worker": 2}, "gpus_per_worker: 1 x 2 GPUs are asked for and this machine has"),
        ({"gpus_per_worker": 0.5}, "gpus_per_worker: 0.5: Ray shares a GPU between workers"),
        ({"gpus_per_worker": 2, "device": "cpu"}, "gpus_per_worker and device 'cpu'"),
        ({"device": "cpu", "offload": "cpu"}, "offload 'cpu' is where device 'cpu' is already"),
        ({"device_memory": "much"}, "device_memory: 'much': give a size such as 16GB"),
        ({"offload": "elsewhere"}, "workers.offload: expected"),
        ({"device": "cpu", "device_memory": 1000}, "or say offload: disk"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(world, workers, words):
    world.study["workers"] |= workers
    code, out, err = world.run()
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_layer_paths_stay_on_one_device(world):
    world.study["space"] = "depthwise"
    world.study["search"] = {"optimizer": "random"}
    world.study["objectives"].pop("near")
    world.study["workers"] |= {"device": "cpu", "device_memory": 20_000, "offload": "disk"}
    code, _, err = world("check", world.write())
    assert code == 2
    assert "a layer path runs on one device" in err
