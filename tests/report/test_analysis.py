"""The analysis against numbers computed from the item scores by other means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from evomerge.report import analyse
from evomerge.types import Objective
from tests.report.fronts import build_front, make_front, make_row

CONFIRMED = {"a": 0.5, "b": 0.5}


def items(row, objective):
    return np.array(list(row.holdout_examples[objective].values()))


def test_estimates_are_the_means_with_scipys_intervals(analysis):
    for row in analysis.rows[:3]:
        scores = items(row.row, "math")
        estimate = row.holdout["math"]
        theirs = stats.bootstrap(
            (scores,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(1)
        ).confidence_interval
        assert estimate.score == row.row.holdout["math"]
        assert estimate.n_items == 200
        assert estimate.low == pytest.approx(theirs.low, abs=0.012)
        assert estimate.high == pytest.approx(theirs.high, abs=0.012)


def test_gains_are_paired_with_the_best_baseline_of_each_objective(analysis):
    by_name = {row.row.name: row for row in analysis.rows}
    for objective, best in (("math", "donor:math"), ("code", "donor:code")):
        baselines = [row for row in analysis.rows if row.row.kind == "baseline"]
        strongest = max(baselines, key=lambda row, o=objective: row.row.holdout[o])
        assert strongest.row.name == best
        for name in ("trial 12", "trial 37"):
            gain = by_name[name].gains[objective]
            differences = items(by_name[name].row, objective) - items(strongest.row, objective)
            error = differences.std() / np.sqrt(len(differences))
            assert gain.against == best
            assert gain.gain == pytest.approx(differences.mean())
            assert gain.high - gain.low == pytest.approx(2 * 1.96 * error, rel=0.12)
            assert gain.within_noise == (gain.low <= 0 <= gain.high)
    assert by_name["base"].gains == {}


def test_mean_gain_is_over_the_baseline_with_the_best_mean(analysis):
    means = {
        row.row.name: np.mean([items(row.row, "math").mean(), items(row.row, "code").mean()])
        for row in analysis.rows
    }
    best = max((row.row.name for row in analysis.baselines), key=means.__getitem__)
    for row in analysis.members:
        assert row.holdout_mean.score == pytest.approx(means[row.row.name])
        assert row.mean_gain.against == best
        assert row.mean_gain.gain == pytest.approx(means[row.row.name] - means[best])
    assert [row.row.name for row in analysis.members] == sorted(
        (row.row.name for row in analysis.members), key=means.__getitem__, reverse=True
    )


def test_mean_interval_treats_objectives_as_separate_samples(analysis):
    row = analysis.rows[0]
    parts = [items(row.row, name) for name in ("math", "code")]
    error = np.sqrt(sum(part.var() / len(part) for part in parts)) / 2
    width = row.holdout_mean.high - row.holdout_mean.low
    assert width == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_objectives_on_the_same_items_keep_their_correlation():
    # Two objectives that always agree: the mean's interval is as wide as either's.
    hits = np.random.default_rng(0).random(150) < 0.5
    scores = {f"i{n}": float(hit) for n, hit in enumerate(hits)}
    mean = {"a": hits.mean(), "b": hits.mean()}
    both = {"a": scores, "b": scores}
    analysis = analyse(make_front(make_row("base", mean, None, both)))
    (row,) = analysis.rows
    assert row.search_mean.low == pytest.approx(row.search["a"].low)
    assert row.search_mean.high == pytest.approx(row.search["b"].high)


def test_confirmed_members_are_non_dominated_among_members_and_baselines():
    rows = [
        make_row("trial 1", {"a": 0.9, "b": 0.9}, {"a": 0.5, "b": 0.2}),
        make_row("trial 2", {"a": 0.9, "b": 0.9}, {"a": 0.4, "b": 0.2}),
        make_row("trial 3", {"a": 0.9, "b": 0.9}, {"a": 0.2, "b": 0.3}),
        make_row("trial 4", {"a": 0.9, "b": 0.9}),
        make_row("uniform", {"a": 0.1, "b": 0.1}, {"a": 0.2, "b": 0.4}),
    ]
    analysis = analyse(make_front(*rows))
    # 2 falls to 1, 3 to the uniform merge; 4 was never scored, baselines are not judged.
    assert [row.confirmed for row in analysis.rows] == [True, False, False, None, None]
    assert analysis.best == {"a": ("trial 1",), "b": ("uniform",)}
    assert any("Not scored on hold-out items: trial 4" in note for note in analysis.notes)
    assert analysis.members[-1].row.name == "trial 4"


def test_minimised_objectives_gain_by_being_lower():
    objectives = (Objective("loss", "minimize"),)
    ids = [f"i{n}" for n in range(40)]
    low = {"loss": dict.fromkeys(ids, 1.5)}
    high = {"loss": dict.fromkeys(ids, 2.0)}
    rows = [
        make_row("base", {"loss": 2.0}, None, high),
        make_row("uniform", {"loss": 2.5}),
        make_row("trial 5", {"loss": 1.5}, None, low),
    ]
    analysis = analyse(make_front(*rows, objectives=objectives))
    gain = analysis.members[0].gains["loss"]
    # Nobody knows by how much more or less the loss of other items might differ.
    assert (gain.against, gain.gain, gain.low, gain.high) == ("base", 0.5, None, None)
    assert (gain.probability_better, gain.within_noise) == (None, None)
    assert analysis.best == {"loss": ("trial 5",)}
    assert analysis.members[0].search_mean is None


def test_equal_models_are_within_noise_and_even():
    scores = {f"i{n}": n % 3 / 2 for n in range(30)}
    mean = {"a": float(np.mean(list(scores.values())))}
    rows = [make_row(name, mean, None, {"a": scores}) for name in ("base", "trial 1")]
    gain = analyse(make_front(*rows)).members[0].gains["a"]
    share = stats.binomtest(0, 30).proportion_ci(method="exact").high
    assert (gain.gain, gain.low, gain.high) == pytest.approx((0.0, -share, share))
    assert gain.within_noise is True
    assert gain.probability_better == 0.5


def all_or_none(n_items=4):
    """A member that is right on every item of one objective and half of the other's, and a base."""
    halves = [n % 2 for n in range(n_items)]
    rows = []
    for name, a, b in (("trial 1", [1] * n_items, halves), ("base", [0] * n_items, halves)):
        items = {
            key: {f"{key}{n}": float(score) for n, score in enumerate(own)}
            for key, own in {"a": a, "b": b}.items()
        }
        means = {key: float(np.mean(list(own.values()))) for key, own in items.items()}
        rows.append(make_row(name, means, means, items, items))
    return make_front(*rows)


