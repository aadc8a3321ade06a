"""Settings: what depends on domain and objectives, importances, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from evomerge.errors import ConfigError
from evomerge.optimizers.gaussian_processes.settings import (
    importance_scales,
    importances,
    settings_of,
)
from evomerge.testing.problems import continuous_domain

DEFAULT = {
    "length_scales": "auto",
    "importance": None,
    "max_points": 300,
    "samples": None,
    "raw_samples": 128,
    "restarts": 4,
}


def settings(n_genes=5, n_objectives=2, **options):
    return settings_of(continuous_domain(n_genes), n_objectives, **{**DEFAULT, **options})


@pytest.mark.parametrize("n_genes", [1, 20, 96])
def test_length_scales_are_learnt_unless_something_is_said_of_them(n_genes):
    assert settings(n_genes).length_scales == "ard"
    assert settings(n_genes, length_scales="saas").length_scales == "saas"


def test_importance_chooses_importance():
    chosen = settings(4, importance={"x": 0.1, "x2": 1.0})
    assert chosen.length_scales == "importance"
    assert chosen.scales.argmin() == 2


def test_fewer_samples_where_fronts_have_more_boxes():
    assert [settings(n_objectives=m).samples for m in (1, 2, 3, 4, 5)] == [64, 64, 32, 16, 64]
    assert settings(n_objectives=3, samples=8).samples == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length_scales": "sass"}, "length_scales: 'sass' is unknown; did you mean 'saas'?"),
        ({"length_scales": "importance"}, "importance: length_scales: importance needs one"),
        ({"length_scales": "saas", "importance": {"x": 1}}, "importance: goes with"),
        ({"importance": {"y": 1.0}}, "importance: no gene starts with 'y'"),
        ({"importance": {"x": -1.0}}, "importance.x: expected a number of at least 0"),
        ({"samples": 1}, "samples: expected an integer >= 2"),
        ({"raw_samples": 4, "restarts": 8}, "restarts: expected at most raw_samples (4), got 8"),
        ({"max_points": 3}, "max_points: expected an integer >= 10"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ConfigError) as caught:
        settings(**options)
    assert message in str(caught.value)


def test_the_longest_fitting_key_counts():
    names = ["weight[a]", "weight[b]", "density[a]"]
    found = importances(names, {"weight": 0.5, "weight[b]": 1.0})
    assert found.tolist() == [0.5, 1.0, 0.0]


def test_scales_by_rank():
    scales = importance_scales(np.arange(20, 0, -1.0))
    assert scales.tolist() == [0.5] * 3 + [1.0] * 5 + [2.0] * 6 + [5.0] * 6
    shuffled = np.random.default_rng(0).permutation(20)
    np.testing.assert_array_equal(
        importance_scales(np.arange(20, 0, -1.0)[shuffled]), scales[shuffled]
    )


def test_ties_share_the_middle_of_their_ranks():
    assert importance_scales(np.ones(7)).tolist() == [2.0] * 7
    assert importance_scales(np.array([1.0, 0.0, 0.0, 0.0])).tolist() == [0.5, 2.0, 2.0, 2.0]
