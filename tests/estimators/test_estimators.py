"""Every estimator: what it must return exactly, what it must not depend on, what it refuses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from evomerge.errors import PluginError, UserError
from evomerge.estimators import (
    ESTIMATORS,
    Evidence,
    Gaussian,
    GmpIrt,
    GpIrt,
    ItemParameters,
    Mean,
    MpIrt,
    PIrt,
    Weighted,
    balanced_weights,
    build_estimator,
    cluster_anchors,
    endpoint_abilities,
    fit_logistic,
)
from tests.estimators.worlds import drawn, endpoints_of, first, items_of, names

NAMES = ("gmp_irt", "gp_irt", "mp_irt", "p_irt", "random", "weighted")
FORMS = [
    *((name, {}) for name in NAMES),
    *((name, {"regularised": False}) for name in NAMES if name.endswith("irt")),
]


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    items = items_of(rng, 60, 2)
    return items, endpoints_of(rng, items, 3), drawn(rng, items, np.array([0.5, 0.3]))


def built(world, name, options=None, **more):
    items, ends, _ = world
    return build_estimator(name, items.ids, endpoints=ends, items=items, options=options, **more)


def test_endpoints_may_have_partial_scores():
    # Scores that are the item model's own probabilities are best explained by its abilities.
    items = items_of(np.random.default_rng(4), 600, 1)
    theta = np.array([0.5])
    partial = dict(zip(items.ids, items.probabilities(theta).tolist(), strict=True))
    evidence = Evidence(items.ids, endpoints={"end": partial}, items=items)
    assert endpoint_abilities(evidence)[0] == pytest.approx(theta, abs=0.03)
    estimate = PIrt(evidence).estimate(first(partial, 60))
    assert estimate.value == pytest.approx(sum(partial.values()) / 600, abs=0.005)


def test_every_estimator_is_registered():
    assert ESTIMATORS.names() == NAMES


@pytest.mark.parametrize(("name", "options"), FORMS)
def test_all_answers_give_the_exact_score(world, name, options):
    answers = world[2]
    estimate = built(world, name, options).estimate(answers)
    assert estimate.value == pytest.approx(sum(answers.values()) / 60, abs=1e-15)
    assert estimate.standard_error == 0.0
    assert estimate.measured
    assert estimate.interval() == (estimate.value, estimate.value)


@pytest.mark.parametrize(("name", "options"), FORMS)
@pytest.mark.parametrize("answer", [0.0, 1.0])
@pytest.mark.parametrize("n", [1, 2, 10, 59])
def test_answers_that_all_agree_give_a_score_and_a_doubt(world, name, options, answer, n):
    answers = dict.fromkeys(world[0].ids[:n], answer)
    estimate = built(world, name, options).estimate(answers)
    assert 0.0 <= estimate.value <= 1.0
    assert 0.0 < estimate.standard_error <= 0.5
    assert (estimate.n_measured, estimate.n_items, estimate.measured) == (n, 60, False)


@pytest.mark.parametrize(("name", "options"), FORMS)
def test_the_order_of_items_models_and_answers_changes_nothing(world, name, options):
    items, ends, candidate = world
    rng = np.random.default_rng(1)

    def shuffled(mapping):
        keys = list(mapping)
        return {keys[at]: mapping[keys[at]] for at in rng.permutation(len(keys))}

    answers = {key: candidate[key] for key in items.ids[5:25]}
    one = built(world, name, options).estimate(answers)
    order = [items.ids[at] for at in rng.permutation(60)]
    other = build_estimator(
        name,
        [items.ids[at] for at in rng.permutation(60)],
        endpoints=shuffled({model: shuffled(given) for model, given in ends.items()}),
        items=items.select(order),
        options=options,
    )
    assert other.estimate(shuffled(answers)) == one


@pytest.mark.parametrize(("name", "options"), FORMS)
def test_wrong_answers_are_named(world, name, options):
    estimator = built(world, name, options)
    with pytest.raises(UserError, match=r"'itm-001', which is not in .* did you mean 'item-001'"):
        estimator.estimate({"item-000": 1.0, "itm-001": 0.0})
    for wrong in (1.5, -0.1, float("nan")):
        with pytest.raises(UserError, match=r"on item 'item-001'.*between 0 and 1"):
            estimator.estimate({"item-000": 1.0, "item-001": wrong})


@pytest.mark.parametrize("name", ["p_irt", "gp_irt", "mp_irt", "gmp_irt"])
def test_no_answers_leave_the_prior_prediction(world, name):
    items, ends, _ = world
    thetas = endpoint_abilities(Evidence(items.ids, endpoints=ends, items=items))
    estimate = built(world, name).estimate({})
    expected = expit(items.discriminations @ thetas.mean(axis=0) - items.offsets).mean()
    assert estimate.value == pytest.approx(expected)
    assert 0.05 < estimate.standard_error <= 0.5
    with pytest.raises(UserError, match="without a prior"):
        built(world, name, {"regularised": False}).estimate({})


@pytest.mark.parametrize("name", ["random", "weighted"])
def test_a_mean_of_nothing_is_refused(world, name):
    with pytest.raises(UserError, match="at least one answer"):
        built(world, name).estimate({})


def test_fractional_answers_are_means_of_right_and_wrong_ones(world):
    # An item answered 0.5 weighs in the likelihood as half of each answer, so twice the items at
    # 0.5 fit as one right and one wrong copy of each.
    items = world[0]
    a, b = items.discriminations, items.offsets
    doubled = ItemParameters(names(120), np.repeat(a, 2, axis=0), np.repeat(b, 2))
    half = PIrt(Evidence(doubled.ids, items=doubled)).estimate(dict.fromkeys(doubled.ids[:20], 0.5))
    split = PIrt(Evidence(doubled.ids, items=doubled)).estimate(
        dict(zip(doubled.ids[:20], [0.0, 1.0] * 10, strict=True))
    )
    assert half.value == pytest.approx(split.value, abs=1e-12)


def test_as_many_free_endpoints_as_abilities_make_mp_irt_p_irt(world):
    items, ends, candidate = world
    two = {name: ends[name] for name in ("end-0", "end-1")}
    evidence = Evidence(items.ids, endpoints=two, items=items)
    answers = first(candidate, 30)
    p_irt = PIrt(evidence, regularised=False).estimate(answers)
    mp_irt = MpIrt(evidence, regularised=False).estimate(answers)
    assert mp_irt.value == pytest.approx(p_irt.value, abs=1e-9)
    assert mp_irt.standard_error == pytest.approx(p_irt.standard_error, abs=1e-9)
    gmp_irt = GmpIrt(evidence, regularised=False).estimate(answers)
    mean = sum(answers.values()) / 30
    assert gmp_irt.value == pytest.approx((mean + mp_irt.value) / 2)


@pytest.mark.parametrize("regularised", [False, True])
def test_one_endpoint_is_a_prior_and_no_constant(world, regularised):
    items, ends, candidate = world
    evidence = Evidence(items.ids, endpoints={"base": ends["end-0"]}, items=items)
    estimator = MpIrt(evidence, regularised=regularised)
    prior = Gaussian(endpoint_abilities(evidence)[0])
    answers = first(candidate, 20)
    assert estimator.estimate(answers) == PIrt(evidence, prior=prior).estimate(answers)
    unseen = [
        20 / 60 * np.mean(list(given.values())) - estimator.estimate(given).value
        for given in (dict.fromkeys(items.ids[:20], y) for y in (0.0, 1.0))
    ]
    assert abs(unseen[0] - unseen[1]) > 0.1
    assert 0 < GmpIrt(evidence, regularised=regularised).estimate(answers).value < 1


def test_mixtures_of_no_endpoints_are_refused(world):
    for name in ("mp_irt", "gmp_irt"):
        with pytest.raises(UserError, match="endpoints"):
            build_estimator(name, world[0].ids, items=world[0])
    with pytest.raises(UserError, match="irt_error and item_variance"):
        build_estimator("gp_irt", world[0].ids, items=world[0])


def test_gp_irt_mixes_as_published(world):
    items, ends, candidate = world
    evidence = Evidence(items.ids, endpoints=ends, items=items)
    answers = first(candidate, 25)
    p_irt, mean = PIrt(evidence).estimate(answers), Mean(evidence).estimate(answers)
    B, v = 0.06, 0.21
    c = B**2 / (B**2 + v / (4 * 25))
    mixed = GpIrt(evidence, weights="equal", irt_error=B, item_variance=v)
    assert mixed.trust(25) == pytest.approx(c)
    estimate = mixed.estimate(answers)
    assert estimate.value == pytest.approx(c * mean.value + (1 - c) * p_irt.value)
    assert estimate.standard_error == pytest.approx(
        np.sqrt(
            c * mean.standard_error**2
            + (1 - c) * p_irt.standard_error**2
            + c * (1 - c) * (mean.value - p_irt.value) ** 2
        )
    )
    assert GpIrt(evidence, irt_error=0.0, item_variance=v).estimate(answers) == p_irt
    assert mixed.trust(10**9) == pytest.approx(1.0, abs=1e-6)
    surely_wrong = GpIrt(evidence, weights="equal", irt_error=1e6, item_variance=v)
    assert surely_wrong.estimate(answers).value == pytest.approx(mean.value)


def test_gp_irt_measures_its_trust_on_the_endpoints():
    rng = np.random.default_rng(5)
    items = items_of(rng, 2000, 2)
    ends = endpoints_of(rng, items, 4)
    right = GpIrt(Evidence(items.ids, endpoints=ends, items=items))
    # True items: what is left is the noise of 1,000 answers, at most 0.5 / sqrt(1000) = 0.016.
    assert 0 < right.irt_error < 0.02
    expected = np.mean([m * (1 - m) for m in (np.mean(list(e.values())) for e in ends.values())])
    assert right.item_variance == pytest.approx(expected)
    # Of two items each is a half: one predicts the other.
    pair = items.select(items.ids[:2])
    two = {"x": {"item-000": 1.0, "item-001": 0.3}, "y": {"item-000": 0.0, "item-001": 0.9}}
    gaps = []
    for row, (seen, other) in itertools.product(two.values(), [(0, 1), (1, 0)]):
        y = np.array(list(row.values()))
        a, b = pair.discriminations[[seen]], pair.offsets[[seen]]
        theta = fit_logistic(a, b, y[[seen]], Gaussian(np.zeros(2))).coefficients
        gaps.append(
            abs(expit(pair.discriminations[other] @ theta - pair.offsets[other]) - y[other])
        )
    measured = GpIrt(Evidence(pair.ids, endpoints=two, items=pair))
    assert measured.irt_error == pytest.approx(np.mean(gaps))


def test_the_mean_has_the_error_of_a_draw_without_replacement():
    # All 4,845 subsets of 4 of 20 items: the mean squared error of the mean, with S^2 of Cochran.
    y = np.array([1.0] * 8 + [0.0] * 12)
    ids = names(20)
    estimator = Mean(Evidence(ids))
    gaps, claimed = [], []
    for subset in itertools.combinations(range(20), 4):
        estimate = estimator.estimate({ids[at]: y[at] for at in subset})
        gaps.append((estimate.value - 0.4) ** 2)
        claimed.append(estimate.standard_error**2)
        p = (y[list(subset)].sum() + 2) / (4 + 4)
        assert claimed[-1] == pytest.approx(16 / 19 * p * (1 - p) / 8)
    assert np.mean(gaps) == pytest.approx(0.4 * 0.6 / 4 * 16 / 19)
    assert 0.3 < np.mean(claimed) / np.mean(gaps) < 1.0


def test_intervals_of_the_mean_cover():
    rng = np.random.default_rng(6)
    ids = names(400)
    estimator = Mean(Evidence(ids))
    y = (np.arange(400) < 240).astype(float)
    covered = 0
    for _ in range(600):
        drawn_items = rng.choice(400, 60, replace=False)
        low, high = estimator.estimate({ids[at]: y[at] for at in drawn_items}).interval()
        covered += low <= 0.6 <= high
    # 95 % of 600 is 570 with a standard deviation of 5.3.
    assert 550 <= covered <= 592


def test_balanced_subtasks_count_the_same():
    ids = names(10)
    subtasks = {name: "long" if at < 8 else "short" for at, name in enumerate(ids)}
    weights = balanced_weights(ids, subtasks)
    np.testing.assert_allclose(weights, [1 / 16] * 8 + [1 / 4] * 2)
    y = dict(zip(ids, [1.0, 0, 0, 0, 0, 0, 0, 0, 1, 1], strict=True))
    estimator = build_estimator("random", ids, subtasks=subtasks)
    assert estimator.estimate(y).value == pytest.approx((1 / 8 + 1) / 2)
    some = {name: y[name] for name in (ids[0], ids[1], ids[8])}
    assert estimator.estimate(some).value == pytest.approx((1 + 0 + 4) / (1 + 1 + 4))
    with pytest.raises(UserError, match="item 'item-003' has no subtask"):
        balanced_weights(ids, {name: "x" for name in ids if name != "item-003"})


def test_balanced_p_irt_is_the_weighted_sum(world):
    items, _, candidate = world
    subtasks = {name: "abc"[int(at > 20) + int(at > 50)] for at, name in enumerate(items.ids)}
    evidence = Evidence(items.ids, items=items, subtasks=subtasks)
    answers = first(candidate, 25)
    w = balanced_weights(items.ids, subtasks)
    uniform = PIrt(Evidence(items.ids, items=items))
    theta, _ = uniform._abilities.fit(uniform._benchmark.read(answers))
    full = np.array([*answers.values(), *items.probabilities(theta)[25:]])
    assert PIrt(evidence).estimate(answers).value == pytest.approx(w @ full)


def test_nearest_weights_are_the_items_that_an_answer_stands_for():
    # Three groups of alike items, of 6, 3 and 1; the large one has two answers.
    groups = [0] * 6 + [1] * 3 + [2]
    a = np.array([[0.2], [1.0], [2.0]])[groups]
    items = ItemParameters(names(10), a, np.zeros(10))
    estimator = Weighted(Evidence(items.ids, items=items))
    y = {"item-000": 1.0, "item-005": 0.0, "item-007": 1.0, "item-009": 0.0}
    assert estimator.estimate(y).value == pytest.approx((3 * 1 + 3 * 0 + 3 * 1 + 1 * 0) / 10)
    del y["item-009"]  # its kind now belongs to the nearest one, a = 1
    assert estimator.estimate(y).value == pytest.approx((3 * 1 + 3 * 0 + 4 * 1) / 10)


def test_given_weights_need_just_their_items(world):
    items, ends, candidate = world
    anchors = cluster_anchors(items, 12, seed=0)
    answers = {name: candidate[name] for name in anchors.ids}
    expected = sum(anchors.weights[name] * y for name, y in answers.items())
    for name, share in (("weighted", 1.0), ("gmp_irt", 0.5)):
        options = {"weights": anchors.weights}
        estimate = built(world, name, options).estimate(answers)
        mp_irt = built(world, "mp_irt", options).estimate(answers).value
        assert estimate.value == pytest.approx(share * expected + (1 - share) * mp_irt)
    evidence = Evidence(items.ids, endpoints=ends, items=items)
    shown = 12 / 60 * (expected - sum(answers.values()) / 12)
    plain = MpIrt(evidence).estimate(answers)
    moved = MpIrt(evidence, weights=anchors.weights).estimate(answers)
    assert moved.value - plain.value == pytest.approx(shown)
    assert moved.standard_error**2 == pytest.approx(plain.standard_error**2 + shown**2)
    other = next(name for name in items.ids if name not in anchors.ids)
    weighted = Weighted(evidence, weights=anchors.weights)
    with pytest.raises(UserError, match=f"item '{other}' has no weight"):
        weighted.estimate(answers | {other: 1.0})
    missing = answers.popitem()[0]
    with pytest.raises(UserError, match=f"item '{missing}' has a weight and no answer"):
        weighted.estimate(answers)


def test_evidence_names_what_is_wrong(world):
    items, ends, _ = world
    with pytest.raises(UserError, match="endpoint 'end-0' did not answer item 'item-059'"):
        Evidence(items.ids, endpoints={"end-0": first(ends["end-0"], 59)})
    with pytest.raises(UserError, match="item 'item-000' is listed twice"):
        Evidence([*items.ids, "item-000"])
    with pytest.raises(UserError, match="item 'new' has no item parameters"):
        Evidence([*items.ids, "new"], items=items)
    with pytest.raises(UserError, match="'end-1' stands among endpoints and among answers"):
        Evidence(items.ids, endpoints=ends, answers={"end-1": {}})
    with pytest.raises(UserError, match="item parameters are needed"):
        build_estimator("p_irt", items.ids)
    with pytest.raises(UserError, match="no items"):
        Evidence([])


def test_names_and_options_have_near_ones(world):
    with pytest.raises(PluginError, match="did you mean 'gmp_irt'"):
        built(world, "gmpirt")
    with pytest.raises(UserError, match="did you mean 'regularised'"):
        built(world, "p_irt", {"regularized": True})
    with pytest.raises(UserError, match="did you mean 'nearest'"):
        built(world, "weighted", {"weights": "neares"})
    with pytest.raises(UserError, match="prior has 3 dimensions, the item parameters 2"):
        built(world, "p_irt", {"prior": Gaussian(np.zeros(3))})
    with pytest.raises(UserError, match="regularised is off"):
        built(world, "p_irt", {"prior": Gaussian(np.zeros(2)), "regularised": False})
    with pytest.raises(UserError, match="delta"):
        built(world, "gmp_irt", {"delta": 1.5})


def test_items_are_fitted_where_none_are_given(world):
    items, ends, candidate = world
    answers = first(candidate, 30)
    for name in ("p_irt", "gp_irt", "mp_irt", "gmp_irt", "weighted"):
        for rank in (1, 2):
            estimate = build_estimator(name, items.ids, endpoints=ends, rank=rank).estimate(answers)
            assert 0.2 < estimate.value < 0.9
    more = build_estimator("p_irt", items.ids, endpoints=ends, answers={"candidate": answers})
    plain = build_estimator("p_irt", items.ids, endpoints=ends)
    assert more.estimate(answers) != plain.estimate(answers)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(2, 8))
def test_alike_items_rank_as_their_mean(seed, n, n_candidates):
    """Rasch items and one subset: the answers tell of an ability through their sum alone."""
    rng = np.random.default_rng(seed)
    b = rng.normal(0, 1.5, 40)
    items = ItemParameters(names(40), np.full((40, 1), rng.uniform(0.3, 2)), b)
    estimator = PIrt(Evidence(items.ids, items=items))
    rows = (rng.random((n_candidates, n)) < rng.random((n_candidates, 1))).astype(float)
    values = [
        estimator.estimate(dict(zip(items.ids[:n], row.tolist(), strict=True))).value
        for row in rows
    ]
    for (i, one), (j, other) in itertools.combinations(enumerate(values), 2):
        gap = rows[i].sum() - rows[j].sum()
        assert np.sign(gap) == np.sign(np.round(one - other, 9))


def test_abilities_that_fit_all_answers_exactly_are_not_taken_for_certain():
    rng = np.random.default_rng(3)  # the fourth item is predicted with p = 1 to the last bit
    items = items_of(rng, 4, 3)
    ends = endpoints_of(rng, items, 2)
    answers = dict(zip(items.ids[:3], rng.random(3).tolist(), strict=True))
    estimate = built((items, ends, None), "p_irt", {"regularised": False}).estimate(answers)
    assert estimate.standard_error == pytest.approx(0.25 / 2)  # of one item in four, anything


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_estimates_are_scores_with_honest_ranges(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    n_items = data.draw(st.integers(2, 30))
    items = items_of(rng, n_items, data.draw(st.integers(1, 4)))
    ends = endpoints_of(rng, items, data.draw(st.integers(1, 4)))
    n = data.draw(st.integers(1, n_items))
    given_answers = dict(zip(items.ids[:n], rng.random(n).tolist(), strict=True))
    regularised = data.draw(st.booleans())
    for name in NAMES:
        options = {"regularised": regularised} if name.endswith("irt") else {}
        estimate = built((items, ends, None), name, options).estimate(given_answers)
        low, high = estimate.interval()
        assert 0.0 <= low <= estimate.value <= high <= 1.0
        assert (estimate.standard_error == 0.0) == (n == n_items)