def test_scores_on_which_all_items_agree_have_scipys_exact_interval():
    analysis = analyse(all_or_none())
    for row, right in zip(analysis.rows, (4, 0), strict=True):
        theirs = stats.binomtest(right, 4).proportion_ci(method="exact")
        found = row.holdout["a"]
        assert (found.low, found.high, found.n_items) == pytest.approx((theirs.low, theirs.high, 4))
    # 4 of 4 against 0 of 4: McNemar's exact p is 0.125, and the interval says luck as well.
    gain = analysis.members[0].gains["a"]
    assert (gain.gain, gain.high, gain.within_noise) == (1.0, 1.0, True)
    assert analyse(all_or_none(40)).members[0].gains["a"].within_noise is False
    assert analysis.volumes is None


def test_a_mean_is_no_surer_for_an_objective_whose_items_agree():
    row = analyse(all_or_none()).members[0]
    certain, varied, mean = row.holdout["a"], row.holdout["b"], row.holdout_mean
    bootstrapped = (varied.high - varied.low) / 2
    assert mean.high - mean.low > max(bootstrapped, (certain.high - certain.low) / 2)
    assert 0 <= mean.low < mean.score < mean.high <= 1


def test_a_front_on_which_all_items_agree_has_no_interval_of_its_volume():
    def row(name, score):
        items = {"a": {f"i{n}": score for n in range(6)}}
        return make_row(name, {"a": score}, None, items)

    rows = [row("base", 0.0), row("donor:x", 0.0), row("trial 1", 1.0)]
    volumes = analyse(make_front(*rows)).volumes
    assert (volumes.front_search > 1, volumes.interval) == (True, None)


