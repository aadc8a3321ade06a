"""tinyBenchmarks' file: read without running it, and estimates as its own code makes them."""

from __future__ import annotations

import io
import os
import pickle
from itertools import chain

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from evomerge.errors import DataError, UserError
from evomerge.estimators import Evidence, GpIrt, PIrt, Weighted, load_tinybenchmarks
from evomerge.estimators.plain_pickle import load_plain

D, SIZES = 3, {"gsm8k": {"gsm8k": 70}, "mmlu": {"algebra": 50, "anatomy": 20, "law": 30}}
N_ANCHORS = 25


@pytest.fixture(scope="module")
def release():
    """A file of the released form: two scenarios, one of them of unequal subtasks."""
    rng = np.random.default_rng(0)
    n = sum(size for subtasks in SIZES.values() for size in subtasks.values())
    places, scenarios, subscenarios = iter(range(n)), {}, {}
    for scenario, subtasks in SIZES.items():
        subscenarios[scenario] = {s: [next(places) for _ in range(k)] for s, k in subtasks.items()}
        scenarios[scenario] = list(chain(*subscenarios[scenario].values()))
    seen = [int(at) for own in scenarios.values() for at in rng.choice(own, N_ANCHORS, False)]
    weights = {name: rng.dirichlet(np.ones(N_ANCHORS)) for name in scenarios}
    return {
        "lb": {
            "seen_examples": seen,
            "examples_weights": weights,
            # As py-irt's lists become arrays: (n_items, D), transposed, with an axis in front.
            "irt_parameters": {
                "A": np.abs(rng.normal(0.8, 0.3, (n, D))).T[None, :, :],
                "B": rng.normal(0.2, 0.4, (n, 1)).T[None, :, :],
            },
            "optimal_lambdas": {"gsm8k": np.float64(0.4), "mmlu": np.float64(0.7)},
            "scenarios_position": scenarios,
            "subscenarios_position": subscenarios,
        }
    }


def released_estimates(release, scenario, y):
    """tinyBenchmarks' three estimates for one scenario: y has an answer for each of its anchors."""
    part = release["lb"]
    A, B = part["irt_parameters"]["A"][0], part["irt_parameters"]["B"][0]
    own = part["scenarios_position"][scenario]
    seen = [at for at in part["seen_examples"] if at in own]
    unseen = [at for at in own if at not in seen]

    def curve(theta, at):
        return expit(np.clip(A[:, at] * theta[:, None] - B[:, at], -30, 30).sum(axis=0))

    def loss(theta):
        p = curve(theta, seen)
        return -(y * np.log(p + 1e-10) + (1 - y) * np.log(1 - p + 1e-10)).sum()

    theta = minimize(loss, np.zeros(D), method="BFGS", options={"gtol": 1e-7}).x
    balance = np.ones(A.shape[1])
    subtasks = part["subscenarios_position"][scenario]
    for members in subtasks.values():
        balance[members] = len(own) / (len(subtasks) * len(members))
    rho = len(seen) / len(own)
    weighted = float(part["examples_weights"][scenario] @ y)
    predicted = (balance[unseen] * curve(theta, unseen)).mean()
    p_irt = rho * (balance[seen] * y).mean() + (1 - rho) * predicted
    c = part["optimal_lambdas"][scenario]
    return weighted, p_irt, c * weighted + (1 - c) * p_irt


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_numbers_and_containers_are_read_as_pickle_reads_them(tmp_path, release, protocol):
    file = tmp_path / "tinyBenchmarks.pkl"
    extra = {
        "every second": np.arange(10)[::2],
        "other order": np.arange(6, dtype=">i4").reshape(2, 3),
        "flags": np.array([True, False]),
        "scalar": np.float32(0.1),
        "plain": [None, True, (1, 2.5), "text", b"bytes", 2**70],
    }
    file.write_bytes(pickle.dumps(release | extra, protocol))

    def equal(one, other):
        if isinstance(other, dict):
            return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in other)
        if isinstance(other, np.ndarray | np.generic):
            return one.dtype == other.dtype and np.array_equal(one, other)
        return one == other

    assert equal(load_plain(file), release | extra)


class Runs:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (Runs(os.system, "touch ran"), "posix.system"),
        (Runs(eval, "open('ran', 'w')"), "builtins.eval"),
        (Runs(getattr, "text", "upper"), "builtins.getattr"),
        (np.array([Runs(eval, "open('ran', 'w')")], dtype=object), "of type 'O8'"),
        (np.array(["text"]), "of type 'U4'"),
        (np.zeros(2, dtype=[("x", "f8")]), "of type 'V8'"),
        (np.ma.masked_array([1.0]), "numpy.ma"),
        (io.BytesIO(b""), "_io.BytesIO"),
    ],
)
def test_a_pickle_that_is_more_than_data_is_refused_and_not_run(
    tmp_path, monkeypatch, content, named
):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "evil.pkl"
    file.write_bytes(pickle.dumps({"lb": content}, 4))
    with pytest.raises(DataError, match="not a pickle of plain containers") as caught:
        load_tinybenchmarks(file, "lb", "gsm8k")
    assert named in str(caught.value)
    assert not (tmp_path / "ran").exists()


def refusal(file):
    """What reading says against a file, or None: damage to a number is not noticed."""
    try:
        load_tinybenchmarks(file, "lb", "gsm8k")
    except UserError as error:
        return str(error)
    return None


