"""`auto` chooses by the search, says so, and searches as what it chose."""

import importlib.util

import pytest

from evomerge.optimizers import Combination, build_optimizer
from evomerge.optimizers.auto import choose
from evomerge.testing.optimizer_contract import CHECKS, Subject
from evomerge.testing.problems import (
    conditional_domain,
    continuous_domain,
    mixed_domain,
    sequence_domain,
    sphere,
)
from evomerge.testing.simulation import drive, proposals, trials

NUMBERS = continuous_domain(3)


@pytest.mark.parametrize(
    ("domain", "objectives", "budget", "with_botorch", "without"),
    [
        (NUMBERS, 1, 40, "mobo", "cma_es"),
        (NUMBERS, 1, 200, "mobo", "cma_es"),
        (NUMBERS, 1, 201, "cma_es", "cma_es"),
        (NUMBERS, 1, None, "cma_es", "cma_es"),
        (continuous_domain(20), 1, 40, "mobo", "cma_es"),
        (continuous_domain(21), 1, 40, "cma_es", "cma_es"),
        (mixed_domain(), 1, 60, "cat_cma", "cat_cma"),
        (mixed_domain(), 1, 400, "cat_cma", "cat_cma"),
        (sequence_domain(), 2, 40, "nsga2", "nsga2"),
        (NUMBERS, 2, 40, "mobo", "map"),
        (NUMBERS, 2, 20, "mobo", "dirichlet"),  # 10 coefficients and a batch of 15 do not fit
        (continuous_domain(5), 2, 60, "mobo", "map"),
        (continuous_domain(6), 2, 120, "mobo", "dirichlet"),  # where quadratics do not pay
        (NUMBERS, 2, 200, "mobo", "map"),
        (continuous_domain(100), 3, 100, "mobo", "dirichlet"),
        (continuous_domain(101), 3, 100, "dirichlet", "dirichlet"),
        (conditional_domain(), 3, 100, "mobo", "sms_emoa"),
        (conditional_domain(), 3, 1000, "mobo", "sms_emoa"),
        (NUMBERS, 2, 201, "mobo", "dirichlet"),
        (NUMBERS, 2, 1000, "mobo", "dirichlet"),
        (NUMBERS, 5, None, "mobo", "dirichlet"),
        (continuous_domain(120), 2, None, "dirichlet", "dirichlet"),
    ],
)
def test_the_choice(domain, objectives, budget, with_botorch, without):
    for has_botorch, name in ((True, with_botorch), (False, without)):
        choice = choose(domain, objectives, budget, has_botorch=has_botorch)
        assert choice.name == name
        if name in ("map", "dirichlet", "sms_emoa") and budget is not None and budget <= 100:
            assert ("BoTorch is missing" in choice.why) == (not has_botorch)


def test_it_says_what_it_chose_and_searches_as_that():
    domain = continuous_domain(120)
    problem = sphere(domain, 2)
    auto = build_optimizer("auto", domain, 2, 3, {}, budget=500)
    other = build_optimizer("dirichlet", domain, 2, 3, {}, budget=500)
    assert proposals(drive(auto, problem, 40)) == proposals(drive(other, problem, 40))
    assert auto.notes == [
        "auto: dirichlet: 2 objectives, 120 genes, 500 trials, more genes than Gaussian processes "
        "take: long enough to do without a model"
    ]


def test_one_objective_says_why():
    few = build_optimizer("auto", NUMBERS, 1, 3, {}, budget=60)
    assert few.notes == [
        "auto: mobo: one objective, 3 genes, 60 trials: few enough for Gaussian processes"
    ]
    many, missing = (
        choose(domain, 1, 60, has_botorch=has_botorch).why
        for domain, has_botorch in ((continuous_domain(21), True), (NUMBERS, False))
    )
    assert many == "one objective, 21 genes, 60 trials: with so many no Gaussian process was tried"
    assert missing.endswith("60 trials: BoTorch is missing")
    long = build_optimizer("auto", NUMBERS, 1, 3, {}, budget=600)
    other = build_optimizer("cma_es", NUMBERS, 1, 3, {}, budget=600)
    problem = sphere(NUMBERS, 1)
    assert proposals(drive(long, problem, 40)) == proposals(drive(other, problem, 40))


def test_what_items_pay_for_counts_where_trials_are_not_limited_or_more():
    for budget, expected, name in ((None, 90, "map"), (None, 900, "dirichlet"), (80, 900, "map")):
        choice = choose(NUMBERS, 2, budget, has_botorch=False, expected=expected)
        assert choice.name == name
    why = choose(NUMBERS, 2, 900, has_botorch=False, expected=90).why
    assert "about 90 trials by its items" in why
    auto = build_optimizer("auto", NUMBERS, 1, 3, {}, expected=500)
    assert auto.notes[0].startswith("auto: cma_es: one objective, 3 genes, about 500 trials by")


def test_a_search_of_unknown_length_is_not_said_to_be_long():
    why = choose(NUMBERS, 2, None, has_botorch=False).why
    assert why.endswith("BoTorch is missing: taken for a long search; if it is short, give trials")


def test_what_the_chosen_one_says_follows(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    auto = build_optimizer("auto", NUMBERS, 2, 3, {}, budget=40)
    drive(auto, sphere(NUMBERS, 2), 40)
    assert auto.notes[0].startswith("auto: map: 2 objectives, 3 genes, 40 trials, BoTorch is mis")
    assert auto.notes[1].startswith("map: objective 1: 10 coefficients from")


def build(domain, n_objectives, seed):
    return build_optimizer("auto", domain, n_objectives, seed, {})


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, monkeypatch):
    """Whatever is chosen; `mobo` has the same test of its own, which takes longer."""
    monkeypatch.setattr("evomerge.optimizers.auto.has_botorch", lambda: False)
    check(Subject("auto", build, n_objectives=(2, 3), dimensions=(1, 2, 10)))


@pytest.mark.parametrize(("budget", "name"), [(60, "mobo"), (500, "cma_es")])
def test_costs_that_are_combined_are_one_objective(budget, name):
    pytest.importorskip("botorch")
    problem = sphere(NUMBERS, 2)  # optima at 0.3 and 0.7 of every range
    combination = Combination.of(2)
    auto = build_optimizer("auto", NUMBERS, 2, 3, {}, budget=budget, combination=combination)
    assert auto.combination is combination
    assert auto.notes[0].startswith(f"auto: {name}: one objective")
    found = trials(drive(auto, problem, 60))
    best = min(found, key=lambda one: combination.cost(one.costs))
    assert NUMBERS.to_unit(best.genotype) == pytest.approx([0.5] * 3, abs=0.15)
