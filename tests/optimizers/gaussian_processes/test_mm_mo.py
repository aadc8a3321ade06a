"""MM-MO: its rounds, presets, elites and screens."""

from __future__ import annotations

import numpy as np
import pytest

from evomerge.errors import ConfigError
from evomerge.optimizers.gaussian_processes.encoding import apart
from evomerge.optimizers.gaussian_processes.proposer import Prospect
from evomerge.testing.problems import continuous_domain
from evomerge.types import Objective
from tests.optimizers.gaussian_processes.searches import mm_mo, search, two_spheres, unit_domain


def percent(genotype):
    """Two accuracies in percent, as costs."""
    first, second = two_spheres(genotype)
    return -80 * np.exp(-first), -80 * np.exp(-second)


SMALL = {"candidates": 4, "batch": 2, "initial": 6}


def test_ten_points_and_rounds_of_five():
    found = search(mm_mo(unit_domain(2), candidates=5, samples=4, raw_samples=8), two_spheres, 20)
    expected = ["mm-mo:start"] * 10
    for number in range(1, 3):
        expected += [f"mm-mo:round{number}"] * 5
    assert [p.origin for p in found] == expected


def test_known_points_belong_to_the_first_batch():
    domain = continuous_domain(2)  # three known points
    optimizer = mm_mo(domain, seeds=True, **SMALL)
    origins = [p.origin for p in search(optimizer, two_spheres, 7)]
    assert origins == [
        *["seed:corner", "seed:ones", "initial"],
        *["mm-mo:start"] * 3,
        "mm-mo:round1",
    ]
    few = mm_mo(domain, seeds=True, **{**SMALL, "initial": 1})
    origins = [p.origin for p in search(few, two_spheres, 4)]
    assert origins == ["seed:corner", "seed:ones", "initial", "mm-mo:round1"]


def test_a_round_waits_for_the_one_before():
    optimizer = mm_mo(unit_domain(2), **SMALL)
    search(optimizer, two_spheres, 6)
    assert optimizer.ask(6) is not None
    assert optimizer.ask(7) is not None
    assert optimizer.ask(8) is None


def test_points_are_drawn_again_where_all_failed():
    optimizer = mm_mo(unit_domain(2), **SMALL)
    found = search(optimizer, lambda _: None, 8)
    assert [p.origin for p in found] == ["mm-mo:start"] * 8
    assert len({p.genotype for p in found}) == 8


@pytest.mark.parametrize("change", [lambda y: 128 * y, lambda y: y - 1024])
def test_units_do_not_matter_unless_as_published(change):
    # acceptance 1
    for preset, same in (("mm-mo", True), ("mm-mo-published", False)):
        options = {**SMALL, "preset": preset, "weak_to_strong": False, "screen": "none"}
        plain = search(mm_mo(unit_domain(2), **options), two_spheres, 8)
        changed = search(
            mm_mo(unit_domain(2), **options),
            lambda x: tuple(float(change(y)) for y in two_spheres(x)),
            8,
        )
        difference = np.abs(
            np.array([p.genotype for p in plain]) - np.array([p.genotype for p in changed])
        ).max()
        assert (difference < 2e-3) == same


def test_as_published_candidates_are_where_the_search_for_them_starts():
    optimizer = mm_mo(unit_domain(2), preset="mm-mo-published", **SMALL)
    search(optimizer, percent, 6)
    fit = optimizer._learner.fit(optimizer._evaluations)
    best, raw = optimizer._proposer.prospect(fit, np.zeros((0, 2)), 1).climb()
    assert (best.worths == 0).all()
    assert (raw.worths == 0).all()
    assert all((raw.points == point).all(axis=1).any() for point in best.points)
    corrected = mm_mo(unit_domain(2), **SMALL)
    search(corrected, percent, 6)
    fit = corrected._learner.fit(corrected._evaluations)
    best, raw = corrected._proposer.prospect(fit, np.zeros((0, 2)), 1).climb()
    assert best.worths[0] > raw.worths.max()


@pytest.mark.parametrize("screen", ["keep_most_uncertain", "keep_most_certain", "none"])
def test_screens_keep_what_they_say(screen):
    optimizer = mm_mo(unit_domain(2), screen=screen, weak_to_strong=False, **SMALL)
    search(optimizer, two_spheres, 6)
    fit = optimizer._learner.fit(optimizer._evaluations)
    optimizer._round = 1
    points = optimizer._candidates(fit)
    _, variances = optimizer._proposer.predict(fit, points)
    order = np.argsort((1 / variances).sum(axis=1))
    kept = {"keep_most_uncertain": order[:2], "keep_most_certain": order[::-1][:2]}
    expected = points[kept.get(screen, np.arange(2))]
    found = [p.genotype for p in search(optimizer_like(screen), two_spheres, 8)][6:]
    np.testing.assert_allclose(np.array(found), expected, atol=1e-12)


def optimizer_like(screen):
    return mm_mo(unit_domain(2), screen=screen, weak_to_strong=False, **SMALL)


def test_candidates_are_crossed_with_the_elites_that_are_named():
    names = (Objective("a", "minimize"), Objective("b", "minimize"))
    runs = {
        elites: search(
            mm_mo(
                unit_domain(2),
                objectives=names,
                elites=None if elites is None else [elites],
                **{**SMALL, "initial": 10},
            ),
            two_spheres,
            12,
        )[10:]
        for elites in (None, "a", "b")
    }
    assert len({tuple(p.genotype for p in run) for run in runs.values()}) == 3


def test_nothing_known_is_evaluated_again():
    domain = unit_domain(2)
    optimizer = mm_mo(domain, **SMALL)
    found = np.array([p.genotype for p in search(optimizer, two_spheres, 12)])
    for index in range(6, 12):
        assert apart(found[index : index + 1], found[:index], 1e-3)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "mmmo"}, "preset: 'mmmo' is unknown; did you mean 'mm-mo'?"),
        ({"batch": 11}, "batch: expected at most candidates (10), got 11"),
        ({"elites": ["a"]}, "elites: there is no objective 'a'"),
        ({"elites": []}, "elites: expected at least one objective"),
        ({"initial": 0}, "initial: expected an integer >= 1"),
        ({"screen": "certain"}, "screen: 'certain' is unknown"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ConfigError) as caught:
        mm_mo(unit_domain(2), **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("n_objectives", [1, 5])
def test_the_published_preset_takes_two_to_four_objectives(n_objectives):
    with pytest.raises(ConfigError, match="two to four objectives"):
        mm_mo(unit_domain(2), n_objectives, preset="mm-mo-published")


def test_of_many_evaluations_one_search_finds_the_candidates(monkeypatch):
    monkeypatch.setattr("evomerge.optimizers.gaussian_processes.mm_mo.MANY", 20)
    optimizer = mm_mo(unit_domain(4), initial=20, candidates=6, batch=3)
    search(optimizer, two_spheres, 20)
    climbs = []
    climb = Prospect.climb

    def counted(self, *args):
        climbs.append(args)
        return climb(self, *args)

    monkeypatch.setattr(Prospect, "climb", counted)
    search(optimizer, two_spheres, 3, first=20)
    assert climbs == [()] * 6  # 20 are not many yet
    climbs.clear()
    proposals = search(optimizer, two_spheres, 9, first=23)
    assert climbs == [(6,)] * 3
    assert len({one.genotype for one in proposals}) == 9
