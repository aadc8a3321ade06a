"""Where a search starts: weights and spreads reach the first samples of every optimizer."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from evomerge.errors import SpaceError
from evomerge.optimizers import build_optimizer
from evomerge.optimizers.starting import is_shaped, probabilities, threshold_mean, unit_spread
from evomerge.spaces.domain import Condition, Domain, Gene, Seed
from evomerge.testing.problems import (
    conditional_domain,
    continuous_domain,
    mixed_domain,
    sequence_domain,
)
from evomerge.types import Completed, Trial

P_ON = (0.9, 0.6, 0.1, 0.25)  # the margin of cat_cma for four switches is 0.076
SPREAD = 0.08


def switch_domain(seeds=()):
    genes = []
    for i, on in enumerate(P_ON):
        switch = Gene(
            f"s{i}",
            "categorical",
            initial="on" if on > 0.5 else "off",
            choices=("off", "on"),
            weights=(1 - on, on),
        )
        scale = Gene(
            f"x{i}",
            low=0.4,
            high=1.6,
            initial=1.0,
            spread=SPREAD,
            condition=Condition(2 * i, ("on",)),
        )
        genes += [switch, scale]
    return Domain(tuple(genes), seeds)


CASES = {
    "cat_cma": {"population": 3000},
    "cma_wm": {"population": 3000},
    "cma_es": {"population": 3000},
    "nsga2": {"population": 3000},
    "random": {},
}


@pytest.mark.parametrize("name", CASES)
def test_the_first_samples_follow_weights_and_spreads(name):
    optimizer = build_optimizer(name, switch_domain(), 1, 0, {"seeds": False, **CASES[name]})
    # NSGA-II drops duplicates, of which these four switches alone would have many: scales differ
    sample = [optimizer.ask(number) for number in range(2900)]
    genotypes = [proposal.genotype for proposal in sample if proposal is not None]
    assert len(genotypes) > 2500
    for i, on in enumerate(P_ON):
        share = np.mean([genotype[2 * i] == "on" for genotype in genotypes])
        assert share == pytest.approx(on, abs=5 * math.sqrt(on * (1 - on) / len(genotypes)) + 0.002)
    scales = [genotype[1] for genotype in genotypes if genotype[0] == "on"]
    assert np.mean(scales) == pytest.approx(1.0, abs=0.01)
    assert np.std(scales) == pytest.approx(SPREAD, rel=0.06)


def test_the_empty_choice_is_one_of_the_choices():
    gene = Gene("s", "categorical", choices=("off", "on"), initial="off", empty="-")
    with pytest.raises(SpaceError, match="gene 's': empty '-' is none of its choices"):
        build_optimizer("random", Domain((gene,)), 1, 0, {})


def test_optuna_begins_with_draws():
    pytest.importorskip("optuna")
    drawn = []
    for seed in range(60):
        optimizer = build_optimizer("optuna", switch_domain(), 1, seed, {"seeds": False})
        proposals = [optimizer.ask(number) for number in range(11)]
        assert [p.origin for p in proposals] == ["optuna:start"] * 10 + ["optuna:tpe"]
        drawn += [proposal.genotype for proposal in proposals[:10]]
    shares = [np.mean([genotype[2 * i] == "on" for genotype in drawn]) for i in range(4)]
    assert shares == pytest.approx(P_ON, abs=0.09)


def test_the_kernels_of_como_start_at_draws():
    optimizer = build_optimizer(
        "como_cat_cma", switch_domain(), 2, 0, {"seeds": False, "kernels": 400}
    )
    tables = np.array([kernel.probabilities for kernel in optimizer.kernels])[:, :, 1]
    for column, on in zip(tables.T, P_ON, strict=True):
        assert sorted(set(np.round(column, 9))) == pytest.approx(sorted({on, 1 - on}))
        likely = on if on > 0.5 else 1 - on
        assert np.mean(column > 0.5) == pytest.approx(on, abs=0.12)
        assert np.max(column) == pytest.approx(likely)


@pytest.mark.parametrize("name", ["cat_cma", "cma_wm", "cma_es"])
def test_the_published_start_at_the_published_size(name):
    # 192 slots, donor A's first 32 on with P = 0.977 and all others off
    genes = tuple(
        Gene(
            f"s{i}",
            "categorical",
            initial="on" if i < 32 else "off",
            choices=("off", "on"),
            weights=(0.023, 0.977) if i < 32 else (0.977, 0.023),
        )
        for i in range(192)
    )
    optimizer = build_optimizer(name, Domain(genes), 1, 0, {"seeds": False, "population": 128})
    sample = [optimizer.ask(number).genotype for number in range(128)]
    assert optimizer.ask(128) is None
    hops = np.array([[value == "on" for value in genotype] for genotype in sample])
    assert hops[:, :32].mean() == pytest.approx(0.977, abs=0.01)
    assert hops[:, 32:].mean() == pytest.approx(0.023, abs=0.005)


def test_a_known_point_exchanges_two_weights():
    gene = Gene("g", "categorical", initial="b", choices=tuple("abc"), weights=(1, 7, 2))
    assert probabilities(gene, "b") == pytest.approx((0.1, 0.7, 0.2))
    assert probabilities(gene, "a") == pytest.approx((0.7, 0.1, 0.2))
    assert probabilities(gene, "c") == pytest.approx((0.1, 0.2, 0.7))
    elsewhere = Gene("g", "categorical", initial="a", choices=tuple("abc"), weights=(1, 7, 2))
    assert probabilities(elsewhere, "a") == pytest.approx((0.1, 0.7, 0.2))
    assert probabilities(elsewhere, "b") == pytest.approx((0.1, 0.7, 0.2))


def test_without_weights_half_goes_to_the_choice_of_a_known_point():
    gene = Gene("g", "categorical", initial="a", choices=tuple("abcd"))
    assert probabilities(gene, "a") == (0.25,) * 4
    assert probabilities(gene, "d") == (0.125, 0.125, 0.125, 0.625)


@pytest.mark.parametrize("share", [0.023, 0.5, 0.977])
def test_a_threshold_mean_has_the_published_distance(share):
    gene = Gene("g", "categorical", initial="a", choices=("a", "b"), weights=(1 - share, share))
    mean = threshold_mean(gene, "a", 1 / 6)
    above = 1 - statistics.NormalDist(mean, 1 / 6).cdf(0.5)
    assert above == pytest.approx(share, abs=1e-12)
    assert (mean - 0.5) * 6 == pytest.approx({0.023: -1.995, 0.5: 0, 0.977: 1.995}[share], abs=1e-3)


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0)])
def test_certain_choices_keep_the_mean_inside(weights):
    gene = Gene("g", "categorical", initial="a", choices=("a", "b"), weights=weights)
    assert threshold_mean(gene, "a", 0.3) == weights[1]


def test_spreads_are_shares_of_the_range():
    assert unit_spread(Gene("x", low=-1, high=3, initial=0, spread=0.5)) == 0.125
    assert unit_spread(Gene("x", low=-1, high=3, initial=0)) is None
    log = Gene("x", low=1e-3, high=1e1, initial=0.1, log=True, spread=1e-6)
    slope = (log.to_unit(0.1 + 1e-6) - log.to_unit(0.1)) / 1e-6
    assert unit_spread(log) / 1e-6 == pytest.approx(slope, rel=1e-4)


def test_plain_domains_are_not_shaped():
    plain = [continuous_domain(3), mixed_domain()]
    shaped = [conditional_domain(), conditional_domain("integer"), sequence_domain()]
    assert [is_shaped(domain) for domain in plain + shaped] == [False] * 2 + [True] * 3


@pytest.mark.parametrize("name", ["cat_cma", "cma_wm", "cma_es"])
def test_the_best_known_point_is_where_sampling_starts(name):
    # 'off' initially and by weights; the seed says 'on', so 'on' gets the weight of 'off'
    genes = tuple(
        Gene(f"s{i}", "categorical", initial="off", choices=("off", "on"), weights=(0.9, 0.1))
        for i in range(6)
    )
    domain = Domain(genes, (Seed("ons", ("on",) * 6),))
    shares = {}
    for start in ("best", "initial"):
        optimizer = build_optimizer(name, domain, 1, 0, {"population": 500, "start": start})
        for number, cost in enumerate((0.0, 1.0)):
            genotype = optimizer.ask(number).genotype
            optimizer.tell(Trial(number, genotype, Completed({"c": cost}), (cost,)))
        sample = [optimizer.ask(number).genotype for number in range(2, 502)]
        shares[start] = np.mean([value == "on" for genotype in sample for value in genotype])
    assert shares == pytest.approx({"best": 0.9, "initial": 0.1}, abs=0.03)


def test_seeds_that_are_not_canonical_become_so():
    domain = switch_domain((Seed("s", ("off", 1.3, "on", 1.3, "off", 1.0, "off", 0.7)),))
    for name in ("random", "cat_cma", "cma_es", "nsga2"):
        first = build_optimizer(name, domain, 1, 0, {}).ask(0)
        assert first.origin == "seed:s"
        assert first.genotype == ("off", 1.0, "on", 1.3, "off", 1.0, "off", 1.0)


@pytest.mark.parametrize(
    ("gene", "message"),
    [
        (
            Gene("g", "categorical", initial="a", choices=("a", "b"), weights=(1.0,)),
            "gene 'g': expected 2 weights >= 0, not all 0, got [1.0]",
        ),
        (
            Gene("g", "categorical", initial="a", choices=("a", "b"), weights=(1.0, -0.1)),
            "expected 2 weights",
        ),
        (
            Gene("g", "categorical", initial="a", choices=("a", "b"), weights=(0.0, 0.0)),
            "expected 2 weights",
        ),
        (Gene("g", spread=0.0), "gene 'g': spread must be above 0, got 0.0"),
        (Gene("g", spread=math.nan), "spread must be above 0"),
    ],
)
def test_faulty_weights_and_spreads_are_refused(gene, message):
    for name in ("random", "cat_cma", "cma_wm", "como_cat_cma", "cma_es", "nsga2"):
        with pytest.raises(SpaceError) as error:
            build_optimizer(name, Domain((gene,)), 2 if name == "como_cat_cma" else 1, 0, {})
        assert message in str(error.value)
