"""Nested MAP: its algebra, its cost, its front, its refusals."""

import dataclasses

import numpy as np
import pytest

from evomerge.errors import ConfigError
from evomerge.optimizers import build_optimizer
from evomerge.optimizers.map.tree import Merging, Node
from evomerge.testing.problems import Problem, continuous_domain, merge_problem
from evomerge.testing.simulation import drive, proposals, replay, trials
from evomerge.types import Failed
from tests.optimizers.map.domains import objectives, saturating, weights


def nested(problem, budget=None, seed=0, **options):
    n = problem.n_objectives
    return build_optimizer(
        "nested_map", problem.domain, n, seed, options, objectives=objectives(n), budget=budget
    )


def test_a_merge_of_merges_is_one_of_the_donors():
    random = np.random.default_rng(0)
    base, donors = random.normal(size=50), random.normal(size=(4, 50))
    vectors = donors - base
    eye = np.eye(4)

    def leaf(k):
        return Node((k,), eye[[k]], np.zeros((1, 4)))

    def merged(one, variables):
        return one.coefficients(np.array([variables]))[0]

    first = merged(Merging((leaf(0), leaf(1)), by_position=True), [0.7, 0.4])
    second = merged(Merging((leaf(2), leaf(3)), by_position=True), [0.2, 0.9])
    left = base + 0.7 * vectors[0] + 0.4 * vectors[1]
    right = base + 0.2 * vectors[2] + 0.9 * vectors[3]
    nodes = (
        Node((0, 1), first[None], np.zeros((1, 4))),
        Node((2, 3), second[None], np.zeros((1, 4))),
    )
    root = merged(Merging(nodes, by_position=True), [0.5, 0.8])
    through_models = base + 0.5 * (left - base) + 0.8 * (right - base)
    assert base + root @ vectors == pytest.approx(through_models, abs=1e-12)


def test_positions_walk_through_the_members():
    members = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    node = Node((0, 1), members, np.zeros((3, 2)))
    found = node.at(np.array([0.0, 0.25, 0.5, 1.0]))
    assert found.tolist() == [[0, 1], [0.25, 0.75], [0.5, 0.5], [1, 0]]
    other = Node((0,), np.array([[1.0, 0.0]]), np.zeros((1, 2)))
    merging = Merging((node, other), by_position=True)
    assert merging.n_variables == 3
    variables, costs = merging.alone()
    assert variables.tolist() == [[1, 0, 0], [1, 0, 0.5], [1, 0, 1], [0, 1, 0.5]]
    assert merging.coefficients(variables).tolist() == [*members.tolist(), [1, 0]]
    assert len(costs) == 4
    middle = Merging((node, other), by_position=False)
    variables, _ = middle.alone()
    assert variables.tolist() == [[1, 0], [0, 1]]
    assert middle.coefficients(variables).tolist() == [[0.5, 0.5], [1, 0]]


@pytest.mark.parametrize("n", [2, 3, 8, 16])
def test_the_cost_is_linear_in_the_donors(n):
    problem = saturating(n)
    optimizer = nested(problem)
    total = n + 2 + 20 * (n - 1)
    origins = [p.origin for p in proposals(drive(optimizer, problem, total + 5))]
    node = [o for o in origins if o in ("nested_map:design", "nested_map:carried")]
    assert len(node) == 20 * (n - 1)
    assert origins[total:] == ["nested_map:around"] * 5
    assert sum("merges" in note for note in optimizer.notes) == n - 1


@pytest.mark.parametrize(("n", "budget"), [(3, 50), (8, 180)])
def test_it_finds_better_compromises_than_one_weight_for_all(n, budget):
    problem = saturating(n)
    grid = min(np.mean(problem.costs((w,) * n)) for w in np.linspace(0, 1.5, 31))
    for seed in range(3):
        events = drive(nested(problem, budget, seed), problem, budget)
        best = min(np.mean(trial.costs) for trial in trials(events))
        assert best < grid + 0.003


