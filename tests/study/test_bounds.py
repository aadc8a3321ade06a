"""What optimizers are told of an objective: bounds, and how many items a score is the mean of."""

from pathlib import Path

import pytest

from evomerge import zoo
from evomerge.errors import ConfigError, FitnessError
from evomerge.fitness import check_fitness
from evomerge.study import load_study, prepare

STUDY = zoo.path() / "study.yaml"


def objectives(*overrides):
    return prepare(load_study(STUDY, overrides), zoo.path()).objectives


def test_a_fitness_declares_bounds_and_the_study_counts_items():
    assert {(one.bounds, one.n_items) for one in objectives()} == {((0.0, 1.0), 128)}
    first, *others = objectives("objectives.sort_up.limit=40", "objectives.sort_up.bounds=[0,2]")
    assert (first.bounds, first.n_items) == ((0.0, 2.0), 40)
    assert {one.n_items for one in others} == {128}


def test_scores_on_changing_batches_are_means_of_nothing_fixed():
    config = load_study(
        STUDY,
        [
            "search={optimizer: random}",
            "batches={items: 32, trials: 8}",
            *(f"objectives.{name}.validation=32" for name in ("sort_up", "flip", "count_bits")),
        ],
    )
    assert {one.n_items for one in prepare(config, zoo.path()).objectives} == {None}


@pytest.mark.parametrize("bounds", ["[1, 0]", "[0.5, 0.5]"])
def test_bounds_without_room_are_refused(bounds):
    with pytest.raises(ConfigError, match=r"bounds must be \[least, greatest\]"):
        load_study(STUDY, [f"objectives.flip.bounds={bounds}"])


def test_a_fitness_with_wrong_bounds_is_refused(tmp_path: Path):
    (tmp_path / "own.py").write_text(
        "def score(model):\n    return 0.5\n\n\nscore.bounds = (1, 0)\n"
    )
    with pytest.raises(FitnessError, match=r"bounds must be \(least, greatest\), got \(1, 0\)"):
        check_fitness("./own.py:score", {}, folder=tmp_path)
    (tmp_path / "other.py").write_text("def score(model):\n    return 0\n\n\nscore.bounds = 'ab'\n")
    with pytest.raises(FitnessError, match="None for no limit"):
        check_fitness("./other.py:score", {}, folder=tmp_path)


def test_bounds_belong_to_the_metric_that_the_fitness_optimises_by_itself(tmp_path: Path):
    (tmp_path / "own.py").write_text(
        "def score(model):\n    return {'a': 0.5, 'b': 7.0}\n\n\n"
        "score.bounds = (0, 1)\nscore.metric = 'a'\n"
    )
    spec = check_fitness("./own.py:score", {}, metric="a", folder=tmp_path)
    assert spec.bounds == (0, 1)
    other = check_fitness("./own.py:score", {}, metric="b", folder=tmp_path)
    assert other.bounds == (None, None)