def test_no_interval_where_items_do_not_explain_the_score():
    examples = {"a": {"x": 1.0, "y": 0.0}}
    rows = [
        make_row("base", {"a": 0.5}, None, examples),
        make_row("uniform", {"a": 0.4}),
        make_row("trial 1", {"a": 0.9}, None, examples),
    ]
    analysis = analyse(make_front(*rows))
    base, _, member = analysis.rows
    assert base.search["a"].low is not None
    assert member.search["a"].low is None
    assert member.gains["a"].gain == pytest.approx(0.4)
    assert member.gains["a"].within_noise is None
    assert any("No interval for a" in note for note in analysis.notes)


def test_different_items_are_never_paired():
    rows = [
        make_row("base", {"a": 0.5}, None, {"a": {"x": 1.0, "y": 0.0}}),
        make_row("trial 1", {"a": 0.5}, None, {"a": {"x": 1.0, "z": 0.0}}),
    ]
    gain = analyse(make_front(*rows)).members[0].gains["a"]
    assert (gain.gain, gain.low, gain.within_noise) == (0.0, None, None)


def test_without_holdout_the_winners_curse_is_said():
    analysis = analyse(build_front(2, holdout=False))
    assert analysis.split == "search"
    assert "winner's curse" in analysis.notes[0]
    assert all(row.confirmed is None for row in analysis.rows)
    assert all(row.holdout is None for row in analysis.rows)


def test_means_need_one_unit():
    objectives = (Objective("a"), Objective("b"))
    shares = [make_row("trial 1", {"a": 0.5, "b": 0.5})]
    assert analyse(make_front(*shares, objectives=objectives)).rows[0].search_mean.score == 0.5
    lengths = [make_row("trial 1", {"a": 0.5, "b": 50.0})]
    analysis = analyse(make_front(*lengths, objectives=objectives))
    assert analysis.rows[0].search_mean is None
    assert any("No mean over objectives" in note for note in analysis.notes)


def test_hypervolumes_by_hand():
    rows = [
        make_row("base", {"a": 0.2, "b": 0.2}, {"a": 0.2, "b": 0.2}),
        make_row("donor:a", {"a": 0.6, "b": 0.2}, {"a": 0.7, "b": 0.2}),
        make_row("donor:b", {"a": 0.2, "b": 0.4}, {"a": 0.2, "b": 0.4}),
        make_row("trial 1", {"a": 0.6, "b": 0.4}, {"a": 0.45, "b": 0.3}),
    ]
    volumes = analyse(make_front(*rows)).volumes
    assert volumes.front_search == pytest.approx(1.1 * 1.1)
    assert volumes.front_holdout == pytest.approx(0.6 * 0.6)
    corners = 2 * 1.1 * 0.1 - 0.1 * 0.1
    assert volumes.baselines_search == pytest.approx(corners)
    assert volumes.baselines_holdout == pytest.approx(corners)
    assert volumes.degenerate == ()
    unscored = make_row("trial 2", {"a": 0.1, "b": 0.1})
    assert analyse(make_front(*rows, unscored)).volumes.front_holdout is None
    # The study had one of the two scored: the volume there is its own.
    limit = replace(make_front(*rows, unscored), holdout_size=1)
    assert analyse(limit).volumes.front_holdout == pytest.approx(0.6 * 0.6)
    assert analyse(make_front(*rows[1:])).volumes is None


def test_degenerate_anchors_are_said():
    rows = [make_row("base", {"a": 0.5}), make_row("donor:x", {"a": 0.4})]
    analysis = analyse(make_front(*rows, make_row("trial 1", {"a": 0.5})))
    assert analysis.volumes.degenerate == ("a",)
    assert analysis.volumes.front_search == pytest.approx(1.1)
    assert any("No donor beats the base in a" in note for note in analysis.notes)


def test_selection_among_noise_shows_as_shrinkage_and_noise():
    # 300 equal coins; the best ten on search items are no better than others on hold-out items.
    rng = np.random.default_rng(1)
    searched = rng.random((300, 100)) < 0.5
    picked = np.argsort(-searched.mean(axis=1))[:10]
    rows = []
    held = {int(i): rng.random(100) < 0.5 for i in picked}
    held[-1] = rng.random(100) < 0.5
    for index, hits in held.items():
        name = "base" if index < 0 else f"trial {index}"
        search = searched[index] if index >= 0 else rng.random(100) < 0.5
        examples = {"a": {f"h{n}": float(hit) for n, hit in enumerate(hits)}}
        rows.append(make_row(name, {"a": search.mean()}, {"a": hits.mean()}, None, examples))
    analysis = analyse(make_front(*rows))
    seen = np.mean([row.search["a"].score for row in analysis.members])
    found = np.mean([row.holdout["a"].score for row in analysis.members])
    assert seen > 0.58
    assert abs(found - 0.5) < 3 * 0.5 / np.sqrt(1000)
    assert sum(row.gains["a"].within_noise for row in analysis.members) >= 8


