"""The simulations of racing and promotion run as they stand, and say what their tables say."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.experiments.lab import modules_of

FOLDER = Path(__file__).parents[2] / "experiments" / "evaluation_economy"


@pytest.fixture(scope="module")
def lab():
    with modules_of(FOLDER, "promotion", "racing") as (promotion, racing):
        yield SimpleNamespace(promotion=promotion, racing=racing)


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
