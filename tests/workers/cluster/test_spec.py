import pytest

from evomerge.errors import UserError
from evomerge.workers.cluster import ClusterSpec, Node
from evomerge.workers.cluster.ray_connection import with_variables

SMALL = Node("s", "small", {"CPU": 4.0, "memory": 16e9}, {"market": "spot"})
LARGE = Node("l", "large", {"CPU": 64.0, "GPU": 8.0, "memory": 512e9}, {"market": "owned"})


@pytest.mark.parametrize(
    ("options", "room"),
    [
        ({"cpus": 1}, 68),
        ({"cpus": 0.5}, 136),
        ({"cpus": 0.1}, 680),
        ({"cpus": 1, "gpus": 1}, 8),
        ({"cpus": 1, "gpus": 0.25}, 32),
        ({"cpus": 1, "gpus": 2}, 4),
        ({"cpus": 1, "memory": 10 * 10**9}, 1 + 51),
        ({"cpus": 1, "labels": {"market": "spot"}}, 4),
        ({"cpus": 1, "labels": {"market": "in(spot,owned)"}}, 68),
        ({"cpus": 128}, 0),
    ],
)
def test_room_is_what_every_node_holds_of_the_scarcest(options, room):
    assert ClusterSpec("auto", 4, **options).room([SMALL, LARGE]) == room


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            ClusterSpec("auto", 1, cpus=1, gpus=16),
            "no node of the cluster can hold one of 1 CPU, 16 GPUs; its nodes have "
            "4 CPUs, 16.0 GB; 64 CPUs, 8 GPUs, 512.0 GB",
        ),
        (ClusterSpec("auto", 1, device="auto"), "workers.gpus_per_worker: there are GPUs"),
        (
            ClusterSpec("auto", 1, device="cpu", labels={"market": "rented"}),
            "one of 1 CPU on nodes with market: rented",
        ),
    ],
)
def test_what_cannot_be_placed_is_refused(spec, words):
    with pytest.raises(UserError) as error:
        spec.require_room([SMALL, LARGE])
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_one_machine_must_hold_all_workers_and_a_cluster_one():
    with pytest.raises(UserError, match="5 of 1 CPU do not fit on this machine"):
        ClusterSpec("local", 5).require_room([SMALL])
    ClusterSpec("local", 4).require_room([SMALL])
    ClusterSpec("auto", 500).require_room([SMALL])


def test_nodes_that_are_started_on_demand_need_not_be_there():
    with pytest.raises(UserError):
        ClusterSpec("auto", 5, gpus=1).require_room([])
    spec = ClusterSpec("auto", 5, gpus=1, on_demand=True)
    spec.require_room([])
    assert spec.room([]) == 0


def test_what_workers_need_to_know_in_secret_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("JUDGE", "a-secret")
    given = {"working_dir": ".", "env_vars": {"KEY": "${JUDGE}", "OTHER": "as it is"}}
    found = with_variables(given)
    assert found == {"working_dir": ".", "env_vars": {"KEY": "a-secret", "OTHER": "as it is"}}
    assert given["env_vars"]["KEY"] == "${JUDGE}"  # what is recorded
    monkeypatch.delenv("JUDGE")
    with pytest.raises(UserError, match="no variable JUDGE"):
        with_variables(given)