def test_knee_is_picked_by_the_scores_that_are_not_reported(analysis):
    members = [row.row for row in analysis.rows if row.row.kind == "front"]
    members = [
        row
        for row in members
        if not any(
            other.search["math"] > row.search["math"] and other.search["code"] > row.search["code"]
            for other in members
        )
    ]
    scores = np.array([[row.search["math"], row.search["code"]] for row in members])
    unit = (scores - scores.min(axis=0)) / np.ptp(scores, axis=0)
    assert analysis.knee == members[int(unit.sum(axis=1).argmax())].name
    flipped = [
        replace(row, holdout={"math": 0.0, "code": 0.0}, holdout_examples={})
        if row.name == analysis.knee
        else row
        for row in analysis.front.rows
    ]
    assert analyse(replace(analysis.front, rows=tuple(flipped))).knee == analysis.knee
    few = replace(analysis.front, rows=analysis.front.rows[:7])
    assert analyse(few).knee is None


def test_order_of_rows_changes_no_number(front, analysis):
    shuffled = analyse(replace(front, rows=front.rows[::-1]))
    assert {row.row.name: row.holdout for row in shuffled.rows} == {
        row.row.name: row.holdout for row in analysis.rows
    }
    assert shuffled.volumes == analysis.volumes


def by_resampling(rows, split, n_draws=3000):
    """P(no other row dominates) and who dominates whom, from item scores, draw by draw."""
    rng = np.random.default_rng(99)
    tables = {
        name: np.array([list(getattr(row, f"{split}_examples")[name].values()) for row in rows])
        for name in ("math", "code")
    }
    n_items = tables["math"].shape[1]
    beats = np.zeros((len(rows), len(rows)))
    free = np.zeros(len(rows))
    for _ in range(n_draws):
        means = np.stack(
            [
                table[:, rng.integers(n_items, size=n_items)].mean(axis=1)
                for table in tables.values()
            ],
            axis=1,
        )
        better = (means[:, None] >= means[None]).all(axis=2) & (means[:, None] > means[None]).any(
            axis=2
        )
        beats += better
        free += ~better.any(axis=0)
    return free / n_draws, beats / n_draws


@pytest.mark.parametrize("held", [True, False])
def test_probabilities_are_those_of_resampled_items(held):
    analysis = analyse(build_front(2, holdout=held))
    split = "holdout" if held else "search"
    rows = [row.row for row in analysis.rows]
    free, beats = by_resampling(rows, split)
    for index, row in enumerate(analysis.rows):
        if row.row.kind == "baseline":
            assert row.on_front is None
            assert row.dominated_by is None
            continue
        assert row.on_front == pytest.approx(free[index], abs=0.03)
        rival = int(beats[:, index].argmax())
        if beats[rival, index] > 0.55:
            assert row.dominated_by.name == rows[rival].name
            assert row.dominated_by.probability == pytest.approx(beats[rival, index], abs=0.03)
        elif beats[:, index].max() < 0.45:
            assert row.dominated_by is None
    (note,) = [note for note in analysis.notes if note.startswith("P(front) is")]
    assert ("optimistic" in note) == (not held)


def coins(name, share, n_items=60, prefix="i"):
    """A row whose first items are right, scored on the same items as the others of its prefix."""
    scores = {f"{prefix}{n:03d}": float(n < share * n_items) for n in range(n_items)}
    mean = float(np.mean(list(scores.values())))
    return make_row(name, {"a": mean, "b": mean}, None, {"a": scores, "b": scores})


def test_equal_members_are_both_on_the_front_and_worse_ones_are_not():
    rows = [coins("base", 0.2), coins("trial 1", 0.6), coins("trial 2", 0.6), coins("trial 3", 0.3)]
    found = {row.row.name: row for row in analyse(make_front(*rows)).rows}
    assert found["trial 1"].on_front == found["trial 2"].on_front == 1.0
    assert found["trial 3"].on_front < 0.01
    assert found["trial 3"].dominated_by.name in {"trial 1", "trial 2"}
    assert found["trial 3"].dominated_by.probability > 0.99
    assert found["trial 1"].dominated_by is None


