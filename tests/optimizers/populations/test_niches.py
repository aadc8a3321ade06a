"""Competition for examples, against brute force over members and examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.optimizers.populations.examples import ExampleScores, ScoreArray
from evomerge.optimizers.populations.niches import NicheArchive, Niches
from evomerge.types import Completed, Failed, Objective, Trial

SOLVED = {
    "A": {1, 2, 3},
    "B": {1, 4},
    "C": {2, 5},
    "D": {3, 6},
    "E": {1, 7},
    "F": {2, 8},
}


def solved(name):
    return np.array([float(example in SOLVED[name]) for example in range(1, 9)])


def filled(rows, **options):
    archive = NicheArchive(len(rows) + 1, **options)
    for number, row in enumerate(rows):
        assert archive.offer(number, np.array(row, dtype=float)) is None
    return archive


def capacities(rows, capacity):
    """Spelled out: what competes, and how much of it there is."""
    if capacity == "range":
        worst = [min(column) for column in zip(*rows, strict=True)]
        rows = [[score - low for score, low in zip(row, worst, strict=True)] for row in rows]
    best = [max(column) for column in zip(*rows, strict=True)]
    return rows, [1.0] * len(best) if capacity == "binary" else best


def by_hand(rows, alpha, formula, capacity, member=None):
    """Shared fitness, or attraction of a member, sum by sum."""
    rows, there_is = capacities(rows, capacity)
    found = []
    for row in rows:
        total = 0.0
        for j, score in enumerate(row):
            taken = math.fsum(other[j] for other in rows)
            held = score if member is None else max(score - rows[member][j], 0.0)
            if formula == "released":
                divisor = (taken if taken else 1.0) ** alpha
            else:
                divisor = taken ** (alpha if member is None else 1.0) + 1e-12
            total += there_is[j] * held / divisor
        found.append(total)
    return found


SCORES = {
    "binary": st.sampled_from([0.0, 1.0]),
    "max": st.floats(0, 1).map(lambda score: round(score, 9)),
    "range": st.floats(-3, 3).map(lambda score: round(score, 9)),
}


@pytest.mark.parametrize("formula", ["paper", "released"])
@pytest.mark.parametrize("capacity", SCORES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data(), alpha=st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_fitness_and_attraction_are_the_sums_of_the_paper(formula, capacity, data, alpha):
    shape = data.draw(st.tuples(st.integers(2, 6), st.integers(1, 7)))
    row = st.lists(SCORES[capacity], min_size=shape[1], max_size=shape[1])
    rows = data.draw(st.lists(row, min_size=shape[0], max_size=shape[0]))
    archive = filled(rows, alpha=alpha, formula=formula, capacity=capacity)
    expected = by_hand(rows, alpha, formula, capacity)
    np.testing.assert_allclose(archive.fitness(), expected, rtol=1e-9, atol=1e-12)
    for member in range(len(rows)):
        expected = by_hand(rows, alpha, formula, capacity, member)
        np.testing.assert_allclose(archive.attraction(member), expected, rtol=1e-9, atol=1e-12)
        assert archive.attraction(member)[member] == 0


@pytest.mark.parametrize("formula", ["paper", "released"])
def test_binary_capacity_takes_partial_scores_as_they_are(formula):
    rows = [[0.25, 1.0, 0.0], [0.75, 0.5, 0.0], [1.0, 0.0, 0.5]]
    archive = filled(rows, formula=formula, capacity="binary")
    np.testing.assert_allclose(archive.fitness(), by_hand(rows, 1.0, formula, "binary"))
    for member in range(3):
        expected = by_hand(rows, 1.0, formula, "binary", member)
        np.testing.assert_allclose(archive.attraction(member), expected)


def test_capacity_is_decided_by_the_scores():
    archive = NicheArchive(5)
    archive.offer(0, np.array([0.0, 1.0]))
    assert archive.capacities == ("binary",)
    archive.offer(1, np.array([0.5, 1.0]))
    assert archive.capacities == ("max",)
    archive.offer(2, np.array([0.0, 1.0]))
    assert archive.capacities == ("max",)
    archive.offer(3, np.array([-0.5, 1.0]))
    assert archive.capacities == ("range",)
    assert NicheArchive(5, capacity="binary").capacities == ("binary",)


def test_a_capacity_without_negative_scores_refuses_them():
    archive = NicheArchive(5, capacity="max")
    with pytest.raises(ValueError, match=r"'max' is for scores of at least 0, got -0.5; use range"):
        archive.offer(0, np.array([0.5, -0.5]))
    assert archive.champion is None
    assert not archive.numbers


def test_the_unique_best_is_driven_out_and_stays_champion():
    archive = NicheArchive(5, alpha=1.0)
    order = {name: number for number, name in enumerate(SOLVED)}
    evicted = [archive.offer(order[name], solved(name)) for name in SOLVED]
    assert evicted == [None] * 5 + [order["A"]]
    assert order["A"] not in archive.numbers
    assert archive.champion.number == order["A"]
    assert archive.champion.score == 3
    # 7/6 against at least 4/3, over the six
    six = filled([solved(name) for name in SOLVED])
    np.testing.assert_allclose(six.fitness()[0], 7 / 6)
    assert six.fitness()[1:].min() >= 4 / 3 - 1e-9


def test_a_newcomer_wins_a_tie_in_the_place_of_the_first_of_equals():
    archive = NicheArchive(3)
    row = np.ones(1437)
    assert [archive.offer(number, row) for number in range(3)] == [None] * 3
    for newcomer in range(3, 9):  # equal to the last bit, wherever a row stands
        first = archive.numbers[0]
        assert archive.offer(newcomer, row) == first
        assert archive.numbers == [newcomer, 1, 2]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**20),
    size=st.integers(2, 6),
    alpha=st.sampled_from([0.0, 1.0, 2.0]),
    capacity=st.sampled_from(["binary", "max", "range"]),
)
def test_the_archive_keeps_who_brute_force_keeps(seed, size, alpha, capacity):
    random = np.random.default_rng(seed)
    archive = NicheArchive(size, alpha=alpha, capacity=capacity)
    kept, best = [], (-1, -math.inf)
    for number in range(25):
        row = random.random(9) if capacity != "binary" else random.integers(0, 2, 9).astype(float)
        row -= 0.5 * (capacity == "range")
        if row.sum() > best[1]:
            best = (number, row.sum())
        evicted = archive.offer(number, row)
        rows = [*(one for _, one in kept), row.tolist()]
        kept.append((number, row.tolist()))
        if len(kept) > size:
            fitness = by_hand(rows, alpha, "paper", capacity)
            worst = [one for one, _ in kept].index(evicted)
            assert fitness[worst] <= min(fitness) + 1e-9  # sums of thirds tie but for rounding
            last = kept.pop()
            if worst < size:
                kept[worst] = last
        else:
            assert evicted is None
        assert archive.numbers == [one for one, _ in kept]
        np.testing.assert_array_equal(archive.scores, [one for _, one in kept])
        assert archive.champion.number == best[0]


@pytest.mark.parametrize("formula", ["paper", "released"])
@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.5])
def test_scores_of_nothing_are_no_division_by_zero(formula, alpha):
    archive = filled(np.zeros((4, 6)), formula=formula, alpha=alpha)
    assert not archive.fitness().any()
    assert not archive.attraction(2).any()
    assert (archive.owners() == -1).all()


def test_who_dominates_everybody_attracts_to_nobody():
    archive = filled([[1, 1, 1, 0], [1, 0, 1, 0], [0, 1, 0, 0]])
    assert not archive.attraction(0).any()
    assert archive.attraction(2).argmax() in (0, 1)


def test_owners_are_those_who_hold_most_and_of_equals_the_fitter():
    archive = filled([[1, 0, 0, 1], [1, 1, 0, 0], [1, 1, 0, 0]])
    assert archive.owners().tolist() == [0, 1, -1, 0]


def outcome(scores, name="task"):
    return Completed({name: sum(scores.values())}, {name: scores})


def trial(number, found):
    costs = None if isinstance(found, Failed) else (-sum(found.metrics.values()),)
    return Trial(number, ("donor", "a"), found, costs)


def test_a_watch_learns_what_its_archive_holds():
    niches = Niches([Objective("task")], NicheArchive(2))
    assert niches.maps()[0].places == 0
    assert niches.tell(trial(0, Failed("error", "it broke"))) == 0
    assert niches.tell(trial(1, outcome({"x": 1.0, "y": 0.0, "z": 0.0}))) is None
    assert niches.tell(trial(2, outcome({"x": 0.0, "y": 1.0, "z": 0.0}))) is None
    assert niches.tell(trial(3, outcome({"x": 1.0, "y": 0.0, "z": 0.0}))) in (1, 3)
    (found,) = niches.maps()
    assert (found.places, found.filled, found.champion) == (3, 2, 1)
    assert sum(niche.holds for niche in found.niches) == 2


def test_scores_of_several_objectives_stand_side_by_side_and_costs_change_sign():
    scores = ExampleScores([Objective("a"), Objective("b", "minimize")])
    first = Completed({}, {"a": {"x": 1.0, "y": 0.0}, "b": {"x": 2.0}})
    assert scores.vector(first).tolist() == [1.0, 0.0, -2.0]
    assert scores.ids == (("a", "x"), ("a", "y"), ("b", "x"))


def test_items_in_another_order_are_the_same_items():
    scores = ExampleScores([Objective("task")])
    scores.vector(outcome({"x": 1.0, "y": 2.0, "z": 3.0}))
    assert scores.vector(outcome({"z": 6.0, "x": 4.0, "y": 5.0})).tolist() == [4.0, 5.0, 6.0]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"x": 1.0, "q": 0.0}, r"2 examples against 2, 'y' is missing.*score all"),
        ({"x": 1.0}, r"1 examples against 2, 'y' is missing"),
        ({"x": 1.0, "y": 0.0, "q": 1.0}, r"3 examples against 2, 'q' is new"),
        ({}, r"objective 'task' has no score for each example"),
        ({"x": 1.0, "y": math.nan}, r"the score of example 'y' is nan, expected a finite number"),
        ({"x": math.inf, "y": 0.0}, r"the score of example 'x' is inf"),
    ],
)
def test_other_examples_than_before_are_refused(found, message):
    niches = Niches([Objective("task")], NicheArchive(3))
    niches.tell(trial(0, outcome({"x": 1.0, "y": 0.0})))
    with pytest.raises(ValueError, match=message):
        niches.tell(trial(1, Completed({"task": 0.0}, {"task": found})))
    assert niches.archive.numbers == [0]


def test_a_refused_first_outcome_decides_nothing():
    scores = ExampleScores([Objective("task")])
    with pytest.raises(ValueError, match="is nan"):
        scores.vector(outcome({"x": math.nan}))
    assert scores.ids == ()
    assert scores.vector(outcome({"y": 1.0})).tolist() == [1.0]


def test_an_array_of_scores_is_a_mapping_like_any_other():
    ids = ("x", "y", "z")
    array = ScoreArray(ids, np.array([True, False, True]))
    assert dict(array) == {"x": 1.0, "y": 0.0, "z": 1.0}
    assert len(array) == 3
    assert array.keys() == {"x", "y", "z"}
    for first, second in [(array, dict(array)), (dict(array), array), (array, array)]:
        scores = ExampleScores([Objective("task")])
        for one in (first, second):
            found = scores.vector(outcome(one))
            assert found.dtype == np.float64
            assert found.tolist() == [1.0, 0.0, 1.0]
    scores.vector(outcome(ScoreArray(ids, np.array([0.5, 0.0, 1.0], np.float32))))
    other = ScoreArray(("y", "z", "x"), np.array([1.0, 2.0, 3.0]))
    assert scores.vector(outcome(other)).tolist() == [3.0, 1.0, 2.0]
    with pytest.raises(ValueError, match="'z' is missing"):
        scores.vector(outcome(ScoreArray(("x", "y"), np.ones(2))))
    with pytest.raises(ValueError, match="score of example 'y' is nan"):
        scores.vector(outcome(ScoreArray(ids, np.array([1.0, math.nan, 1.0]))))
    with pytest.raises(ValueError, match=r"scores have shape \(2,\), expected \(3,\)"):
        ScoreArray(ids, np.ones(2))


def test_balanced_objectives_weigh_alike_whatever_their_units_and_numbers():
    """Brute force: each objective's shared fitness by itself, over what there is of it in all."""
    random = np.random.default_rng(4)
    hits = random.integers(0, 2, (4, 30)).astype(float)
    losses = -random.random((4, 3)) * 50
    rows = np.hstack([hits, losses])
    archive = NicheArchive(9, balanced=True)
    for number, row in enumerate(rows):
        archive.offer(number, row, (30, 3))
    assert archive.capacities == ("binary", "range")
    expected = np.zeros(4)
    for part, kind in ((hits, "binary"), (losses, "range")):
        _, there_is = capacities(part.tolist(), kind)
        expected += np.array(by_hand(part.tolist(), 1.0, "paper", kind)) / math.fsum(there_is)
    np.testing.assert_allclose(archive.fitness(), expected, rtol=1e-9)
    best = max(range(4), key=lambda i: hits[i].mean() + losses[i].mean())
    assert archive.champion.number == best


