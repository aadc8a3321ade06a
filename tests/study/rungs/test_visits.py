"""Who is expected at which rung: worked out by hand, and against a run."""

from collections import Counter

import pytest

from evomerge.study.rungs.config import RungsConfig
from evomerge.study.rungs.visits import visits
from tests.study.fakes import ITEMS
from tests.study.rungs.runs import PROXIES, RUNGS, ByProxy, bounded, events_of, start

COUNTS = {"one": 50, "two": 12}


def test_shares_and_new_items_by_hand():
    rungs = RungsConfig(items=(5, 20), promote=0.25)
    assert [(one.share, dict(one.items)) for one in visits(rungs, COUNTS)] == [
        (1.0, {"one": 5, "two": 5}),
        (0.25, {"one": 15, "two": 7}),
        (0.0625, {"one": 30, "two": 0}),
    ]
    assert [(one.share, dict(one.items)) for one in visits(None, COUNTS)] == [(1.0, COUNTS)]
    racing = RungsConfig(items=(5,), promote=None, race=0.1)
    assert [one.share for one in visits(racing, COUNTS)] == [1.0, 1.0]


def test_every_candidate_begins_somewhere_and_scores_an_item_once():
    rungs = RungsConfig(items=(5, 20), promote=0.25, brackets="all")
    found = visits(rungs, COUNTS)
    begun = [one.share for one in found if sum(one.items.values()) in (10, 32, 62)]
    assert sum(begun) == pytest.approx(1.0)
    assert len(found) == 3 + 2 + 1


def test_proxies_let_some_through():
    rungs = RungsConfig(items=(5,), promote=0.5, keep=0.4)
    proxy, first, top = visits(rungs, COUNTS, ["one"])
    assert (proxy.proxy, proxy.share, dict(proxy.items)) == (True, 1.0, {"one": 5})
    assert 0.4 < first.share < 1.0
    assert top.share == first.share / 2


@pytest.mark.parametrize("changes", [{}, PROXIES])
def test_a_run_comes_to_such_shares(tmp_path, monkeypatch, changes):
    bounded(monkeypatch)
    out = tmp_path / "run"
    start(out, ByProxy(), **{**changes, "budget": {"trials": 204}})
    rungs = RungsConfig(**{**RUNGS, **changes}["rungs"])
    counts = {name: len(ids) for name, ids in ITEMS.items()}
    expected = visits(rungs, counts, ["one", "two"] if changes else ())
    known = {e.trial for e in events_of(out, "asked") if e.payload["origin"].startswith("seed")}
    came = Counter(e.payload["rung"] for e in events_of(out, "measured") if e.trial not in known)
    n_candidates = max(came.values())
    for visit, rung in zip(expected, sorted(came), strict=True):
        assert came[rung] / n_candidates == pytest.approx(visit.share, abs=0.1)