def test_rows_on_other_items_are_left_out_and_named():
    rows = [coins("base", 0.2), coins("trial 1", 0.5), coins("donor:x", 0.9, prefix="other")]
    analysis = analyse(make_front(*rows))
    (member,) = analysis.members
    assert member.on_front == 1.0
    assert any("leaves out donor:x" in note for note in analysis.notes)
    # The members decide which items count, however many baselines share others.
    strangers = [coins(f"donor:{n}", 0.9, prefix="other") for n in range(4)]
    analysis = analyse(make_front(*strangers, *rows[:2]))
    assert analysis.members[0].on_front == 1.0


def test_no_probability_where_an_objective_has_no_items():
    row = coins("trial 1", 0.5)
    bare = replace(row, search_examples={"a": row.search_examples["a"]})
    analysis = analyse(make_front(coins("base", 0.2), bare))
    assert analysis.members[0].on_front is None
    assert not any("P(front)" in note for note in analysis.notes)


def test_an_objective_of_the_weights_alone_is_exact():
    hits = np.random.default_rng(0).random((2, 80)) < np.array([[0.5], [0.55]])
    rows = []
    for name, own, distance in (("trial 1", hits[0], 3.0), ("trial 2", hits[1], 4.0)):
        scores = {f"i{n}": float(hit) for n, hit in enumerate(own)}
        both = {"a": float(own.mean()), "far": distance}
        rows.append(make_row(name, both, both, {"a": scores}, {"a": scores}))
    objectives = (Objective("a"), Objective("far", "minimize"))
    analysis = analyse(make_front(*rows, objectives=objectives))
    near, far = analysis.rows
    # The nearer one is beaten by nobody; the farther one has to win on items.
    assert near.on_front == 1.0
    difference = hits[1].astype(float) - hits[0]
    wins = stats.norm.cdf(difference.mean() / (difference.std() / np.sqrt(80)))
    assert far.on_front == pytest.approx(wins, abs=0.05)
    assert any("takes far as exact" in note for note in analysis.notes)
    # Had it moved between the splits it would depend on items that nobody knows.
    moved = replace(rows[1], holdout={**rows[1].holdout, "far": 4.5})
    assert analyse(make_front(rows[0], moved, objectives=objectives)).rows[0].on_front is None


def test_hypervolume_interval_is_on_the_fixed_scale():
    rng = np.random.default_rng(4)
    rows = []
    for name, ability in (("base", 0.2), ("donor:x", 0.5), ("trial 1", 0.7)):
        scores = {f"i{n}": float(hit) for n, hit in enumerate(rng.random(300) < ability)}
        mean = float(np.mean(list(scores.values())))
        rows.append(make_row(name, {"a": mean}, None, {"a": scores}))
    volumes = analyse(make_front(*rows)).volumes
    base, donor, trial = (row.search["a"] for row in rows)
    unit = donor - base
    assert volumes.interval.mean == pytest.approx((trial - base) / unit + 0.1)
    assert volumes.interval.mean == volumes.front_search
    half = 1.96 * np.sqrt(trial * (1 - trial) / 300) / unit
    assert volumes.interval.low == pytest.approx(volumes.front_search - half, abs=0.12 * half)
    assert volumes.interval.high == pytest.approx(volumes.front_search + half, abs=0.12 * half)
    bare = [replace(row, search_examples={}) for row in rows]
    assert analyse(make_front(*bare)).volumes.interval is None


def test_hypervolume_interval_keeps_the_sign_of_minimised_objectives():
    def row(name, loss):
        scores = {f"i{n}": loss + (n % 2) * 0.2 - 0.1 for n in range(40)}
        return make_row(
            name, {"loss": float(np.mean(list(scores.values())))}, None, {"loss": scores}
        )

    rows = [row("base", 3.0), row("donor:x", 2.0), row("trial 1", 1.5)]
    volumes = analyse(make_front(*rows, objectives=(Objective("loss", "minimize"),))).volumes
    assert volumes.front_search == pytest.approx(1.6)
    assert 1.5 < volumes.interval.low < 1.6 < volumes.interval.high < 1.7
