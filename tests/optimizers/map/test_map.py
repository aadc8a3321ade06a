"""MAP and Bayesian MAP: the contract, the design, the trust region, the batch."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import ConfigError
from evomerge.optimizers import build_optimizer
from evomerge.optimizers.map.bayesian import Bins, scores
from evomerge.optimizers.map.region import Region
from evomerge.optimizers.map.surrogate_front import Predicted, chosen
from evomerge.pareto import hypervolume, non_dominated
from evomerge.spaces.domain import Domain, Gene
from evomerge.testing.optimizer_contract import CHECKS, Subject
from evomerge.testing.problems import continuous_domain, integer_domain, mixed_domain, sphere
from evomerge.testing.simulation import drive, proposals, trials
from tests.optimizers.map.domains import objectives, saturating, weights

ORDERED = frozenset({"continuous", "integer"})


def subject(name, label, dimensions, **options):
    def build(domain, n_objectives, seed):
        return build_optimizer(name, domain, n_objectives, seed, options)

    return Subject(label, build, generational=True, kinds=ORDERED, dimensions=dimensions)


SUBJECTS = [
    subject("map", "map", (1, 2, 5), batch=12, generations=3),
    subject("map", "map-leverage", (1, 2), batch=12, trust="leverage", generations=3),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_contract(subject, check):
    check(subject)


BAYESIAN = subject("bayesian_map", "bayesian_map", (2, 4), updates=2, generations=3)


@pytest.mark.parametrize(
    "check", [c for c in CHECKS if "equal_genotypes" not in c.__name__], ids=lambda c: c.__name__
)
def test_bayesian_contract(check):
    check(BAYESIAN)


def run(name, problem, budget, seed=0, **options):
    optimizer = build_optimizer(
        name,
        problem.domain,
        problem.n_objectives,
        seed,
        options,
        objectives=objectives(problem.n_objectives),
        budget=budget,
    )
    return optimizer, drive(optimizer, problem, budget)


def volume(events, n):
    costs = np.array([trial.costs for trial in trials(events)])
    return hypervolume(costs, np.zeros(n))


@pytest.mark.parametrize(("n", "budget", "size"), [(2, 45, 30), (3, 65, 49), (5, 100, 85)])
def test_the_budget_is_split_into_a_design_and_one_batch(n, budget, size):
    _, events = run("map", saturating(n), budget, box=[0.0, 1.5])
    origins = [proposal.origin for proposal in proposals(events)]
    assert sum(not origin.startswith("map:front") for origin in origins) == size
    assert origins[size:] == ["map:front1"] * (budget - size)


def test_a_long_budget_goes_on_batch_by_batch():
    _, events = run("map", saturating(2), 150, box=[0.0, 1.5])
    origins = [proposal.origin for proposal in proposals(events)]
    assert origins.count("map:front1") == 40
    assert len(origins) == len({p.genotype for p in proposals(events)}) == 150


@pytest.mark.parametrize("name", ["map", "bayesian_map"])
@pytest.mark.parametrize("n", [3, 4])
def test_the_batch_is_worth_more_than_as_many_sobol_points(name, n):
    budget, problem = 65, saturating(n)
    gains = []
    for seed in range(3):
        found = volume(run(name, problem, budget, seed)[1], n)
        spread = build_optimizer("sobol", problem.domain, n, seed, {})
        gains.append(found - volume(drive(spread, problem, budget), n))
    assert np.mean(gains) > 0


class Estimated:
    """Tells two of three trials as estimates, with their standard errors or without."""

    def __init__(self, problem, seed, *, with_errors):
        self._problem, self._with_errors = problem, with_errors
        self._random = np.random.default_rng(seed)

    def completed(self, number, genotype):
        true = self._problem.completed(number, genotype)
        noise = self._random.normal(0, 0.15, len(true.costs))
        if number % 3 == 0:
            return true
        costs = tuple(np.clip(np.array(true.costs) + noise, -1, 0).tolist())
        errors = (0.15,) * len(costs) if self._with_errors else ()
        return replace(true, costs=costs, errors=errors)


@pytest.mark.parametrize("name", ["map", "bayesian_map"])
def test_estimates_count_by_their_standard_errors(name):
    problem, budget = saturating(2), 45
    found = {True: [], False: []}
    for seed in range(3):
        for with_errors, volumes in found.items():
            options = {"generations": 15}
            optimizer = build_optimizer(
                name, problem.domain, 2, seed, options, objectives=objectives(2), budget=budget
            )
            told = Estimated(problem, seed, with_errors=with_errors)
            batch = [one.genotype for one in proposals(drive(optimizer, told, budget))[-15:]]
            costs = np.array([problem.completed(0, genotype).costs for genotype in batch])
            volumes.append(hypervolume(costs, np.zeros(2)))
    assert np.mean(found[True]) > np.mean(found[False])


def test_nothing_is_proposed_twice_and_the_front_is_spread():
    _, events = run("map", saturating(2), 45, box=[0.0, 1.5])
    costs = np.array([trial.costs for trial in trials(events)])
    batch = costs[-15:]
    assert len(np.unique(batch.round(6), axis=0)) == 15
    front = non_dominated(costs)
    assert (front >= 30).mean() > 0.7  # most of the front comes from the batch


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 3),
    st.tuples(st.floats(-0.5, 0.4), st.floats(0.6, 1.5)),
)
def test_no_proposal_leaves_the_trust_box(seed, n, box):
    domain = continuous_domain(n)
    random = np.random.default_rng(seed)
    answers = {}

    class Noise:
        def completed(self, number, genotype):
            problem = sphere(domain, 2)
            trial = problem.completed(number, genotype)
            costs = answers.setdefault(genotype, tuple(random.normal(size=2)))
            object.__setattr__(trial, "costs", costs)
            return trial

    options = {"box": list(box), "seeds": False, "design_size": 16, "batch": 6, "generations": 5}
    optimizer = build_optimizer("map", domain, 2, seed, options)
    region = Region.of(domain, box)
    everywhere = [(gene, upper) for gene in range(n) for upper in (False, True)]
    for event in proposals(drive(optimizer, Noise(), 40)):
        unit = np.array(domain.to_unit(event.genotype))
        if "wider" in event.origin:  # at most all faces at a time
            region = region.extended(everywhere)
        low, high = region.searched
        assert (unit >= low - 1e-12).all()
        assert (unit <= high + 1e-12).all()


def test_a_front_at_the_edge_of_the_sample_widens_it():
    problem = saturating(2)
    optimizer, events = run("map", problem, 60, box=[0.0, 0.4], design_size=20, batch=10)
    found = proposals(events)
    wider = [p.genotype for p in found if p.origin.startswith("map:wider")]
    assert wider
    assert max(max(genotype) for genotype in wider) > 0.44
    assert any("wider" in note for note in optimizer.notes)
    after = [p.genotype for p in found if p.origin.startswith("map:front")]
    assert max(max(genotype) for genotype in after) > 0.44


def test_searching_far_outside_the_sample_destroys_the_front_unless_leverage_is_limited():
    problem = saturating(4, low=-3.0, high=3.0)
    volumes = {}
    for trust in ("none", "leverage", "box"):
        found = []
        for seed in range(3):
            _, events = run("map", problem, 75, seed, box=[0.0, 1.0], trust=trust)
            batch = [t for t in trials(events) if t.number >= 60]
            found.append(hypervolume(np.array([t.costs for t in batch]), np.zeros(4)))
        volumes[trust] = np.mean(found)
    assert volumes["none"] < 0.7 * volumes["leverage"]
    assert volumes["none"] < 0.7 * volumes["box"]


def test_the_published_preset_searches_where_nothing_was_sampled():
    problem = saturating(3, low=-3.0, high=3.0)
    options = {"preset": "published", "seeds": False, "design_size": 20, "batch": 10}
    _, events = run("map", problem, 30, box=[0.0, 1.0], **options)
    found = proposals(events)
    design = np.array([p.genotype for p in found[:20]])
    assert design.min() >= 0
    assert design.max() <= 1
    assert [tuple(row) for row in design[:3]] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    front = np.array([p.genotype for p in found if p.origin == "map:front1"])
    assert len(front) == 10
    assert np.abs(front).max() > 2


def test_the_published_preset_says_what_eight_donors_leave_open():
    problem = saturating(8, low=-3.0, high=3.0)
    options = {"preset": "published", "seeds": False, "design_size": 60, "generations": 2}
    optimizer, events = run("map", problem, 75, box=[0.0, 1.0], **options)
    assert len(proposals(events)) == 75
    assert any("curve_fit cannot tell how certain" in note for note in optimizer.notes)
    assert any("determine 37 of 45 coefficients" in note for note in optimizer.notes)


@pytest.mark.parametrize("name", ["map", "bayesian_map"])
def test_a_search_without_a_ridge_survives_what_it_cannot_determine(name):
    switch = Gene("switch", "integer", low=0, high=1, initial=0)  # its square says nothing more
    problem = sphere(Domain((*continuous_domain(1).genes, switch)), 2)
    optimizer = build_optimizer(name, problem.domain, 2, 0, {"ridge": 0, "generations": 5})
    assert len(proposals(drive(optimizer, problem, 60))) == 60
    assert any("determine 5 of 6 coefficients" in note for note in optimizer.notes)


def test_failures_are_left_out_and_not_repeated():
    domain = weights(2)
    optimizer = build_optimizer("map", domain, 2, 0, {"design_size": 12, "batch": 5})
    events = drive(optimizer, saturating(2), 60, failure_rate=0.6, order_seed=1)
    assert any("too few to fit; sampling goes on" in note for note in optimizer.notes)
    assert len(proposals(events)) == 60


def test_what_cannot_be_determined_is_refused():
    with pytest.raises(ConfigError, match="fits 66 coefficients in 10 genes and a budget of 60"):
        build_optimizer("map", weights(10), 2, 0, {}, budget=60)
    with pytest.raises(ConfigError, match="design_size 8 leaves 8 points"):
        build_optimizer("map", weights(2), 2, 0, {"design_size": 8})
    with pytest.raises(ConfigError, match="gene 'switch' is a choice"):
        build_optimizer("map", mixed_domain(), 2, 0, {})
    with pytest.raises(ConfigError, match="takes 2 to 10 genes, the space has 11"):
        build_optimizer("bayesian_map", weights(11), 2, 0, {})
    with pytest.raises(ConfigError, match=r"box: \[2, 3\] lies outside gene 'weight"):
        build_optimizer("map", weights(2), 2, 0, {"box": [2, 3]})
    with pytest.raises(ConfigError, match=r"expected \[least, greatest\] of every gene"):
        build_optimizer("map", weights(2), 2, 0, {"box": [1]})
    with pytest.raises(ConfigError, match="released_nsga3 needs two or more objectives"):
        build_optimizer("map", weights(2), 1, 0, {"preset": "published"})


def test_a_constant_objective_keeps_its_place():
    problem = saturating(2)

    class Half:
        def completed(self, number, genotype):
            trial = problem.completed(number, genotype)
            object.__setattr__(trial, "costs", (trial.costs[0], -0.5))
            return trial

    optimizer = build_optimizer(
        "map", problem.domain, 2, 0, {}, objectives=objectives(2), budget=40
    )
    assert len(proposals(drive(optimizer, Half(), 40))) == 40
    assert any("task1: all 25 points tie" in note for note in optimizer.notes)


@pytest.mark.parametrize("name", ["map", "bayesian_map"])
@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 3), (-2, 4)])
def test_nothing_of_a_finite_domain_is_proposed_twice_and_it_ends(name, low, high):
    problem = sphere(integer_domain(low, high, 2), 2)
    optimizer = build_optimizer(name, problem.domain, 2, 0, {"generations": 5})
    found = [one.genotype for one in proposals(drive(optimizer, problem, 80, workers=4))]
    assert len(found) == len(set(found)) == (high - low + 1) ** 2
    assert optimizer.stop_reason() == f"{name}: finds no genotype that was not proposed before"


@pytest.mark.parametrize("name", ["map", "bayesian_map"])
def test_a_box_that_is_used_up_does_not_end_the_search_of_a_finite_domain(name):
    problem = sphere(integer_domain(0, 3, 2), 2)
    optimizer = build_optimizer(name, problem.domain, 2, 0, {"box": [0, 1]}, budget=40)
    found = [one.genotype for one in proposals(drive(optimizer, problem, 40))]
    assert len(set(found)) == 16
    assert set(found[:4]) == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_one_gene_of_three_values_is_three_trials():
    problem = sphere(integer_domain(0, 2), 2)
    optimizer = build_optimizer("map", problem.domain, 2, 0, {})
    assert len(proposals(drive(optimizer, problem, 40))) == 3
    assert optimizer.stop_reason() == "map: finds no genotype that was not proposed before"


def test_a_batch_of_a_finite_domain_is_of_the_predicted_front():
    domain = integer_domain(0, 20, 2)
    problem = sphere(domain, 2)
    optimizer = build_optimizer("map", domain, 2, 0, {}, budget=45)
    batch = proposals(drive(optimizer, problem, 45))[30:]
    assert {one.origin for one in batch} == {"map:front1"}
    every = [problem.costs((i, j)) for i in range(21) for j in range(21)]
    costs = np.array([problem.costs(one.genotype) for one in batch] + every)
    assert np.mean([k in set(non_dominated(costs)) for k in range(15)]) > 0.5


def test_choosing_takes_extremes_then_the_farthest():
    costs = np.array([[0.0, 1.0], [0.1, 0.9], [0.5, 0.5], [0.9, 0.1], [1.0, 0.0], [2.0, 2.0]])
    points = np.linspace(0, 1, 6)[:, None]
    predicted = Predicted(points, costs, 5)
    assert chosen(predicted, 3, np.empty((0, 1))).ravel().tolist() == [0.0, 0.8, 0.4]
    assert chosen(predicted, 2, np.array([[0.0]])).ravel().tolist() == [0.8, 0.2]
    assert len(chosen(predicted, 10, np.empty((0, 1)))) == 6  # dominated ones come last
    assert chosen(predicted, 10, np.empty((0, 1)))[-1] == 1.0


@pytest.mark.parametrize("n", [2, 3, 5])
def test_directions_fall_into_the_bin_they_were_drawn_from(n):
    bins, random = Bins(n), np.random.default_rng(n)
    assert bins.count == (4 if n < 4 else 2) ** (n - 1)
    for number in range(bins.count):
        drawn = np.array([bins.draw(number, random) for _ in range(20)])
        assert np.linalg.norm(drawn, axis=1) == pytest.approx(1)
        assert drawn.min() >= 0
        assert set(bins.of(drawn)) == {number}


def test_bins_with_larger_errors_score_higher_and_empty_ones_highest():
    bins, random = Bins(2), np.random.default_rng(0)
    errors, numbers = np.array([0.1, 0.1, 0.4, 0.4]), np.array([0, 0, 1, 1])
    found = scores(errors, numbers, bins, random)
    assert found.tolist() == pytest.approx([0.1, 0.4, 0.4, 0.4])


def test_a_fifth_of_a_bin_is_left_out_thirty_times_each_time_of_all_its_points():
    draws = np.random.default_rng(1)
    numbers = draws.integers(0, 8, 40)
    numbers[numbers == 3] = 5  # an empty bin
    errors = draws.random(40)
    expected = np.full(8, -np.inf)
    random = np.random.default_rng(2)
    for number in np.unique(numbers):
        own = errors[numbers == number]
        kept = max(1, round(0.8 * len(own)))
        means = [random.permutation(own)[:kept].mean() for _ in range(30)]
        expected[number] = own.mean() + 0.5 * np.std(means)
    expected[3] = expected.max()
    found = scores(errors, numbers, Bins(4), np.random.default_rng(2))
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_updates_sample_where_the_surrogate_is_wrong():
    domain = weights(2)

    class Kink:  # a quadratic but for a ridge near the second donor's axis
        def completed(self, number, genotype):
            x, y = genotype
            wrong = 5.0 * np.sin(12 * y) if np.arctan2(y, x) > 3 * np.pi / 8 else 0.0
            trial = saturating(2).completed(number, genotype)
            object.__setattr__(trial, "costs", (x**2 + wrong, y))
            return trial

    options = {"design_size": 30, "updates": 3, "seeds": False}
    optimizer = build_optimizer("bayesian_map", domain, 2, 3, options, budget=105)
    found = [p for p in proposals(drive(optimizer, Kink(), 105)) if "update" in p.origin]
    angles = np.array([np.arctan2(p.genotype[1], p.genotype[0]) for p in found])
    assert (angles > 3 * np.pi / 8).mean() > 0.35  # a quarter of the directions


@pytest.mark.parametrize("name", ["map", "bayesian_map"])
def test_a_budget_that_is_too_small_is_told_how_much_more_it_takes(name):
    domain = weights(3)
    with pytest.raises(ConfigError) as caught:
        build_optimizer(name, domain, 2, 0, {}, budget=25)
    (more,) = re.findall(r"Give it (\d+) more", str(caught.value))
    build_optimizer(name, domain, 2, 0, {}, budget=25 + int(more))
    with pytest.raises(ConfigError, match="Give it 1 more,"):
        build_optimizer(name, domain, 2, 0, {}, budget=24 + int(more))


def test_bayesian_map_says_when_it_has_no_trials_for_updates():
    domain = weights(3)
    assert build_optimizer("bayesian_map", domain, 2, 0, {}, budget=60).notes == []
    (note,) = build_optimizer("bayesian_map", domain, 2, 0, {}, budget=29).notes
    assert note.startswith("bayesian_map: 29 trials leave none for updates")
