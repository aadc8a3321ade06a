"""M2N2, against a plain genetic algorithm written out step by step, and under hostile outcomes."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import ConfigError
from evomerge.optimizers.populations.m2n2 import M2n2, archive_size_for
from evomerge.recipe.order import Block, Member, Order
from evomerge.spaces.populations import DenseBreeding, GaussianMutation, Offspring
from evomerge.testing.simulation import Told, drive, proposals, replay, trials
from evomerge.types import Completed, Failed, Objective, Trial

SIZE = 40
ORDER = Order([("all", [Block((Member.whole("w", (SIZE,)),), 1)])])
TASK = (Objective("task"),)
TARGETS = np.random.default_rng(0).standard_normal((12, SIZE))


def breeding(n=2):
    donors = np.random.default_rng(n).standard_normal((n, SIZE)).astype(np.float32)
    return DenseBreeding({f"d{k}": row for k, row in enumerate(donors)}, ORDER)


def m2n2(domain, seed=3, n_objectives=1, **options):
    return M2n2(domain, n_objectives, seed, objectives=TASK, **options)


def told(number, genotype, scores):
    """A trial with scores by example, or a failed one."""
    if scores is None:
        return Trial(number, genotype, Failed("error", "it broke"), None)
    examples = {f"e{j}": float(score) for j, score in enumerate(scores)}
    total = sum(examples.values())
    return Trial(number, genotype, Completed({"task": total}, {"task": examples}), (-total,))


def solved(weights):
    """Which of twelve half-spaces a vector lies in."""
    return (TARGETS @ weights > 0).astype(float)


class Halfspaces:
    """A problem over the individuals of a breeding."""

    def __init__(self, domain):
        self.domain = domain

    def completed(self, number, genotype):
        return told(number, genotype, solved(self.domain.individuals[number]))

    def failed(self, number, genotype):
        return told(number, genotype, None)


def feed(optimizer, rows):
    """Ask and tell scripted scores, whatever the individuals are; returns the genotypes."""
    genotypes = []
    for number, scores in enumerate(rows):
        proposal = optimizer.ask(number)
        genotypes.append(proposal.genotype)
        optimizer.tell(told(number, proposal.genotype, scores))
    return genotypes


def parents(optimizer, first, n):
    """Parents of the next n children, none of which is told."""
    return [Offspring.read(optimizer.ask(first + k).genotype).parents for k in range(n)]


def test_donors_come_first_then_their_children():
    domain = breeding(3)
    optimizer = m2n2(domain)
    found = proposals(drive(optimizer, Halfspaces(domain), 6))
    assert [one.genotype for one in found[:3]] == [seed.genotype for seed in domain.seeds]
    assert [one.origin for one in found] == ["seed:d0", "seed:d1", "seed:d2", *["m2n2"] * 3]


# A = {1, 2, 3} is the unique best of six and has the least shared fitness of them.
SOLVED = {"B": {1, 4}, "C": {2, 5}, "A": {1, 2, 3}, "D": {3, 6}, "E": {1, 7}, "F": {2, 8}}


@pytest.mark.parametrize("preset", ["evomerge", "paper", "released"])
def test_the_champion_outlives_its_eviction(preset):
    domain = breeding()
    optimizer = m2n2(domain, preset=preset, archive_size=5)
    rows = [[float(e in one) for e in range(1, 9)] for one in SOLVED.values()]
    feed(optimizer, rows)
    best = list(SOLVED).index("A")
    assert best not in optimizer.archive.numbers
    assert optimizer.archive.champion.number == best
    assert best in domain.individuals
    assert optimizer._niches.maps()[0].champion == best
    proposal = optimizer.ask(6)
    optimizer.tell(told(6, proposal.genotype, np.ones(8)))
    assert optimizer.archive.champion.number == 6
    assert best not in domain.individuals


def test_only_who_may_still_matter_is_held():
    domain = breeding(3)
    optimizer = m2n2(domain, archive_size=4, mutation_std=0.3)
    events = drive(optimizer, Halfspaces(domain), 300, workers=3, failure_rate=0.1)
    assert len(trials(events)) == 300
    expected = {*optimizer.archive.numbers, optimizer.archive.champion.number, 0, 1, 2}
    assert set(domain.individuals) == expected
    best = max(
        (sum(one.outcome.examples["task"].values()), -one.number)
        for one in trials(events)
        if isinstance(one.outcome, Completed)
    )
    assert optimizer.archive.champion.score == best[0]


@pytest.mark.parametrize("preset", ["evomerge", "paper", "released"])
def test_a_dominating_parent_mates_with_the_others(preset):
    domain = breeding(3)
    optimizer = m2n2(domain, preset=preset, archive_size=5)
    feed(optimizer, [[1, 1, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]])
    pairs = Counter(parents(optimizer, 3, 400))
    with_best = {b: n for (a, b), n in pairs.items() if a == 0}
    assert set(with_best) == {1, 2}, "nobody complements 0, which mates with the others"
    assert {b for a, b in pairs if a == 1} == {0, 2}
    assert all(np.isfinite(one).all() for one in domain.individuals.values())


@pytest.mark.parametrize("row", [[0.0, 0.0, 0.0], None])
@pytest.mark.parametrize("matchmaker", [True, False])
@pytest.mark.parametrize("preset", ["evomerge", "released"])
def test_individuals_that_solve_nothing_or_fail(row, matchmaker, preset):
    domain = breeding()
    optimizer = m2n2(domain, preset=preset, matchmaker=matchmaker, archive_size=4)
    genotypes = feed(optimizer, [row] * 40)
    assert all(Offspring.read(one).parents for one in genotypes[2:])
    assert all(np.isfinite(one).all() for one in domain.individuals.values())
    proposal = optimizer.ask(40)
    optimizer.tell(told(40, proposal.genotype, [0.0, 1.0, 0.0]))
    assert 40 in optimizer.archive.numbers
    assert optimizer.archive.champion.score == 1


def test_one_member_alone_mates_with_whoever_there_is():
    domain = breeding()
    optimizer = m2n2(domain)
    feed(optimizer, [[1.0, 0.0], None])
    assert set(parents(optimizer, 2, 1)) == {(0, 1)}
    assert all(a == 0 != b for a, b in parents(optimizer, 3, 30))


def slerp(t, a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    omega = np.arccos(np.clip(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b), -1, 1))
    if np.sin(omega) <= 1e-6:
        return (1 - t) * a + t * b
    return (np.sin((1 - t) * omega) * a + np.sin(t * omega) * b) / np.sin(omega)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("preset", ["paper", "released"])
def test_no_competition_and_no_matchmaker_is_a_plain_genetic_algorithm(seed, preset):
    """Parents in proportion to their scores, the worst replaced, draw for draw."""
    domain = breeding()
    size, n_trials = 6, 250
    optimizer = m2n2(
        domain, seed, preset=preset, alpha=0.0, matchmaker=False, archive_size=size,
        mutation_std=0.05,
    )  # fmt: skip
    pool: list[tuple[int, np.ndarray, int]] = []  # trial, weights, score
    for number in range(n_trials):
        proposal = optimizer.ask(number)
        if number < 2:
            weights = domain._weights[f"d{number}"]
        else:
            random = np.random.default_rng([seed, number])
            wheel = list(accumulate(score for *_, score in pool))
            a = pool[bisect_right(wheel, random.random() * wheel[-1])]
            b = pool[bisect_right(wheel, random.random() * wheel[-1])]
            split, w = random.integers(0, SIZE), random.random()
            t = np.where(np.arange(SIZE) < split, w, 1 - w)
            noise = np.random.Generator(np.random.Philox(key=np.array([0, number], np.uint64)))
            weights = slerp(t, a[1], b[1])
            weights = weights + 0.05 * noise.standard_normal(SIZE, dtype=np.float32)
            assert Offspring.read(proposal.genotype).parents == (a[0], b[0])
        ours = domain.individuals[number]
        np.testing.assert_allclose(ours, weights, rtol=1e-4, atol=1e-5)
        score = int(solved(ours).sum())
        optimizer.tell(told(number, proposal.genotype, solved(ours)))
        pool.append((number, ours, score))
        if len(pool) > size:
            worst = min(range(size + 1), key=lambda place: pool[place][2])
            newcomer = pool.pop()
            if worst < size:
                pool[worst] = newcomer
        assert optimizer.archive.numbers == [one for one, *_ in pool]


def test_parents_are_drawn_by_fitness_and_attraction():
    domain = breeding(4)
    optimizer = m2n2(domain, archive_size=6)
    rows = np.array(
        [[1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 0], [1, 1, 0, 0, 0, 1]]
    )
    feed(optimizer, rows)
    z = rows.sum(axis=0)
    fitness = (rows / z).sum(axis=1)
    n = 6000
    found = Counter(parents(optimizer, 4, n))
    for a in range(4):
        drawn = sum(count for (one, _), count in found.items() if one == a)
        share = fitness[a] / fitness.sum()
        assert abs(drawn / n - share) < 4 * np.sqrt(share * (1 - share) / n)
        attraction = (np.maximum(rows - rows[a], 0) / z).sum(axis=1)
        for b in range(4):
            share = attraction[b] / attraction.sum()
            bound = 4 * np.sqrt(share * (1 - share) / drawn)
            assert abs(found[a, b] / drawn - share) <= bound


@pytest.mark.parametrize(("preset", "selfish"), [("evomerge", False), ("released", True)])
def test_without_matchmaker_who_mates_with_itself_is_the_presets_choice(preset, selfish):
    optimizer = m2n2(breeding(3), preset=preset, matchmaker=False)
    feed(optimizer, np.ones((3, 4)))
    assert any(a == b for a, b in parents(optimizer, 3, 200)) == selfish


def test_split_and_ratio_are_drawn_as_said():
    optimizer = m2n2(breeding())
    feed(optimizer, np.eye(2))
    children = [Offspring.read(optimizer.ask(2 + k).genotype) for k in range(800)]
    splits = [one.ends[0] if len(one.ends) == 2 else 0 for one in children]
    assert set(splits) == set(range(SIZE))
    whole = m2n2(breeding(), split=False)
    feed(whole, np.eye(2))
    assert all(Offspring.read(whole.ask(2 + k).genotype).ends == (SIZE,) for k in range(50))


def test_u_shaped_ratios_stay_near_a_parent():
    def nearest(**options):
        domain = breeding()
        domain._operator = "linear"
        optimizer = m2n2(domain, split=False, **options)
        feed(optimizer, np.eye(2))
        rows = [Offspring.read(optimizer.ask(2 + k).genotype).weights[0] for k in range(400)]
        return np.mean([min(row) for row in rows])

    assert nearest() == pytest.approx(0.25, abs=0.03)
    assert nearest(mix_beta=0.3) < 0.16


def test_mutation_without_crossover():
    domain = breeding()
    optimizer = m2n2(domain, crossover=False, mutation_std=0.25)
    feed(optimizer, np.eye(2))
    child = Offspring.read(optimizer.ask(2).genotype)
    assert (len(child.parents), child.weights) == (1, ((1.0,),))
    assert child.mutation == GaussianMutation(2, 0.25)


def test_warm_up_merges_whoever_there_is():
    domain = breeding(3)
    optimizer = m2n2(domain, warmup=20)
    found = proposals(drive(optimizer, Halfspaces(domain), 40, workers=4))
    assert [one.origin for one in found[3:]] == ["m2n2:warmup"] * 20 + ["m2n2"] * 17
    assert all(len(set(Offspring.read(one.genotype).parents)) == 2 for one in found[3:]), (
        "two different parents"
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"preset": "released", "mutation_std": 0.1},
        {"preset": "paper", "alpha": 2.0, "mix_beta": 0.4},
        {"matchmaker": False, "alpha": 0.0},
        {"warmup": 10, "split": False},
        {"crossover": False, "mutation_std": 0.2},
    ],
)
@pytest.mark.parametrize("order_seed", range(2))
def test_workers_that_finish_in_any_order_replay(options, order_seed):
    def fresh():
        domain = breeding()
        return domain, m2n2(domain, archive_size=5, **options)

    domain, optimizer = fresh()
    problem = Halfspaces(domain)
    events = drive(
        optimizer, problem, 150, workers=4, order_seed=order_seed, failure_rate=0.15
    )  # fmt: skip
    numbers = [event.trial.number for event in events if isinstance(event, Told)]
    assert numbers != sorted(numbers)
    again_domain, again = fresh()
    replay(again, events)
    assert again.archive.numbers == optimizer.archive.numbers
    assert again.archive.champion == optimizer.archive.champion
    np.testing.assert_array_equal(again.archive.scores, optimizer.archive.scores)
    for number, weights in domain.individuals.items():
        np.testing.assert_array_equal(weights, again_domain.individuals[number])
    _, half = fresh()
    replay(half, events[: len(events) // 2])
    replay(half, events[len(events) // 2 :])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    steps=st.lists(
        st.one_of(
            st.just(None),
            st.tuples(st.integers(0, 9), st.sampled_from(["fail", 0.0, 0.3, 1.0, -1.0])),
        ),
        max_size=60,
    ),
    matchmaker=st.booleans(),
)
def test_any_sequence_of_asks_and_tells_replays(steps, matchmaker):
    def run():
        domain = breeding()
        optimizer = m2n2(domain, archive_size=2, matchmaker=matchmaker)
        flying, number, found = {}, 0, []
        for step in steps:
            if step is None:
                found.append(optimizer.ask(number))
                flying[number] = found[-1].genotype
                number += 1
            elif flying:
                which = sorted(flying)[step[0] % len(flying)]
                scores = None if step[1] == "fail" else [step[1], which % 2, 0.5]
                optimizer.tell(told(which, flying.pop(which), scores))
        assert all(np.isfinite(one).all() for one in domain.individuals.values())
        return found, optimizer.archive.numbers

    assert run() == run()


def test_what_is_watched_is_what_the_optimizer_holds():
    domain = breeding()
    options = {"archive_size": 5, "alpha": 2.0, "preset": "released"}
    optimizer = m2n2(domain, mutation_std=0.2, **options)
    watch = M2n2.watch(1, objectives=TASK, budget=80, mutation_std=0.2, **options)
    for trial in trials(drive(optimizer, Halfspaces(domain), 80, workers=3)):
        watch.tell(trial)
    assert watch.maps() == optimizer._niches.maps()


def test_examples_that_change_are_refused_and_change_nothing():
    domain = breeding()
    optimizer = m2n2(domain)
    feed(optimizer, np.eye(2))
    genotype = optimizer.ask(2).genotype
    with pytest.raises(ValueError, match="3 examples against 2, 'e2' is new"):
        optimizer.tell(told(2, genotype, [1.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match="no score for each example"):
        optimizer.tell(Trial(2, genotype, Completed({"task": 1.0}), (-1.0,)))
    assert optimizer.archive.numbers == [0, 1]
    optimizer.tell(told(2, genotype, [1.0, 1.0]))
    assert optimizer.archive.numbers == [0, 1, 2]


def test_trials_that_answer_no_ask_are_refused():
    optimizer = m2n2(breeding())
    genotype = optimizer.ask(0).genotype
    with pytest.raises(ValueError, match="asked for already"):
        optimizer.ask(0)
    with pytest.raises(ValueError, match="never asked for"):
        optimizer.tell(told(1, genotype, [1.0]))
    optimizer.tell(told(0, genotype, [1.0]))
    with pytest.raises(ValueError, match="told already"):
        optimizer.tell(told(0, genotype, [1.0]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "released code"}, "preset: 'released code' is unknown"),
        ({"archive_size": 1}, "archive_size: expected an integer >= 2, got 1"),
        ({"alpha": -1}, "alpha: expected a number of at least 0, got -1"),
        ({"formula": "eq3"}, "formula: 'eq3' is unknown"),
        ({"capacity": "none"}, "capacity: 'none' is unknown"),
        ({"mix_beta": 0}, "mix_beta: expected a number above 0, got 0"),
        ({"mutation_std": float("nan")}, "mutation_std: expected a number of at least 0, got nan"),
        ({"warmup": 1.5}, "warmup: expected an integer >= 0, got 1.5"),
        ({"split": 1}, "split: expected true or false, got 1"),
        ({"crossover": False}, "crossover: without it and without mutation_std nothing changes"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        m2n2(breeding(), **options)


def test_the_archive_grows_with_the_budget():
    assert [archive_size_for(n) for n in (None, 1, 100, 1_000, 10_000)] == [20, 4, 10, 15, 20]
    assert m2n2(breeding(), budget=1_000).archive._size == 15
