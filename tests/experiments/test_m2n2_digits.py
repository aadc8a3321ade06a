"""The digits experiment: its network in plain NumPy, its data, its founders, and its driver."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.experiments.lab import modules_of

pytest.importorskip("sklearn")

FOLDER = Path(__file__).parents[2] / "experiments" / "m2n2_digits"


@pytest.fixture(scope="module")
def lab():
    names = ("arms", "digits", "driving", "run", "searches", "specialists")
    with modules_of(FOLDER, *names) as modules:
        yield SimpleNamespace(**dict(zip(names, modules, strict=True)))


def forward(weights, pixels):
    """The network in float64, as its weights stand in storage order."""
    w1, b1, w2, b2 = np.split(weights.astype(np.float64), [16384, 16640, 19200])
    hidden = np.maximum(pixels @ w1.reshape(64, 256) + b1, 0)
    return hidden @ w2.reshape(256, 10) + b2


def random_individuals(n, seed=0):
    return (0.05 * np.random.default_rng(seed).standard_normal((n, 19210))).astype(np.float32)


def test_the_data_are_the_published_split(lab):
    train, test = lab.digits.load()
    assert (len(train), len(test), lab.digits.N_WEIGHTS) == (1437, 360, 19210)
    assert train.pixels.dtype == np.float32
    assert (train.pixels.min(), train.pixels.max()) == (0, 16)
    assert train.labels[:10].tolist() == list(range(10))


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("layout", ["storage", "unit"])
def test_the_batched_network_is_the_plain_one(lab, n, layout):
    train, _ = lab.digits.load()
    images = train.part(slice(50))
    individuals = random_individuals(n)
    ordered = np.stack([lab.searches.in_layout(one, layout) for one in individuals])
    network = lab.digits.Network(images, layout)
    expected = np.stack([forward(one, images.pixels) for one in individuals])
    np.testing.assert_allclose(network.logits(ordered), expected, rtol=1e-3, atol=1e-4)
    solved = expected.argmax(axis=-1) == images.labels
    np.testing.assert_array_equal(network.solved(ordered), solved)
    np.testing.assert_allclose(network.accuracy(ordered), solved.mean(axis=1))
    shares, right = network.confidence(ordered)
    np.testing.assert_array_equal(right, solved)
    e = np.exp(expected - expected.max(axis=-1, keepdims=True))
    p = (e / e.sum(axis=-1, keepdims=True))[:, np.arange(50), images.labels]
    np.testing.assert_allclose(shares, p, rtol=1e-3, atol=1e-6)


def test_hidden_units_stand_together_in_layout_unit(lab):
    weights = np.arange(19210, dtype=np.float32)
    flat = lab.searches.in_layout(weights, "unit")
    w1, b1, w2, b2 = np.split(weights, [16384, 16640, 19200])
    for unit in (0, 7, 255):
        expected = [*w1.reshape(64, 256)[:, unit], b1[unit], *w2.reshape(256, 10)[unit]]
        np.testing.assert_array_equal(flat[75 * unit : 75 * (unit + 1)], expected)
    np.testing.assert_array_equal(flat[19200:], b2)
    assert lab.digits.order("unit").size == lab.digits.order("storage").size == 19210


def test_the_published_pair_is_the_published_pair(lab):
    """Accuracies as they were measured with the published code itself."""
    train, test = lab.digits.load()
    pair = np.stack(lab.specialists.founders("specialists", 5, train))
    found = [100 * lab.digits.Network(images).accuracy(pair) for images in (train, test)]
    np.testing.assert_allclose(found, [[49.3, 48.2], [43.9, 46.1]], atol=0.06)
    cosine = pair[0] @ pair[1] / np.linalg.norm(pair[0]) / np.linalg.norm(pair[1])
    assert cosine == pytest.approx(0.004, abs=0.0006)


def test_pairs_of_each_seeds_own_are_as_good(lab):
    train, test = lab.digits.load()
    one, other = (np.stack(lab.specialists.founders("pairs", seed, train)) for seed in (0, 1))
    assert not np.array_equal(one, other)
    for pair in (one, other):
        found = [100 * lab.digits.Network(images).accuracy(pair) for images in (train, test)]
        np.testing.assert_allclose(found, [[49.3, 48.2], [43.9, 46.1]], atol=3)


def test_random_vectors_are_those_of_jax(lab):
    jax = pytest.importorskip("jax")
    threefry = sys.modules["threefry"]
    before = jax.config.jax_threefry_partitionable
    jax.config.update("jax_threefry_partitionable", False)
    try:
        keys = jax.random.split(jax.random.PRNGKey(7), 3)
        ours = threefry.split(threefry.key_of(7), 3)
        np.testing.assert_array_equal(np.asarray(keys), ours)
        for n in (1, 4, 1001):
            expected = np.asarray(jax.random.normal(keys[1], (n,)))
            np.testing.assert_allclose(threefry.normals(ours[1], n), expected, rtol=1e-4, atol=1e-6)
    finally:
        jax.config.update("jax_threefry_partitionable", before)


@pytest.mark.parametrize("start", ["specialists", "pairs", "scratch"])
def test_every_arm_runs(lab, start):
    train, test = lab.digits.load()
    fit = train.part(slice(100))
    for name, comparison in lab.arms.COMPARISONS[start].items():
        models = [lab.specialists.founders(start, seed, train) for seed in (0, 1)]
        courses = lab.driving.drive(
            comparison.arm, models, (0, 1), 40, fit, test, batch=comparison.batch, marks=(20,)
        )
        network = lab.digits.Network(fit, comparison.arm.layout)
        for course in courses:
            assert course.accuracy == network.accuracy(course.weights[None])[0], name
            assert [mark for mark, _ in course.curve] == [20, 40]
            assert 1 <= course.evaluations <= 42


def test_seeds_side_by_side_are_the_seeds_alone(lab):
    train, test = lab.digits.load()
    fit = train.part(slice(200))
    arm = lab.arms.COMPARISONS["scratch"]["published"].arm
    pairs = [lab.specialists.random_pair(seed) for seed in range(3)]
    together = lab.driving.drive(arm, pairs, range(3), 60, fit, test)
    for seed in range(3):
        (alone,) = lab.driving.drive(arm, [pairs[seed]], [seed], 60, fit, test)
        assert alone.accuracy == together[seed].accuracy
        np.testing.assert_array_equal(alone.weights, together[seed].weights)


def test_breeding_while_scoring_is_reproducible(lab):
    train, test = lab.digits.load()
    fit = train.part(slice(200))
    arm = lab.arms.COMPARISONS["scratch"]["published"].arm
    pairs = [lab.specialists.random_pair(seed) for seed in range(2)]
    one, other = (
        lab.driving.drive(
            arm, pairs, range(2), 45, fit, test, batch=10, ahead=True, marks=(5,)
        )
        for _ in range(2)
    )  # fmt: skip
    for ours, again in zip(one, other, strict=True):
        assert ours.curve == again.curve
        assert [mark for mark, _ in ours.curve] == [5, 45]
        np.testing.assert_array_equal(ours.weights, again.weights)


def test_weights_that_are_not_finite_solve_nothing(lab):
    train, _ = lab.digits.load()
    individuals = random_individuals(3)
    individuals[1, 5] = np.nan
    individuals[2, 100] = np.inf
    network = lab.digits.Network(train)
    arm = lab.arms.COMPARISONS["scratch"]["published"].arm
    results = lab.driving.scored(network, [individuals[:1], individuals[1:]], arm)
    assert [one.scores is None for one in results] == [False, True, True]
    assert [one.accuracy for one in results][1:] == [0, 0]


def test_finished_runs_are_kept(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(lab.run, "BUDGETS", {"specialists": 12, "scratch": 12})
    monkeypatch.setattr(
        sys, "argv",
        ["run", "--out", str(tmp_path), "--start", "specialists", "--arms", "published", "ga",
         "--seeds", "2", "--side-by-side", "1"],
    )  # fmt: skip
    lab.run.main()
    written = (tmp_path / "results.jsonl").read_text().splitlines()
    assert [(one["arm"], one["seed"]) for one in map(json.loads, written)] == [
        ("published", 0), ("published", 1), ("ga", 0), ("ga", 1),
    ]  # fmt: skip
    (tmp_path / "results.jsonl").write_text("\n".join(written[:1] + written[2:]) + "\n")
    lab.run.main()
    again = (tmp_path / "results.jsonl").read_text().splitlines()
    assert sorted(again) == sorted(written)
