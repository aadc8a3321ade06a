"""Rungs are nested, every item comes once, and the order is the seed's alone."""

from hypothesis import given
from hypothesis import strategies as st

from evomerge.study.rungs.ladder import Ladder

counts = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 60), min_size=1)
sizes = st.sets(st.integers(1, 70), min_size=1, max_size=4).map(sorted)


@given(counts=counts, sizes=sizes, seed=st.integers(0, 5))
def test_whoever_climbs_is_scored_on_every_item_once(counts, sizes, seed):
    items = {name: [f"{name}{k}" for k in range(n)] for name, n in counts.items()}
    ladder = Ladder(sizes, items, seed)
    again = Ladder(sizes, items, seed)
    seen = {name: [] for name in items}
    for rung in range(ladder.top + 1):
        new = ladder.new_items(rung - 1, rung)
        assert new == again.new_items(rung - 1, rung)
        for name, positions in new.items():
            seen[name] += positions
            assert len(seen[name]) == ladder.n_items(name, rung)
            assert {items[name][p] for p in seen[name]} == set(
                ladder.order[name][: ladder.n_items(name, rung)]
            )
            if rung < ladder.top:
                assert len(seen[name]) == min(sizes[rung], counts[name])
    for name, positions in seen.items():
        assert sorted(positions) == list(range(counts[name]))
    assert {name: set(p) for name, p in ladder.new_items(-1, ladder.top).items()} == {
        name: set(range(n)) for name, n in counts.items()
    }


def test_rungs_beyond_all_items_are_none():
    items = {"a": list("abcdefgh"), "b": list("xyz")}
    assert Ladder([4, 8, 16], items, 0).top == 1
    assert Ladder([9], items, 0).top == 0
    assert Ladder([4], items, 0).order != Ladder([4], items, 1).order