def test_all_weights_of_a_donor_move_together():
    problem = saturating(3, groups=4)
    for proposal in proposals(drive(nested(problem, 60), problem, 60)):
        genes = np.array(proposal.genotype).reshape(3, 4)
        assert np.ptp(genes, axis=1) == pytest.approx(0, abs=1e-12)


def test_replay_is_exact_with_failures_and_workers():
    problem = saturating(4)
    events = drive(nested(problem, 90, 5), problem, 90, workers=4, failure_rate=0.3, order_seed=2)
    replay(nested(problem, 90, 5), events)
    assert len(proposals(events)) == 90
    other = drive(nested(problem, 90, 6), problem, 90)
    assert proposals(other) != proposals(drive(nested(problem, 90, 5), problem, 90))
    all_failed = drive(nested(problem, 90), problem, 90, failure_rate=1.0)
    assert len(proposals(all_failed)) == 90
    for proposal in proposals(events):
        assert all(0 <= value <= 1.5 for value in proposal.genotype)


def test_the_node_of_nearest_scores_comes_first():
    problem = saturating(3)

    class Apart:
        """Donor 1 is about as good at its task as donor 2 at its own; donor 0 is worse."""

        def completed(self, number, genotype):
            trial = problem.completed(number, genotype)
            costs = tuple(-w * c for w, c in zip((0.3, 0.8, 0.82), genotype, strict=True))
            return dataclasses.replace(trial, costs=costs)

    optimizer = nested(problem)
    drive(optimizer, Apart(), 30)
    assert optimizer.notes[0] == "nested_map: merges d1 with d2"


def sampled_around(problem, budget, preferences):
    """Return the accuracies of what is sampled around the root, (n_points, n_tasks)."""
    scores = []
    for seed in range(3):
        optimizer = nested(problem, budget, seed, preferences=preferences)
        scores += [
            problem.costs(one.genotype)
            for one in proposals(drive(optimizer, problem, budget))
            if one.origin == "nested_map:around"
        ]
    return -np.array(scores)


@pytest.mark.parametrize(("n", "budget"), [(2, 40), (3, 60), (4, 90)])
def test_preferences_move_the_root(n, budget):
    problem = saturating(n)

    def means(preferences):
        return sampled_around(problem, budget, preferences).mean(axis=0)

    alike, first, second = means(None), means({"task0": 1.0}), means({"task1": 1.0})
    assert first[0] > alike[0] + 0.08
    assert alike[0] > second[0] + 0.04
    assert second[1] > alike[1] + 0.08
    assert alike[1] > first[1] + 0.04
    more, less = means({"task0": 2.0, "task1": 1.0}), means({"task0": 1.0, "task1": 2.0})
    assert first[0] > more[0] > less[0] > second[0]
    assert second[1] > less[1] > more[1] > first[1]
    assert more.tolist() == means({"task0": 4.0, "task1": 2.0}).tolist()


def test_preferences_reach_the_middle_of_a_front_that_curves_inward():
    """There a weighted sum is least at an end, whatever its weights."""

    def costs(genotype):
        total = sum(genotype)
        share = genotype[0] / total if total else 0.5
        return tuple(abs(total - 1) - side**2 for side in (share, 1 - share))

    problem = Problem("inward", weights(2), 2, costs)
    apart = np.ptp(sampled_around(problem, 40, None), axis=1)
    equal = np.ptp(sampled_around(problem, 40, {"task0": 1.0, "task1": 1.0}), axis=1)
    assert equal.mean() < apart.mean() - 0.15


@pytest.mark.parametrize(("n", "budget", "points"), [(16, 120, 6), (16, 182, 10), (5, 40, 8)])
def test_small_nodes_are_said_to_be_small(n, budget, points):
    optimizer = nested(saturating(n), budget)
    enough = n + 2 + 11 * (n - 1)
    assert f"with {points} points a node some surrogates may have 6 coeff" in optimizer.notes[0]
    assert f"{enough} trials allow 11 points a node, and 9 for" in optimizer.notes[0]
    assert nested(saturating(n), enough).notes == []
    assert nested(saturating(n), enough, carried=4).notes  # 7 of 11 and the base
    assert nested(saturating(n), points=12, carried=4).notes == []
    assert nested(saturating(n), points=7, carried=1).notes == []  # whose sides are known