def test_one_objective_has_nothing_to_be_balanced_with():
    rows = np.random.default_rng(1).random((5, 8))
    plain, balanced = (NicheArchive(9, balanced=flag) for flag in (False, True))
    for archive in (plain, balanced):
        for number, row in enumerate(rows):
            archive.offer(number, row, (8,))
    assert (plain.fitness() == balanced.fitness()).all()


@pytest.mark.parametrize("formula", ["paper", "released"])
def test_scores_next_to_nothing_divide_by_no_zero(formula):
    archive = NicheArchive(4, alpha=2.0, formula=formula)
    for number, score in enumerate((0.0, 1.9e-260, 1.0)):
        archive.offer(number, np.array([score, 1e-300]))
    assert np.isfinite(archive.fitness()).all()
    assert np.isfinite(archive.attraction(0)).all()


@pytest.mark.parametrize("formula", ["paper", "released"])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
def test_balanced_objectives_do_not_depend_on_a_unit(alpha, formula):
    rows = np.random.default_rng(2).random((5, 20))
    plain, scaled = (NicheArchive(9, alpha=alpha, formula=formula, balanced=True) for _ in range(2))
    for number, row in enumerate(rows):
        plain.offer(number, row, (10, 10))
        scaled.offer(number, np.concatenate([row[:10], row[10:] * 1000]), (10, 10))
    np.testing.assert_allclose(scaled.fitness(), plain.fitness(), rtol=1e-9)
    np.testing.assert_allclose(scaled.attraction(2), plain.attraction(2), rtol=1e-9)


def test_examples_counted_from_the_worst_are_always_held():
    archive = NicheArchive(9)
    archive.offer(0, np.array([-1.0, -2.0, -3.0]))
    archive.offer(1, np.array([-1.0, -3.0, -1.0]))
    assert archive.capacities == ("range",)
    assert archive.owners()[1:].tolist() == [0, 1]
    assert archive.owners()[0] in (0, 1)
