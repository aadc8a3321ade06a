"""Importance of genes: against scipy, planted effects, and genes that do nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from evomerge.report.importance import LEAST_TRIALS, gene_effects


def effects(columns, scores, seed=0):
    names = list(columns)
    genotypes = [tuple(row) for row in zip(*columns.values(), strict=True)]
    return {one.gene: one for one in gene_effects(names, genotypes, np.array(scores), seed)}


def test_share_is_that_of_kruskal_and_wallis_with_ties():
    rng = np.random.default_rng(1)
    kinds = rng.choice(["x", "y", "z"], 60)
    scores = np.round(rng.random(60) + 0.4 * (kinds == "y"), 1)  # many ties
    found = effects({"kind": kinds.tolist()}, scores)["kind"]
    h = stats.kruskal(*(scores[kinds == kind] for kind in "xyz")).statistic
    assert found.share == pytest.approx((h - 2) / (60 - 3))
    assert found.direction is None
    assert found.low < found.share < found.high
    crossing = stats.chi2.isf(0.05, 2)
    assert found.chance == pytest.approx((crossing - 2) / (60 - 3))


def test_a_best_value_in_the_middle_is_seen_though_no_correlation_is():
    rng = np.random.default_rng(2)
    middle, rising, idle = rng.random((3, 200))
    scores = -((middle - 0.5) ** 2) + 0.05 * rising + 0.01 * rng.normal(size=200)
    found = effects(
        {"idle": idle.tolist(), "middle": middle.tolist(), "rising": rising.tolist()}, scores
    )
    assert next(iter(found)) == "middle"
    assert found["middle"].low > found["middle"].chance
    assert abs(found["middle"].direction) < 0.2
    assert found["rising"].direction == pytest.approx(stats.spearmanr(rising, scores).statistic)


def test_genes_that_do_nothing_pass_chance_in_five_of_a_hundred_cases():
    rng = np.random.default_rng(3)
    columns = {f"g{k}": rng.random(100).tolist() for k in range(200)}
    found = effects(columns, rng.random(100))
    passed = sum(one.share > one.chance for one in found.values())
    assert stats.binomtest(passed, len(found), 0.05).pvalue > 0.001
    assert np.mean([one.share for one in found.values()]) == pytest.approx(0.0, abs=0.01)
    assert np.mean([one.low <= 0 <= one.high for one in found.values()]) > 0.9


def test_intervals_of_halves_hold_the_share_of_further_trials():
    held = []
    for seed in range(40):
        rng = np.random.default_rng(seed)

        def draw(n, rng=rng):
            gene = rng.random(n)
            return effects({"gene": gene.tolist()}, gene + 0.5 * rng.normal(size=n))["gene"]

        found, far = draw(120), draw(6000)
        held.append(found.low <= far.share <= found.high)
    assert np.mean(held) >= 0.85


def test_too_few_trials_equal_scores_and_fixed_genes_tell_nothing():
    rng = np.random.default_rng(4)
    values = rng.random(LEAST_TRIALS).tolist()
    assert effects({"gene": values[:-1]}, values[:-1]) == {}
    assert effects({"gene": values}, [0.5] * LEAST_TRIALS) == {}
    assert list(effects({"gene": values, "fixed": [1.0] * LEAST_TRIALS}, values)) == ["gene"]
    assert effects({"gene": values}, values)["gene"].share == pytest.approx(1.0, abs=0.15)


def test_the_seed_decides_the_intervals():
    rng = np.random.default_rng(5)
    values, scores = rng.random((2, 50))
    first = effects({"gene": values.tolist()}, scores, seed=1)
    assert first == effects({"gene": values.tolist()}, scores, seed=1)
    assert first != effects({"gene": values.tolist()}, scores, seed=2)