@pytest.mark.parametrize(("n", "budget"), [(2, 11), (3, 20), (16, 120)])
def test_the_surrogates_of_small_nodes_have_the_points_that_the_note_says(n, budget):
    problem = saturating(n)
    optimizer = nested(problem, budget)
    drive(optimizer, problem, budget)
    fewest = min(
        int(note.split(" coefficients from ")[1].split()[0])
        for note in optimizer.notes[1:]
        if " coefficients from " in note
    )
    assert f"6 coefficients from {fewest} points" in optimizer.notes[0]


class Told:
    """A problem whose trials are changed before they are told."""

    def __init__(self, problem, change):
        self.problem, self.change = problem, change

    def completed(self, number, genotype):
        return self.change(self.problem.completed(number, genotype))


def test_a_donor_that_cannot_be_scored_is_merged_without_a_result_of_its_own():
    problem = saturating(3)
    donor = next(seed.genotype for seed in problem.domain.seeds if seed.name == "d2")

    def change(trial):
        if trial.genotype == donor:
            return dataclasses.replace(trial, outcome=Failed("error", "x"), costs=None)
        return dataclasses.replace(trial, costs=tuple(50 * cost - 500 for cost in trial.costs))

    optimizer = build_optimizer("nested_map", problem.domain, 3, 0, {}, budget=60)
    drive(optimizer, Told(problem, change), 60)
    assert optimizer.notes[0].startswith("nested_map: d2 has no scores of its own; ")
    fits = [note for note in optimizer.notes if "leave-one-out R2" in note]
    assert len(fits) == 5
    for note in fits:
        assert float(note.split("leave-one-out R2 ")[1].split(",")[0]) > 0.9


def test_what_it_samples_around_at_last_may_be_a_known_point():
    problem = saturating(3)
    uniform = next(seed.genotype for seed in problem.domain.seeds if seed.name == "uniform")

    def change(trial):
        best = trial.genotype == uniform
        return dataclasses.replace(trial, costs=(-1.0,) * 3) if best else trial

    events = drive(nested(problem, 200), Told(problem, change), 200)
    around = [one for one in proposals(events) if one.origin == "nested_map:around"]
    late = np.array([one.genotype for one in around[80:]])
    assert len(late) > 40
    assert np.abs(late - np.array(uniform)).max() <= 0.2 + 1e-12


@pytest.mark.parametrize("name", ["two", "three"])
def test_a_long_search_goes_on_finding(name):
    """The samples around the best are worth more than as many more around the root's members."""
    problem = merge_problem(name, noise=True, seed=1)
    costs = []
    for trial in trials(drive(nested(problem, 400), problem, 400)):
        costs.append(problem.expected_costs(trial.genotype))
    drawn = np.random.default_rng(0)
    blind = [problem.expected_costs(problem.domain.draw(drawn)) for _ in range(400)]
    worth = problem.normalised_hypervolume
    assert worth(costs) > worth(costs[:100]) + 0.01
    assert worth(costs) > worth(blind)


def test_what_it_cannot_do_is_refused():
    problem = saturating(4)
    with pytest.raises(ConfigError, match="exact only where merging is linear"):
        build_optimizer("nested_map", continuous_domain(3), 2, 0, {})
    with pytest.raises(ConfigError, match="with 4 donors needs 24 trials, 6 for each of 3"):
        nested(problem, budget=20)
    with pytest.raises(ConfigError, match="let the weights of the space reach 0 and 1"):
        build_optimizer("nested_map", dataclasses.replace(weights(2), seeds=()), 2, 0, {})
    with pytest.raises(ConfigError, match="there is no objective 'tusk1'; did you mean 'task1'"):
        nested(problem, preferences={"tusk1": 1.0})
    with pytest.raises(ConfigError, match="carried: 9 of 12 points a node"):
        nested(problem, points=12, carried=9)
