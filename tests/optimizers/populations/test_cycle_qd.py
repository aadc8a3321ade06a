"""CycleQD against plain NumPy: collapse, hull, sampling, the cycle, order, failures, replay."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import ConfigError
from evomerge.optimizers.archives import GridArchive
from evomerge.optimizers.populations.cycle_qd import CycleQd
from evomerge.optimizers.populations.drawing import draw_pair
from evomerge.optimizers.populations.elite_sampling import pressures, weights
from evomerge.recipe.lineage import Donor, Gaussian, Lineage, Mix, Spectral
from evomerge.recipe.order import Block, Member, Order
from evomerge.spaces.populations import DenseBreeding, Offspring, VirtualBreeding
from evomerge.spaces.populations.genotypes import is_founder
from evomerge.testing.simulation import Asked, Told, replay
from evomerge.types import Completed, Failed, Objective, Trial

SHAPES = {"first": (12, 8), "second": (7, 10), "norm": (9,)}


def tiny_order():
    blocks = [Block((Member.whole(name, shape),), shape[0]) for name, shape in SHAPES.items()]
    return Order([("all", blocks)])


def virtual(n_donors=3, **fields):
    order = tiny_order()
    mix = Mix(inputs=(Donor(donor=0),), ends=(order.size,), weights=((1.0,),))
    settings = {
        "operator": "linear",
        "angle": "global",
        "granularity": "element",
        "max_random_vectors": 64,
        "products": None,
        **fields,
    }
    return VirtualBreeding(
        [f"donor{k}" for k in range(n_donors)],
        {},
        Lineage(size=order.size, nodes=(mix,)),
        order,
        **settings,
    )


def tasks(n, goal="maximize"):
    return [Objective(f"task{k}", goal) for k in range(n)]


def build(breeding=None, n_tasks=3, seed=0, objectives=None, **options):
    found = tasks(n_tasks) if objectives is None else objectives
    domain = virtual() if breeding is None else breeding
    return CycleQd(domain, len(found), seed, objectives=found, **options)


def trial(number, genotype, scores, objectives):
    if scores is None:
        return Trial(number, genotype, Failed("error", "failed on purpose"), None)
    metrics = {one.name: score for one, score in zip(objectives, scores, strict=True)}
    costs = tuple(one.cost(metrics[one.name]) for one in objectives)
    return Trial(number, genotype, Completed(metrics), costs)


@dataclass
class Bench:
    """Scores individuals by how much of each donor's task vector is in them.

    A synthetic truth: task k is solved by e_k and rewarded by what is mixed in of other donors up
    to a point, plus the random parts of mutations.
    """

    breeding: VirtualBreeding
    n_tasks: int = 3

    def __post_init__(self):
        self.family = self.breeding.family()

    def scores(self, number, genotype):
        self.family.add(number, genotype)
        table = self.family.table(number)
        c = np.zeros(len(self.breeding.donors))
        noise = 0.0
        for one, weight in zip(table.inputs, table.weights[0], strict=True):
            if isinstance(one, Donor):
                c[one.donor] += weight
            elif isinstance(one, Spectral):
                c[one.donor] += 0.5 * weight
                noise += weight * math.sin(12.9898 * one.spectral)
            elif isinstance(one, Gaussian):
                noise += 100 * weight * math.sin(12.9898 * one.gaussian)
            else:
                noise += 0.05 * math.sin(78.233 * one.node)
        reach = np.minimum(np.abs(c), 0.6) / 0.6
        far = np.abs(c).sum() - 1
        found = 0.2 + 0.7 * np.resize(reach, self.n_tasks) - 0.1 * far**2
        return tuple((found + noise * np.cos(np.arange(self.n_tasks))).tolist())


def run(
    search, n_trials, *, workers=1, order_seed=0, failure_rate=0.0, scores=None, objectives=None
):
    """Drive a search; returns the events."""
    objectives = tasks(len(search.tasks.names)) if objectives is None else objectives
    scores = Bench(virtual(), len(objectives)).scores if scores is None else scores
    order = np.random.default_rng(order_seed)
    events, flying, asked = [], [], 0
    while True:
        while len(flying) < workers and asked < n_trials:
            over = search.stop_reason() is not None
            proposal = search.ask(asked)
            events.append(Asked(asked, proposal))
            if proposal is None:
                assert flying or over, "waits for nothing"
                break
            assert not over
            flying.append((asked, proposal, scores(asked, proposal.genotype)))
            asked += 1
        if not flying:
            return events
        number, proposal, found = flying.pop(order.integers(len(flying)))
        failed = order.random() < failure_rate
        events.append(Told(trial(number, proposal.genotype, None if failed else found, objectives)))
        search.tell(events[-1].trial)


def proposed(events):
    return {e.number: e.proposal for e in events if isinstance(e, Asked) and e.proposal}


def told(events):
    return [event.trial for event in events if isinstance(event, Told)]


# ------------------------------------------------------------------------------- collapse and hull


def test_spectral_collapse_equals_the_replay_of_every_step():
    n_generations, rate = 1000, 0.1
    random = np.random.default_rng(7)
    donors = [
        {name: random.standard_normal(shape) for name, shape in SHAPES.items()} for _ in range(3)
    ]
    matrices = [name for name, shape in SHAPES.items() if len(shape) == 2]
    factors = [
        {name: np.linalg.svd(d[name], full_matrices=False) for name in matrices} for d in donors
    ]

    def u(key, name):
        return np.random.default_rng([key, len(name)]).random(min(SHAPES[name]))

    def scaled(donor, name, scale):
        left, sigma, right = factors[donor][name]
        return (left * (scale * sigma)) @ right

    weights_of = {}  # the truth: every individual's tensors, step by step

    def scores(number, genotype):
        if is_founder(genotype):
            weights_of[number] = donors[number]
        else:
            child = Offspring.read(genotype)
            (a, b), (first, second) = child.weights[0], child.parents
            found = {
                name: a * weights_of[first][name] + b * weights_of[second][name] for name in SHAPES
            }
            if child.mutation is not None:
                assert (child.mutation.key, child.mutation.rate) == (number, rate)
                for name in matrices:
                    mutated = scaled(child.mutation.donor, name, u(number, name))
                    found[name] = found[name] + rate * mutated
            weights_of[number] = found
        # larger than the donors', so that the search goes on from its children
        return tuple(float(w) for w in (1 + number / 500, *random.random(2)))

    breeding = virtual()
    search = build(breeding, svd_rate=rate, budget=n_generations + 4, aggregation="none")
    run(search, n_generations + 3, scores=scores)

    living = {one.solution for archive in search.tasks.archives for one in archive.elites()}
    deepest = max(living)
    assert deepest > n_generations - 5
    for number in living:
        table = search.family.table(number)
        assert len(table.ends) == 1
        c = np.zeros(3)
        d = [{name: np.zeros(min(SHAPES[name])) for name in matrices} for _ in range(3)]
        for one, weight in zip(table.inputs, table.weights[0], strict=True):
            if isinstance(one, Donor):
                c[one.donor] = weight
            else:
                for name in matrices:
                    d[one.donor][name] += weight * u(one.spectral, name)
        assert abs(c.sum() - 1) <= 1e-12
        for name in SHAPES:
            if name in matrices:
                parts = [scaled(k, name, c[k] + d[k][name]) for k in range(3)]
            else:
                parts = [c[k] * donors[k][name] for k in range(3)]
            truth = weights_of[number][name]
            assert np.linalg.norm(sum(parts) - truth) <= 1e-12 * np.linalg.norm(truth)
    assert sum(isinstance(one, Spectral) for one in search.family.table(deepest).inputs) > 10


@pytest.mark.parametrize("mix_std", [0.01, 0.2])
def test_without_mutation_everybody_is_in_the_hull_of_the_donors(mix_std):
    breeding = virtual()
    search = build(breeding, mutation="none", mix_std=mix_std, aggregate_every=50)
    events = run(search, 400, workers=3, order_seed=1)
    family = virtual().family()
    combinations = []
    for number, proposal in proposed(events).items():
        family.add(number, proposal.genotype)
        table = family.table(number)
        assert all(isinstance(one, Donor) for one in table.inputs)
        assert abs(table.weights.sum() - 1) <= 1e-12
        assert (table.weights >= 0).all()
        combinations.append(np.pad(table.weights[0], (0, 3 - table.weights.shape[1])))
    assert len({tuple(row) for row in np.round(combinations, 6)}) > 40
    wide = build(breeding, mutation="none", mix_std=3.0)
    mixed = [
        Offspring.read(p.genotype).weights[0]
        for p in proposed(run(wide, 200)).values()
        if not is_founder(p.genotype)
    ]
    assert min(min(row) for row in mixed) < 0, "a wide w must leave the convex hull"
    np.testing.assert_allclose([sum(row) for row in mixed], 1, atol=1e-12)


def test_the_ratio_is_as_narrow_as_the_papers():
    ratios = [
        Offspring.read(p.genotype).weights[0][0]
        for p in proposed(run(build(mutation="none"), 1000)).values()
        if p.origin.startswith("cycle_qd:task")
    ]
    # w1 / (w1 + w2) with w ~ N(1, 0.01^2): to first order 1/2 + (w1 - w2) / 4
    assert abs(np.mean(ratios) - 0.5) < 4 * 0.0036 / math.sqrt(len(ratios))
    assert np.std(ratios) == pytest.approx(0.01 * math.sqrt(2) / 4, rel=0.1)


def test_crossover_by_the_space_uses_its_operator():
    order = tiny_order()
    random = np.random.default_rng(0)
    donors = {f"donor{k}": random.standard_normal(order.size).astype(np.float32) for k in range(2)}
    for crossover, expected in (("linear", 1.0), ("space", math.sqrt(2))):
        breeding = DenseBreeding(donors, order, operator="slerp")
        search = build(breeding, 2, crossover=crossover, mutation="none", mix_std=0)
        for number in range(2):
            genotype = search.ask(number).genotype
            search.tell(trial(number, genotype, (0.5 + number, 1.5 - number), tasks(2)))
        child = Offspring.read(search.ask(2).genotype)
        # almost orthogonal donors: SLERP keeps the norm, so its weights sum to about sqrt(2)
        assert sum(child.weights[0]) == pytest.approx(expected, rel=0.05)


# ------------------------------------------------------------------------------------- sampling


def spread_archive(rows):
    archive = GridArchive(dims=[15, 15], ranges=[(0, 1), (0, 1)])
    for number, (objective, *measures) in enumerate(rows):
        archive.add_single(number, objective, measures)
    return archive


CORNERS = [(0.1, 0.05, 0.1), (0.9, 0.95, 0.9), (0.5, 0.5, 0.5), (0.3, 0.2, 0.7)]


@pytest.mark.parametrize(("sampler", "pressure"), [("elite", 4.096), ("elite-code", 17.576)])
def test_the_pressure_over_three_axes(sampler, pressure):
    archive = spread_archive(CORNERS)
    chances = dict(
        zip(
            [one.solution for one in archive.elites()],
            weights(archive, sampler, 0.5, 0.8),
            strict=True,
        )
    )
    assert chances[1] / chances[0] == pytest.approx(pressure, rel=1e-12)
    assert max(chances.values()) == chances[1]
    assert min(chances.values()) == chances[0]


@pytest.mark.parametrize(("sampler", "most"), [("elite", 0.8), ("elite-code", 1.3)])
def test_weights_by_the_formula(sampler, most):
    archive = spread_archive(CORNERS)
    found = weights(archive, sampler, 0.5, 0.8)
    elites = archive.elites()
    for one, weight in zip(elites, found, strict=True):
        expected = 1.0
        places = [archive.int_to_grid_index(e.index) for e in elites]
        axes = [([e.objective for e in elites], one.objective)]
        for axis in range(2):
            if sampler == "elite":
                axes.append(([e.measures[axis] for e in elites], one.measures[axis]))
            else:
                own = archive.int_to_grid_index(one.index)[axis]
                axes.append(([place[axis] for place in places], own))
        for values, value in axes:
            norm = (value - min(values)) / (max(values) - min(values))
            expected *= 0.5 + norm * (most - 0.5)
        assert weight == pytest.approx(expected, rel=1e-12)


def test_each_axis_spans_the_whole_interval():
    random = np.random.default_rng(0)
    axes = random.standard_normal((30, 4)) * [1, 1e6, 1e-6, 0] + [0, 5, 5, 5]
    found = pressures(axes, 0.5, 0.3)
    np.testing.assert_allclose(found[:, :3].min(axis=0), 0.5)
    np.testing.assert_allclose(found[:, :3].max(axis=0), 0.8)
    assert (found[:, 3] == 1).all()


def test_random_sampling_is_uniform():
    assert (weights(spread_archive(CORNERS), "random", 0.5, 0.8) == 1).all()


def test_pairs_are_drawn_without_replacement():
    chances = np.array([1.0, 4.096, 2.0])
    random = np.random.default_rng(1)
    n = 20000
    counts = Counter(draw_pair(chances, random) for _ in range(n))
    share = chances / chances.sum()
    for first in range(3):
        assert (first, first) not in counts
        for second in {0, 1, 2} - {first}:
            expected = share[first] * share[second] / (1 - share[first])
            error = math.sqrt(expected * (1 - expected) / n)
            assert abs(counts[first, second] / n - expected) < 4.5 * error


# ------------------------------------------------------------------------------------ the cycle


@pytest.mark.parametrize("flip_interval", [1, 4])
def test_parents_come_from_the_archive_of_the_task_in_turn(flip_interval):
    search = build(flip_interval=flip_interval, aggregation="none")
    bench = Bench(virtual())
    bred = 0
    for number in range(150):
        proposal = search.ask(number)
        if not is_founder(proposal.genotype):
            task = bred // flip_interval % 3
            assert proposal.origin == f"cycle_qd:task{task}"
            child = Offspring.read(proposal.genotype)
            first, second = child.parents
            assert first != second
            elites = {one.solution for one in search.tasks.archives[task].elites()}
            assert {first, second} <= elites
            # as many donors as tasks: the mutation is that of the active task's donor
            assert (child.mutation.key, child.mutation.donor) == (number, task)
            bred += 1
        scores = bench.scores(number, proposal.genotype)
        search.tell(trial(number, proposal.genotype, scores, tasks(3)))
        for task, archive in enumerate(search.tasks.archives if number > 1 else ()):
            # offered to every archive: whoever holds the cell is as good or better
            others = [score for place, score in enumerate(scores) if place != task]
            assert archive.retrieve_single(others).objective >= scores[task]
    assert bred == 147


def test_a_lone_elite_is_paired_with_another_founder():
    wide = {f"task{k}": [-100.0, 100.0] for k in range(3)}  # everybody falls into one cell
    search = build(ranges=wide, bins=1, mutation="none", aggregation="none")
    bench = Bench(virtual())
    partners = set()
    for number in range(60):
        proposal = search.ask(number)
        if not is_founder(proposal.genotype):
            assert {len(archive) for archive in search.tasks.archives} == {1}
            elite = search.tasks.archives[(number - 3) % 3].best_elite.solution
            first, second = Offspring.read(proposal.genotype).parents
            assert first == elite
            assert second != elite
            partners.add(second)
        scores = bench.scores(number, proposal.genotype)
        search.tell(trial(number, proposal.genotype, scores, tasks(3)))
    assert partners == {0, 1, 2}


@pytest.mark.parametrize("best", [(0, 1), (1, 0), (3, 3), (2, 0)])
def test_the_mutations_donor_is_the_expert_of_the_task_wherever_it_stands(best):
    """Whatever the order of the donors: who scores best on the active task is its expert."""

    def scores(number, genotype):
        if number < 4:
            return tuple(0.9 if number == best[task] else 0.1 + 0.1 * number for task in range(2))
        return (0.3 + 0.001 * number, 0.4)

    search = build(virtual(n_donors=4), 2, svd_symmetric=True, svd_rate=0.05, aggregation="none")
    events = run(search, 40, scores=scores)
    for one in proposed(events).values():
        if one.origin.startswith("cycle_qd:task"):
            mutation = Offspring.read(one.genotype).mutation
            assert mutation.donor == best[int(one.origin[-1])]
            assert (mutation.rate, mutation.low) == (0.05, -1)


def test_the_released_code_begins_with_the_second_task():
    for preset, first in (("released", "task1"), ("evomerge", "task0")):
        search = build(preset=preset, aggregation="none")
        found = [one.origin for one in proposed(run(search, 9)).values() if "task" in one.origin]
        assert found[0] == f"cycle_qd:{first}"


def test_while_donors_are_scored_random_merges_of_them_are_proposed():
    search = build()
    first = [search.ask(number) for number in range(8)]
    assert [p.origin for p in first[:3]] == [f"seed:donor{k}" for k in range(3)]
    assert {p.origin for p in first[3:]} == {"cycle_qd:warmup"}
    pairs = {tuple(sorted(Offspring.read(p.genotype).parents)) for p in first[3:]}
    assert all(a != b and max(a, b) < 3 for a, b in pairs)
    assert len({p.genotype for p in first}) == 8


# ------------------------------------------------------------------------------ ranges and cells


def test_ranges_follow_from_the_founders():
    search = build(aggregation="none")
    rows = [(0.4, 0.0, -2.0), (0.8, 0.5, -1.0), (0.2, 0.1, -4.0)]
    for number in range(3):
        search.tell(trial(number, search.ask(number).genotype, rows[number], tasks(3)))
    expected = {"task0": (0.17, 0.92), "task1": (0.0, 0.575), "task2": (-4.6, -0.85)}
    assert {name: pytest.approx(pair) for name, pair in expected.items()} == search.tasks.ranges
    # and stay, whatever the children do
    for number in range(3, 23):
        proposal = search.ask(number)
        search.tell(trial(number, proposal.genotype, (9.0, 9.0, 9.0), tasks(3)))
    assert {name: pytest.approx(pair) for name, pair in expected.items()} == search.tasks.ranges
    for task, archive in enumerate(search.tasks.archives):
        assert archive.clipped == 20
        others = [pair for place, pair in enumerate(expected.values()) if place != task]
        np.testing.assert_allclose(archive.lower_bounds, [low for low, _ in others])
        np.testing.assert_allclose(archive.upper_bounds, [high for _, high in others])
        niche_map = search.tasks.maps()[task]
        assert niche_map.clipped == 20
        assert niche_map.axes == tuple(f"task{k}" for k in range(3) if k != task)
        assert niche_map.bounds == tuple(search.tasks.ranges[name] for name in niche_map.axes)
        assert (niche_map.bins, niche_map.places) == ((15, 15), 225)


def test_ranges_may_be_given_in_the_users_sign():
    mixed = [Objective("loss", "minimize"), Objective("score"), Objective("size", "minimize")]
    search = build(objectives=mixed, ranges={"loss": [1.0, 3.0]})
    rows = [(2.0, 0.5, 10.0), (1.5, 0.7, 20.0), (2.5, 0.6, 30.0)]
    for number in range(3):
        search.tell(trial(number, search.ask(number).genotype, rows[number], mixed))
    assert search.tasks.ranges == {
        "loss": (-3.0, -1.0),
        "score": (pytest.approx(0.425), pytest.approx(0.805)),
        "size": (pytest.approx(-34.5), pytest.approx(-8.5)),
    }
    # the smallest loss is the best elite
    assert search.tasks.archives[0].best_elite.solution == 1
    assert search.tasks.maps()[0].champion == 1


@pytest.mark.parametrize("archive", ["grid", "cvt", "dominated_novelty"])
@pytest.mark.parametrize("order_seed", range(2))
def test_any_order_of_results_gives_the_same_archives(archive, order_seed):
    options = {"archive": archive, "budget": 150, "bins": 5, "cells": 12}
    search = build(**options)
    results = told(run(search, 150, workers=6, failure_rate=0.1, order_seed=order_seed))
    assert [one.number for one in results] != sorted(one.number for one in results)
    again = CycleQd.watch(3, objectives=tasks(3), **options)
    for one in results:
        again.tell(one)
    assert again.maps() == search.tasks.maps()
    assert sum(len(one) for one in search.tasks.archives) > 15
    random = np.random.default_rng(order_seed)
    for _ in range(4):
        shuffled = CycleQd.watch(3, objectives=tasks(3), **options)
        for place in random.permutation(len(results)):
            shuffled.tell(results[place])
        assert shuffled.maps() == search.tasks.maps()


def test_failed_trials_enter_no_archive():
    search = build(budget=200)
    events = run(search, 200, workers=4, failure_rate=0.3, order_seed=3)
    failed = {one.number for one in told(events) if one.costs is None}
    assert len(failed) > 40
    members = {one.solution for archive in search.tasks.archives for one in archive.elites()}
    assert not members & failed
    assert len(proposed(events)) == 200, "a failure stopped the cycle"
    for number in failed - {0, 1, 2}:
        assert not any(
            number in Offspring.read(p.genotype).parents
            for p in proposed(events).values()
            if not is_founder(p.genotype)
        )


@pytest.mark.parametrize("archive", ["grid", "cvt", "dominated_novelty"])
def test_estimates_enter_no_archive_however_good_they_look(archive):
    def stopped(number):
        return number >= 3 and number % 3 != 0

    class Rungs(CycleQd):
        def tell(self, trial):
            if stopped(trial.number):
                costs = tuple(cost - 1.0 for cost in trial.costs)
                trial = replace(trial, costs=costs, errors=(0.1,) * len(costs))
            super().tell(trial)

    found = tasks(3)
    search = Rungs(virtual(), 3, 0, objectives=found, budget=150, archive=archive, cells=12)
    events = run(search, 150, workers=4)
    members = {one.solution for kept in search.tasks.archives for one in kept.elites()}
    assert len(members) > 5
    assert not any(map(stopped, members))
    measured = CycleQd.watch(3, objectives=found, budget=150, archive=archive, cells=12)
    for one in told(events):
        if not stopped(one.number):
            measured.tell(one)
    assert measured.maps() == search.tasks.maps()
    parents = {
        parent
        for proposal in proposed(events).values()
        if proposal.origin.startswith("cycle_qd:task")
        for parent in Offspring.read(proposal.genotype).parents
    }
    assert parents
    assert not any(map(stopped, parents))


def test_merges_stand_in_for_donors_that_all_failed():
    search = build(aggregation="none")
    bench = Bench(virtual())
    origins = []
    for number in range(20):
        proposal = search.ask(number)
        origins.append(proposal.origin)
        scores = bench.scores(number, proposal.genotype)
        found = None if number < 3 else scores
        search.tell(trial(number, proposal.genotype, found, tasks(3)))
        if number == 5:
            ranges = search.tasks.ranges
    # three donors failed, so the first three merges decide the ranges
    assert origins[3:6] == ["cycle_qd:warmup"] * 3
    assert all(origin.startswith("cycle_qd:task") for origin in origins[6:])
    assert search.tasks.ranges == ranges
    assert len(search.tasks.archives[0]) > 1


def test_the_same_when_nothing_ever_completes():
    events = run(build(budget=30), 30, workers=3, failure_rate=1.0)
    assert len(proposed(events)) == 30
    assert {p.origin for p in list(proposed(events).values())[3:]} == {"cycle_qd:warmup"}


def test_a_task_that_is_zero_for_all_donors_ends_the_search():
    def scores(number, genotype):
        return (0.1 * number + 0.2, 0.5 - 0.1 * number, 0.0)

    search = build()
    assert search.stop_reason() is None
    events = run(search, 30, workers=2, scores=scores)
    assert len(proposed(events)) == 4  # the donors, and a merge that was out already
    assert search.stop_reason() == (
        "cycle_qd: task 'task2' is 0 for all who could decide its range, so there is none to cut "
        "into bins; start a new run with ranges: {task2: [low, high]}"
    )
    assert search.ask(99) is None
    assert [(m.filled, m.places, m.champion) for m in search.tasks.maps()] == [(0, 225, None)] * 3
    given = build(ranges={"task2": [0, 1]})
    assert len(proposed(run(given, 30, workers=2, scores=scores))) == 30


def test_a_task_on_which_all_donors_score_alike_is_said_and_searched():
    def scores(number, genotype):
        return (0.1 * number + 0.2, 0.5 - 0.01 * number, 0.5)

    search = build()
    assert len(proposed(run(search, 30, workers=2, scores=scores))) == 30
    assert search.stop_reason() is None
    note = "all founders score alike on task2: give its range by 'ranges'"
    assert [one.note for one in search.tasks.maps()] == [note, note, ""]
    given = build(ranges={"task2": [0, 1]})
    run(given, 30, workers=2, scores=scores)
    assert {one.note for one in given.tasks.maps()} == {""}


@pytest.mark.parametrize(
    ("n_tasks", "budget", "options", "kind", "places"),
    [
        (3, 1200, {}, "grid", 225),
        (3, None, {}, "grid", 225),
        (3, 224, {}, "cvt", 42),
        (4, 1200, {}, "cvt", 225),
        (5, None, {}, "cvt", 225),
        (4, 1200, {"bins": 8}, "grid", 512),
        (4, 1200, {"archive": "grid"}, "grid", 3375),
        (3, 1200, {"archive": "dominated_novelty", "cells": 30}, "dominated_novelty", 30),
        (3, 1200, {"archive": "cvt", "cells": 9}, "cvt", 9),
        (2, 10, {}, "cvt", 4),
        (3, 60, {"preset": "paper"}, "grid", 225),
        (3, 60, {"preset": "released", "archive": "auto"}, "cvt", 11),
    ],
)
def test_the_archive_is_scaled_to_the_budget(n_tasks, budget, options, kind, places):
    names = {"grid": "GridArchive", "cvt": "CvtArchive"}
    search = build(virtual(n_donors=n_tasks), n_tasks, budget=budget, **options)
    for number in range(n_tasks):
        scores = [0.5 + 0.1 * (number == task) for task in range(n_tasks)]
        search.tell(trial(number, search.ask(number).genotype, scores, tasks(n_tasks)))
    for archive, niche_map in zip(search.tasks.archives, search.tasks.maps(), strict=True):
        assert type(archive).__name__ == names.get(kind, "DominatedNoveltyArchive")
        assert archive.cells == niche_map.places == places
        assert bool(niche_map.bins) == (kind == "grid")
        assert all((niche.cell is not None) == (kind == "grid") for niche in niche_map.niches)


# ------------------------------------------------------------------------------- the aggregate


@pytest.mark.parametrize("preset", ["evomerge", "paper"])
@pytest.mark.parametrize("temperature", [1.0, 0.05])
def test_the_last_trial_is_the_softmax_blend_of_the_best_elites(temperature, preset):
    """Of qualities as shares of the range that the donors span, or in the paper as they are."""
    search = build(budget=60, temperature=temperature, preset=preset, mutation="none")
    events = run(search, 60, workers=4, order_seed=2)
    last = events[-2]
    assert isinstance(last, Asked)
    assert last.proposal.origin == "cycle_qd:aggregate"
    assert sum(p.origin == "cycle_qd:aggregate" for p in proposed(events).values()) == 1
    waited = [e for e in events if isinstance(e, Asked) and e.proposal is None]
    assert waited
    assert {e.number for e in waited} == {59}
    # what the archives' best were then
    completed = {one.number: [-cost for cost in one.costs] for one in told(events)[:-1]}
    best = [max(completed, key=lambda n: (completed[n][task], -n)) for task in range(3)]
    f = np.array([completed[number][task] for task, number in enumerate(best)])
    if preset == "evomerge":
        donors = np.array([completed[number] for number in range(3)])
        low = donors.min(axis=0) - 0.15 * abs(donors.min(axis=0))
        high = donors.max(axis=0) + 0.15 * abs(donors.max(axis=0))
        f = (f - low) / (high - low)
    f = f / temperature
    beta = np.exp(f) / np.exp(f).sum()
    child = Offspring.read(last.proposal.genotype)
    expected = Counter()
    for number, share in zip(best, beta, strict=True):
        expected[number] += share
    assert child.parents == tuple(dict.fromkeys(best))
    np.testing.assert_allclose(child.weights[0], [expected[n] for n in child.parents], rtol=1e-12)
    assert child.mutation is None
    assert child.ends == (tiny_order().size,)
    # and it is a candidate like others
    assert told(events)[-1].number == 59


def test_aggregates_at_intervals():
    def numbers(**options):
        events = run(build(**options), 250, workers=3)
        return [n for n, p in proposed(events).items() if p.origin == "cycle_qd:aggregate"]

    assert numbers() == [99, 199]
    assert numbers(budget=250) == [249]
    assert numbers(budget=250, aggregate_every=60) == [59, 119, 179, 239, 249]
    assert numbers(aggregate_every=125) == [124, 249]
    assert numbers(budget=250, aggregation="none") == []


def test_one_elite_that_is_best_everywhere_is_not_blended_with_itself():
    def scores(number, genotype):
        return (1.0 - 0.01 * number,) * 3

    events = run(build(budget=20), 20, scores=scores)
    assert len(proposed(events)) == 20
    assert proposed(events)[19].origin.startswith("cycle_qd:task")


# ------------------------------------------------------------------- presets, memory, bad options


def mutations(events):
    found = [p for p in proposed(events).values() if p.origin.startswith("cycle_qd:task")]
    return Counter(type(Offspring.read(p.genotype).mutation).__name__ for p in found)


@pytest.mark.parametrize(
    ("preset", "mutation", "aggregates", "edge"),
    [
        ("evomerge", "SeedSvdMutation", 1, 7),
        ("paper", "ChildSvdMutation", 1, 7),
        ("released", "GaussianMutation", 0, 6),
    ],
)
def test_presets(preset, mutation, aggregates, edge):
    ranges = {f"task{k}": [0.0, 0.75] for k in range(3)}
    search = build(preset=preset, archive="grid", budget=60, ranges=ranges)
    events = run(search, 60)
    assert set(mutations(events)) == {mutation}
    found = sum(p.origin == "cycle_qd:aggregate" for p in proposed(events).values())
    assert found == aggregates
    index = search.tasks.archives[0].index_of([(0.35, 0.0)])[0]
    assert search.tasks.archives[0].int_to_grid_index(index) == (edge, 0)
    # what is given overrides a preset
    other = build(preset=preset, mutation="none", aggregation="none", edge_rule="upper", budget=60)
    events = run(other, 60)
    assert set(mutations(events)) == {"NoneType"}


def test_the_released_preset_samples_uniformly():
    runs = {}
    for preset in ("paper", "released"):
        for sampler in (None, "random", "elite", "elite-code"):
            search = build(preset=preset, sampler=sampler, mutation="none", aggregation="none")
            events = run(search, 80)
            runs[preset, sampler] = [p.genotype for p in proposed(events).values()]
    assert runs["paper", None] == runs["paper", "elite"]
    assert runs["released", None] == runs["released", "random"]
    assert runs["paper", "elite"] != runs["paper", "random"]
    assert runs["paper", "elite-code"] != runs["paper", "elite"]


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("archive", ["grid", "cvt"])
def test_only_living_individuals_are_kept_in_full(archive, given):
    order = tiny_order()
    random = np.random.default_rng(0)
    donors = {f"donor{k}": random.standard_normal(order.size).astype(np.float32) for k in range(3)}
    breeding = DenseBreeding(donors, order, operator="linear")
    search = build(
        breeding,
        preset="released",
        gauss_std=0.05,
        bins=4,
        cells=10,
        archive=archive,
        budget=300,
        ranges={f"task{k}": [-0.2, 0.2] for k in range(3)} if given else None,
    )
    targets = random.standard_normal((3, order.size))

    def scores(number, genotype):
        weights = breeding.individuals[number]
        return tuple(
            float(target @ weights / np.linalg.norm(target) / np.linalg.norm(weights))
            for target in targets
        )

    events = run(search, 300, workers=12, failure_rate=0.3, scores=scores, order_seed=1)
    assert len(proposed(events)) == 300
    failed = {one.number for one in told(events) if one.costs is None}
    assert failed & {n for n, p in proposed(events).items() if p.origin == "cycle_qd:warmup"}
    members = {one.solution for a in search.tasks.archives for one in a.elites()}
    assert set(breeding.individuals) == members | {0, 1, 2}
    # with the lineage of the released code every child is the sum it says it is
    number = max(members)
    child = Offspring.read(proposed(events)[number].genotype)
    if all(parent in breeding.individuals for parent in child.parents):
        a, b = (breeding.individuals[parent] for parent in child.parents)
        rest = breeding.individuals[number] - child.weights[0][0] * a - child.weights[0][1] * b
        assert np.std(rest) == pytest.approx(0.05, rel=0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "papr"}, "preset: 'papr' is unknown; did you mean 'paper'?"),
        ({"sampler": "elites"}, "sampler: 'elites' is unknown; did you mean 'elite'?"),
        ({"mutation": "svd"}, "mutation: 'svd' is unknown"),
        ({"archive": "cells"}, "archive: 'cells' is unknown"),
        ({"edge_rule": "up"}, "edge_rule: 'up' is unknown; did you mean 'upper'?"),
        ({"aggregation": "mean"}, "aggregation: 'mean' is unknown"),
        ({"crossover": "slerp"}, "crossover: 'slerp' is unknown"),
        ({"bins": 0}, "bins: expected an integer >= 1, got 0"),
        ({"cells": 1}, "cells: expected an integer >= 2, got 1"),
        ({"a_low": 0.9}, "a_low: expected at most a_high 0.8, got 0.9"),
        ({"a_low": 0}, "a_low: expected a number above 0, got 0"),
        ({"ranges": [0, 1]}, "ranges: expected objective: [low, high] for each that has one"),
        ({"mix_std": -1}, "mix_std: expected a number of at least 0, got -1"),
        ({"mix_mean": 0}, "mix_mean: expected a number above 0, got 0"),
        ({"svd_rate": "x"}, "svd_rate: expected a number above 0, got 'x'"),
        ({"svd_symmetric": 1}, "svd_symmetric: expected true or false, got 1"),
        ({"flip_interval": 0}, "flip_interval: expected an integer >= 1, got 0"),
        ({"temperature": 0}, "temperature: expected a number above 0, got 0"),
        ({"budget": 0}, "budget: expected an integer >= 1, got 0"),
        ({"seed": -1}, "seed: expected an integer >= 0, got -1"),
        (
            {"aggregation": "none", "aggregate_every": 5},
            "aggregate_every: goes with aggregation: softmax",
        ),
        ({"ranges": {"taks1": [0, 1]}}, "ranges: there is no objective 'taks1'; did you mean"),
        ({"ranges": {"task1": [1, 1]}}, "ranges.task1: expected [low, high] with low < high"),
        ({"ranges": {"task1": "01"}}, "ranges.task1: expected [low, high] with low < high"),
        ({"n_tasks": 18, "archive": "grid"}, "bins: 15 along each of 17 measures are more cells"),
        ({"n_tasks": 1}, "cycle_qd: needs two tasks at least, got 1"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ConfigError) as error:
        build(**options)
    assert message in str(error.value)


@pytest.mark.parametrize("mutation", ["svd_seed", "svd_child"])
def test_singular_values_need_task_vectors(mutation):
    donors = {f"donor{k}": np.full(tiny_order().size, k, dtype=np.float32) for k in range(3)}
    dense = DenseBreeding(donors, tiny_order())
    whole = virtual()
    whole.template = whole.template.model_copy(update={"origin": "zero"})
    for breeding in (dense, whole):
        with pytest.raises(ConfigError, match=f"mutation: {mutation} changes singular values"):
            build(breeding, mutation=mutation)
        for other in ("gauss", "none"):
            assert build(breeding, mutation=other).ask(0).origin == "seed:donor0"


# ------------------------------------------------------------------------------------- replay

CASES = {
    "evomerge": {},
    "paper": {"preset": "paper", "budget": 60},
    "released": {"preset": "released", "bins": 4},
    "cvt": {"archive": "cvt", "cells": 8, "sampler": "elite-code", "aggregate_every": 7},
    "dominated": {"archive": "dominated_novelty", "cells": 6, "mix_std": 1.0},
}


@pytest.mark.parametrize("order_seed", range(2))
@pytest.mark.parametrize("case", CASES)
def test_four_workers_replay_from_the_record(case, order_seed):
    events = run(
        build(seed=4, **CASES[case]), 60, workers=4, order_seed=order_seed, failure_rate=0.15
    )
    numbers = [one.number for one in told(events)]
    assert numbers != sorted(numbers), "the simulated workers finished in order"
    replay(build(seed=4, **CASES[case]), events)
    half = build(seed=4, **CASES[case])
    replay(half, events[: len(events) // 2])
    replay(half, events[len(events) // 2 :])
    other = run(
        build(seed=5, **CASES[case]), 60, workers=4, order_seed=order_seed, failure_rate=0.15
    )
    assert proposed(other) != proposed(events)


def test_waiting_for_the_aggregate_changes_nothing():
    search, patient = (build(aggregate_every=10) for _ in range(2))
    bench = Bench(virtual())
    for number in range(9):
        scores = bench.scores(number, search.ask(number).genotype)
        genotype = patient.ask(number).genotype
        if number < 8:
            for one in (search, patient):
                one.tell(trial(number, genotype, scores, tasks(3)))
    for _ in range(5):
        assert patient.ask(9) is None
    for one in (search, patient):
        one.tell(trial(8, genotype, scores, tasks(3)))
    assert search.ask(9) == patient.ask(9)
    assert search.ask(10) == patient.ask(10)


def test_wrong_tells_are_refused():
    search, untouched = build(), build()
    genotype = search.ask(0).genotype
    untouched.ask(0)
    good = trial(0, genotype, (0.1, 0.2, 0.3), tasks(3))
    for wrong in (
        trial(7, genotype, (0.1, 0.2, 0.3), tasks(3)),
        trial(0, ("donor", "donor1"), (0.1, 0.2, 0.3), tasks(3)),
        trial(0, genotype, (0.1, 0.2), tasks(2)),
    ):
        with pytest.raises(ValueError, match="trial"):
            search.tell(wrong)
    with pytest.raises(ValueError, match="asked for already"):
        search.ask(0)
    for one in (search, untouched):
        one.tell(good)
    with pytest.raises(ValueError, match="told already"):
        search.tell(good)
    for number in range(1, 20):
        proposal = search.ask(number)
        assert proposal == untouched.ask(number)
        for one in (search, untouched):
            scores = (0.1 * number, 0.2 + 0.1 * number, 0.3 - 0.1 * number)
            one.tell(trial(number, proposal.genotype, scores, tasks(3)))


STEPS = st.lists(
    st.one_of(
        st.just(("ask", 0, None)),
        st.just(("ask", 0, None)),
        st.tuples(
            st.just("tell"),
            st.integers(0, 50),
            st.one_of(
                st.none(),
                st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 3),
                st.tuples(*[st.sampled_from([0.0, 0.25, 0.5])] * 3),
                st.tuples(*[st.sampled_from([0.25, 0.5])] * 3),
            ),
        ),
    ),
    max_size=70,
)


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(steps=STEPS)
def test_any_sequence_of_asks_and_tells_replays(case, steps):
    search = build(seed=4, **CASES[case])
    events, flying, number = [], {}, 0
    for action, which, scores in steps:
        if action == "ask":
            proposal = search.ask(number)
            events.append(Asked(number, proposal))
            if proposal is None:
                assert flying or search.stop_reason(), "waits for nothing"
                continue
            flying[number] = proposal.genotype
            number += 1
        elif flying:
            one = sorted(flying)[which % len(flying)]
            events.append(Told(trial(one, flying.pop(one), scores, tasks(3))))
            search.tell(events[-1].trial)
    assert flying or search.stop_reason() or search.ask(number) is not None
    replay(build(seed=4, **CASES[case]), events)
    watch = CycleQd.watch(3, objectives=tasks(3), **CASES[case])
    backwards = CycleQd.watch(3, objectives=tasks(3), **CASES[case])
    results = told(events)
    for one in results:
        watch.tell(one)
    for one in reversed(results):
        backwards.tell(one)
    assert watch.maps() == search.tasks.maps() == backwards.maps()