def test_a_damaged_file_is_one_line(tmp_path, release):
    whole = pickle.dumps(release, 5)
    file = tmp_path / "x.pkl"
    rng, refused = np.random.default_rng(0), 0
    for at in range(300):
        content = bytearray(whole[: rng.integers(len(whole))] if at % 2 else whole)
        for place in rng.integers(len(content), size=3) if content else ():
            content[place] = rng.integers(256)
        file.write_bytes(content)
        said = refusal(file)
        assert said is None or (str(file) in said and "\n" not in said)
        refused += said is not None
    assert refused > 150
    with pytest.raises(DataError, match="cannot be read: No such file"):
        load_tinybenchmarks(tmp_path / "none.pkl", "lb", "gsm8k")


@pytest.mark.parametrize("scenario", list(SIZES))
@pytest.mark.parametrize("own_offsets", [False, True])
def test_estimates_are_those_of_the_released_code(tmp_path, release, scenario, own_offsets):
    rng = np.random.default_rng(1)
    if own_offsets:  # an offset in each dimension
        B = rng.normal(0.2, 0.3, release["lb"]["irt_parameters"]["A"].shape)
        parameters = release["lb"]["irt_parameters"] | {"B": B}
        release = {"lb": release["lb"] | {"irt_parameters": parameters}}
    file = tmp_path / "tinyBenchmarks.pkl"
    file.write_bytes(pickle.dumps(release, 5))
    published = load_tinybenchmarks(file, "lb", scenario)
    assert published.items.convention == "released"
    own = release["lb"]["scenarios_position"][scenario]
    seen = [at for at in release["lb"]["seen_examples"] if at in own]
    y = rng.permutation(np.arange(N_ANCHORS) % 2).astype(float)
    answers = {f"{scenario}/{own.index(at)}": value for at, value in zip(seen, y, strict=True)}
    evidence = Evidence(published.items.ids, items=published.items, subtasks=published.subtasks)
    weighted, p_irt, gp_irt = released_estimates(release, scenario, y)
    estimator = Weighted(evidence, weights=published.anchors)
    assert estimator.estimate(answers).value == pytest.approx(weighted)
    estimator = PIrt(evidence, regularised=False)
    assert estimator.estimate(answers).value == pytest.approx(p_irt, abs=1e-5)
    estimator = GpIrt(
        evidence,
        regularised=False,
        weights=published.anchors,
        irt_error=published.irt_error(0.2),
        item_variance=0.2,
    )
    assert estimator.trust(N_ANCHORS) == pytest.approx(published.trust)
    assert estimator.estimate(answers).value == pytest.approx(gp_irt, abs=1e-5)


def test_ids_are_the_users_in_the_published_order(tmp_path, release):
    file = tmp_path / "tinyBenchmarks.pkl"
    file.write_bytes(pickle.dumps(release, 5))
    ids = [f"question {at}" for at in range(70)]
    named = load_tinybenchmarks(file, "lb", "gsm8k", ids)
    plain = load_tinybenchmarks(file, "lb", "gsm8k")
    assert named.items.ids == tuple(ids)
    np.testing.assert_array_equal(named.items.discriminations, plain.items.discriminations)
    assert {f"gsm8k/{name.split()[1]}" for name in named.anchors} == set(plain.anchors)
    with pytest.raises(UserError, match="69 ids are given for the 70 published items of 'gsm8k'"):
        load_tinybenchmarks(file, "lb", "gsm8k", ids[1:])
    with pytest.raises(UserError, match="no scenario 'gsm8'; did you mean 'gsm8k'"):
        load_tinybenchmarks(file, "lb", "gsm8")
    with pytest.raises(UserError, match="no benchmark 'openllm'; valid: lb"):
        load_tinybenchmarks(file, "openllm", "gsm8k")


def test_an_item_that_two_clusters_chose_carries_both(tmp_path, release):
    part = release["lb"]
    seen = [part["seen_examples"][1], *part["seen_examples"][1:]]
    file = tmp_path / "tinyBenchmarks.pkl"
    file.write_bytes(pickle.dumps({"lb": part | {"seen_examples": seen}}, 5))
    anchors = load_tinybenchmarks(file, "lb", "gsm8k").anchors
    weights = part["examples_weights"]["gsm8k"]
    assert len(anchors) == N_ANCHORS - 1
    assert anchors[f"gsm8k/{seen[0]}"] == pytest.approx(weights[0] + weights[1])


def test_parameters_that_are_no_numbers_are_the_files_fault(tmp_path, release):
    part = release["lb"]
    broken = part["irt_parameters"]["A"].copy()
    broken[0, 1, 4] = np.nan
    file = tmp_path / "tinyBenchmarks.pkl"
    parameters = part["irt_parameters"] | {"A": broken}
    file.write_bytes(pickle.dumps({"lb": part | {"irt_parameters": parameters}}, 5))
    with pytest.raises(DataError, match=r"tinyBenchmarks.pkl: item 'gsm8k/4' has a parameter"):
        load_tinybenchmarks(file, "lb", "gsm8k")
    lambdas = part["optimal_lambdas"] | {"gsm8k": 1.0}
    file.write_bytes(pickle.dumps({"lb": part | {"optimal_lambdas": lambdas}}, 5))
    with pytest.raises(DataError, match=r"25 anchors, and c = 1.0"):
        load_tinybenchmarks(file, "lb", "gsm8k")
