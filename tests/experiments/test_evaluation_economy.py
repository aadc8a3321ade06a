"""The simulations of racing, promotion and searches run as they stand."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.experiments.lab import modules_of

FOLDER = Path(__file__).parents[2] / "experiments" / "evaluation_economy"


@pytest.fixture(scope="module")
def lab():
    names = ("promotion", "racing", "simulated", "economy_arms")
    with modules_of(FOLDER, *names) as modules:
        yield SimpleNamespace(**dict(zip(names, modules, strict=True)))


def test_a_search_spends_its_items_and_finds_something(lab):
    rungs, _ = lab.promotion.SETTINGS["rungs of 10 and 40, promote 0.2"]
    for name, rule in lab.promotion.RULES.items():
        found = lab.promotion.searched(3, "random", rule, rungs, 2000)
        first, second, top = found.scored
        assert first > second >= top > 0, name
        assert 2000 <= 10 * first + 30 * second + 160 * top <= 2000 + 200
        assert 0 <= found.regret < 0.3


def test_the_rule_of_evomerge_sends_up_fewer_than_all_equals_so_far(lab):
    rungs, _ = lab.promotion.SETTINGS["rungs of 10 and 40, promote 0.2"]
    shares = {}
    own = "the latest, lots, no more than the share (evomerge)"
    for name in ("all so far, equals go on", own):
        rule = lab.promotion.RULES[name]
        runs = [lab.promotion.searched(seed, "cma_es", rule, rungs, 4000) for seed in range(6)]
        shares[name] = sum(run.scored[1] for run in runs) / sum(run.scored[0] for run in runs)
    most, least = shares.values()
    assert least < 0.8 * most
    assert least <= rungs.promote + 0.01


def test_equals_are_dropped_within_the_error_rate_whoever_chose_the_rival(lab):
    for row in ("equal on all items, 40 % discordant", "the best of 5 by the first 20"):
        draw = next(draw for name, draw in lab.racing.PAIRS.items() if name.endswith(row))
        random = np.random.default_rng(1)
        dropped = [lab.racing.bets(draw(random)) for _ in range(400)]
        assert sum(dropped) / len(dropped) < lab.racing.ALPHA + 0.03


def test_a_simulated_search_is_judged_by_what_its_merges_are_expected_to_score(
    lab, tmp_path, monkeypatch
):
    short = replace(lab.economy_arms.ARMS["cma-rungs"], share=0.025)
    monkeypatch.setitem(lab.simulated.ARMS, "cma-rungs", short)
    items = lab.simulated.named_items(tmp_path / "items")
    lab.simulated.search("cma-rungs", 1, items, tmp_path)
    found = json.loads((tmp_path / "cma-rungs-1.json").read_text())
    assert 11_250 <= found["items"] <= 11_250 + 1500
    assert all(one["search"] < other["search"] for one, other in pairwise(found["bests"]))
    for best in found["bests"]:
        expected = -np.mean(lab.simulated.PROBLEM.expected_costs(best["genotype"]))
        assert best["holdout"] == pytest.approx(expected)
        assert best["search"] == pytest.approx(expected, abs=0.05)  # 1,500 answers


def test_simulated_merges_of_like_weights_answer_alike(lab, tmp_path):
    items = lab.simulated.named_items(tmp_path)
    study = lab.economy_arms.study(lab.economy_arms.ARMS["whole"], items, 1)
    answering = lab.simulated.Answering(lab.simulated.prepare(study, Path()), 1)
    at = np.array(lab.simulated.CENTRE)
    differ = [
        np.mean(answering.answers(at) != answering.answers(np.add(at, (by, 0, 0))))
        for by in (0.0, 0.01, 0.1, 0.4)
    ]
    assert differ[0] == 0
    assert differ == sorted(differ)
    accuracies = -np.array(lab.simulated.PROBLEM.expected_costs(lab.simulated.CENTRE))
    assert answering.answers(at).mean(axis=1) == pytest.approx(accuracies, abs=0.1)
