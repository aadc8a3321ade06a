"""The books of single candidates: what is scored again, what is kept."""

from pathlib import Path

import pytest

from evomerge.study.rungs.climbing import Climbing, Decision
from evomerge.study.rungs.config import RungsConfig
from evomerge.types import Completed, Objective
from evomerge.workers.spec import ProxySpec

OBJECTIVES = (Objective("acc"), Objective("size", "minimize"))
ITEMS = {"acc": tuple(f"i{k}" for k in range(12))}


def climbing(proxies=None):
    books = Climbing(RungsConfig(items=(3, 6)), OBJECTIVES, ITEMS, 0, proxies or {}, Path())
    books.enter(whole_generations=False, combine=None)
    return books


def scored(books, number, size=None, score=0.5):
    """Score a trial on what it asks for; returns which objectives that were."""
    positions = books.positions(number)
    examples = {ITEMS["acc"][at]: score for at in positions["acc"]}
    metrics = {"acc": score}
    notes = {"acc/length": float(len(examples))}
    if positions.get("size") != ():
        metrics["size"], notes["size/l1"] = size, size + 1
    books.add(number, Completed(metrics, {"acc": examples}, notes))
    return set(metrics)


def test_an_objective_without_items_is_scored_once():
    books = climbing()
    books.place(0, "random")
    assert scored(books, 0, size=7.0) == {"acc", "size"}
    for _ in range(2):
        books.apply(Decision(climb=[0]))
        assert scored(books, 0) == {"acc"}
    assert books.told(0).metrics == {"acc": 0.5, "size": 7.0}


def test_one_that_the_proxies_let_through_has_it_already():
    books = climbing({"acc": ProxySpec("p", {}, None, "minimize", cost=0.25)})
    books.place(0, "random")
    assert set(books.positions(0)) == {"acc"}
    assert books.price(0) == 3 * 0.25
    assert scored(books, 0, size=7.0) == {"acc", "size"}
    books.apply(Decision(climb=[0]))
    assert books.price(0) == 3
    assert scored(books, 0) == {"acc"}
    assert books.told(0).metrics["size"] == 7.0


def test_secondary_metrics_of_a_part_are_not_passed_off_as_those_of_all_items():
    books = climbing()
    books.place(0, "seed:base")
    scored(books, 0, size=7.0)
    assert books.told(0).notes == {"acc/length": 12.0, "size/l1": 8.0}
    books.place(1, "random")
    scored(books, 1, size=7.0)
    for _ in range(2):
        books.apply(Decision(climb=[1]))
        scored(books, 1)
    assert books.told(1).notes == {"size/l1": 8.0}


@pytest.mark.parametrize("rule", ["asynchronous", "halving"])
def test_where_costs_are_combined_the_one_decides_who_goes_on(rule):
    # Nobody dominates anybody: each is smaller and worse than the one before it.
    cohort = 4 if rule == "halving" else None
    rungs = RungsConfig(items=(3, 6), promote=0.25, rule=rule, cohort=cohort)
    books = Climbing(rungs, OBJECTIVES, ITEMS, 0, {}, Path())
    books.enter(whole_generations=False, combine=lambda costs: 10 * costs[0] + costs[1])
    climbed = []
    for number, (acc, size) in enumerate([(0.5, 4), (0.3, 3.5), (0.6, 6), (0.2, 3.4), (0.9, 6.5)]):
        books.place(number, "random")
        scored(books, number, size=size, score=acc)
        decision = books.decide([], ended=False)
        climbed += decision.climb
        books.apply(decision)
    assert climbed == ([0, 4] if rule == "asynchronous" else [0])


def test_what_a_model_expects_counts_by_its_error():
    # Scores of 3 of 12 items err by 0.25 here; the model by nothing at all, or by very much.
    def going_on(error):
        rungs = RungsConfig(items=(3,), promote=0.25)
        books = Climbing(rungs, (Objective("acc", bounds=(0, 1)),), ITEMS, 0, {}, Path())
        expected = {0: 0.5, 1: 0.5, 2: 0.5, 3: 0.9, 4: 0.1}
        books.enter(
            whole_generations=False,
            combine=None,
            foresee=lambda number: ([-expected[number]], [error]),
        )
        climbed = []
        for number, right in enumerate([2, 1, 1, 1, 3]):
            books.place(number, "random")
            positions = books.positions(number)["acc"]
            answers = [1.0] * right + [0.0] * (3 - right)
            examples = {ITEMS["acc"][at]: one for at, one in zip(positions, answers, strict=True)}
            books.add(number, Completed({"acc": right / 3}, {"acc": examples}))
            decision = books.decide([], ended=False)
            climbed += decision.climb
            books.apply(decision)
        return climbed

    assert going_on(1e6) == [0, 4]
    assert going_on(0.0) == [0]  # the last one has answered best and is expected to be worst


def test_known_points_may_climb_like_others():
    books = Climbing(
        RungsConfig(items=(3, 6), measure_known=False), OBJECTIVES, ITEMS, 0, {}, Path()
    )
    books.enter(whole_generations=False, combine=None)
    books.place(0, "seed:base")
    assert len(books.positions(0)["acc"]) == 3
    with pytest.raises(ValueError, match="estimator: gmp_irt needs base and donors on all items"):
        RungsConfig(items=(3,), measure_known=False, estimator={"name": "gmp_irt"})
    with pytest.raises(ValueError, match="order needs base and donors on all items"):
        RungsConfig(items=(3,), measure_known=False, order="entropy")


def test_known_points_that_climb_are_of_one_cohort():
    rungs = RungsConfig(items=(3,), promote=0.34, rule="halving", cohort=3, measure_known=False)
    books = Climbing(rungs, OBJECTIVES[:1], ITEMS, 0, {}, Path())
    books.enter(whole_generations=True, combine=None)
    for number, origin in enumerate(["seed:base", "seed:a", "seed:b", "x:gen0"]):
        books.place(number, origin)
    for number, score in enumerate([0.0, 1.0, 0.5]):
        assert books.decide(range(number, 4), ended=False) == Decision([], [])
        scored(books, number, size=1.0, score=score)
    assert books.decide([3], ended=False) == Decision([1, 2], [0])
