"""Archives against pyribs, against brute force, and under every order of the offers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.optimizers.archives import (
    CvtArchive,
    DominatedNoveltyArchive,
    GridArchive,
    centroids,
)

BOX = [(0.0, 1.0), (-2.0, 3.0)]


def grid(**options):
    return GridArchive(**{"dims": [5, 4], "ranges": BOX, **options})


ARCHIVES = {
    "grid": grid,
    "grid-lower": lambda: grid(edge_rule="lower"),
    "cvt": lambda: CvtArchive(cells=7, ranges=BOX),
    "dominated_novelty": lambda: DominatedNoveltyArchive(capacity=6, ranges=BOX),
}


def offers(n, seed=0, beyond=0.2):
    random = np.random.default_rng(seed)
    unit = random.uniform(-beyond, 1 + beyond, (n, 2))
    measures = [low + (high - low) * unit[:, axis] for axis, (low, high) in enumerate(BOX)]
    return np.arange(n), random.standard_normal(n), np.stack(measures, axis=1)


def members(archive):
    return [(one.index, one.solution, one.objective, one.measures) for one in archive.elites()]


def test_a_grid_is_pyribs_grid_archive():
    ribs = pytest.importorskip("ribs.archives")
    theirs = ribs.GridArchive(solution_dim=(), dims=[5, 4], ranges=BOX, solution_dtype=np.int64)
    ours = grid()
    solution, objective, measures = offers(400)
    for first in range(0, 400, 40):
        batch = slice(first, first + 40)
        expected = theirs.add(solution[batch], objective[batch], measures[batch])
        found = ours.add(solution[batch], objective[batch], measures[batch])
        np.testing.assert_array_equal(found["status"], expected["status"])
        np.testing.assert_array_equal(found["value"], expected["value"])
    np.testing.assert_array_equal(ours.index_of(measures), theirs.index_of(measures))
    found, expected = ours.data(), theirs.data()
    order = np.argsort(expected["index"])
    for field in ("solution", "objective", "measures", "index"):
        np.testing.assert_array_equal(found[field], expected[field][order])
    assert ours.cells == theirs.cells
    assert len(ours) == len(theirs)
    assert ours.best_elite.solution == theirs.best_elite["solution"]
    for ours_edges, theirs_edges in zip(ours.boundaries, theirs.boundaries, strict=True):
        np.testing.assert_allclose(ours_edges, theirs_edges)
    for index in range(20):
        assert ours.int_to_grid_index(index) == tuple(theirs.int_to_grid_index([index])[0])


def test_single_offers_get_the_answers_of_pyribs():
    ribs = pytest.importorskip("ribs.archives")
    theirs = ribs.GridArchive(solution_dim=(), dims=[5, 4], ranges=BOX, solution_dtype=np.int64)
    ours = grid()
    for solution, objective, measures in zip(*offers(200, 3), strict=True):
        expected = theirs.add_single(solution, objective, measures)
        found = ours.add_single(int(solution), objective, measures)
        assert (found.status, found.value) == (expected["status"], expected["value"])


@pytest.mark.parametrize("edge_rule", ["upper", "lower"])
@pytest.mark.parametrize("bounds", [(0.0, 0.75), (0.0, 0.45), (-0.3, 0.0), (1e6, 1e6 + 3), (0, 1)])
def test_both_edge_rules_at_every_edge(bounds, edge_rule):
    low, high = bounds
    archive = GridArchive(dims=[15], ranges=[bounds], edge_rule=edge_rule)
    for edge in range(16):
        value = low + (high - low) * edge / 15
        expected = min(edge, 14) if edge_rule == "upper" else max(edge - 1, 0)
        # written either way, and as a decimal: an edge is the same edge in any rounding
        for spelled in (value, archive.boundaries[0][edge], round(value, 12)):
            assert archive.index_of([[spelled]])[0] == expected
        inside = value + (high - low) * 1e-6
        assert archive.index_of([[inside]])[0] == min(edge, 14)
        assert archive.index_of([[value - (high - low) * 1e-6]])[0] == max(edge - 1, 0)
    assert archive.clipped == 0


def test_the_lower_edge_rule_is_that_of_digitize():
    archive = GridArchive(dims=[8], ranges=[(0, 1)], edge_rule="lower")
    values = np.arange(33) / 32  # every fourth one is an edge, exactly
    expected = np.clip(np.digitize(values, np.linspace(0, 1, 9), right=True) - 1, 0, 7)
    np.testing.assert_array_equal(archive.index_of(values[:, None]), expected)


@pytest.mark.parametrize("kind", ["grid", "cvt"])
def test_only_a_strict_improvement_takes_a_cell(kind):
    archive = ARCHIVES[kind]()
    place = (0.5, 0.5)
    assert archive.empty
    assert archive.best_elite is None
    first = archive.add_single(5, 1.0, place)
    assert (first.status, first.value, first.displaced) == (2, 1.0, None)
    worse = archive.add_single(6, 0.25, place)
    assert (worse.status, worse.value) == (0, -0.75)
    equal = archive.add_single(7, 1.0, place)
    assert (equal.status, equal.value) == (0, 0.0)
    better = archive.add_single(8, 1.5, place)
    assert (better.status, better.value, better.displaced) == (1, 0.5, 5)
    older = archive.add_single(2, 1.5, place)  # as good, proposed earlier, told later
    assert (older.status, older.value, older.displaced) == (1, 0.0, 8)
    assert 2 in archive
    assert 8 not in archive
    assert archive.retrieve_single(place).solution == 2
    assert archive.retrieve_single((0.0, -2.0)) is None


def test_clipping_is_counted():
    archive = grid()
    inside = [(0.0, -2.0), (1.0, 3.0), (0.5, 0.0), (1 + 1e-12, 3.0)]
    outside = [(-0.01, 0.0), (0.5, 3.1), (7.0, -9.0)]
    for number, measures in enumerate(inside + outside):
        archive.add_single(number, float(number), measures)
    assert archive.clipped == len(outside)
    # what lies outside counts at the edge
    assert archive.int_to_grid_index(archive.index_of([(7.0, -9.0)])[0]) == (4, 0)


@pytest.mark.parametrize("name", ARCHIVES)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.5, 1.0, 1.5]),
            st.sampled_from([-0.1, 0.0, 0.2, 0.5, 0.8, 1.0, 1.2]),
            st.sampled_from([-2.0, -0.75, 0.5, 2.9, 4.0]),
        ),
        max_size=14,
    ),
    data=st.data(),
)
def test_any_order_of_offers_gives_the_same_archive(name, rows, data):
    order = data.draw(st.permutations(range(len(rows))))
    size = data.draw(st.integers(1, 5))
    archives = [ARCHIVES[name]() for _ in range(3)]
    for number, (objective, *measures) in enumerate(rows):
        archives[0].add_single(number, objective, measures)
    for number in order:
        archives[1].add_single(number, rows[number][0], rows[number][1:])
    for first in range(0, len(rows), size):
        batch = order[first : first + size]
        some = np.array([rows[number] for number in batch])
        archives[2].add(batch, some[:, 0], some[:, 1:])
    assert members(archives[0]) == members(archives[1]) == members(archives[2])
    assert len({archive.clipped for archive in archives}) == 1
    assert len({archive.best_elite for archive in archives}) == 1
    best = min(range(len(rows)), key=lambda number: (-rows[number][0], number), default=None)
    assert (archives[0].best_elite.solution if rows else None) == best


@pytest.mark.parametrize("name", ["grid", "grid-lower", "cvt"])
def test_cells_hold_the_best_by_brute_force(name):
    archive = ARCHIVES[name]()
    solution, objective, measures = offers(300, 8)
    archive.add(solution, objective, measures)
    cells = archive.index_of(measures)
    expected = {
        cell: max(np.flatnonzero(cells == cell), key=lambda row: objective[row])
        for cell in set(cells.tolist())
    }
    assert {one.index: one.solution for one in archive.elites()} == expected
    assert archive.data()["solution"].tolist() == [expected[cell] for cell in sorted(expected)]


def dominated_novelty(objective, unit, k):
    """Return s of everybody, one pair at a time."""
    found = []
    for i in range(len(objective)):
        better = [
            float(np.sqrt(((unit[i] - unit[j]) ** 2).sum()))
            for j in range(len(objective))
            if (objective[j], -j) > (objective[i], -i)
        ]
        found.append(np.mean(sorted(better)[:k]) if better else np.inf)
    return np.array(found)


@pytest.mark.parametrize("seed", range(3))
def test_dominated_novelty_by_brute_force(seed):
    solution, objective, measures = offers(60, seed)
    objective = np.round(objective, 1)  # some are equal
    archive = DominatedNoveltyArchive(capacity=15, ranges=BOX, k_neighbors=3)
    low, high = np.array(BOX).T
    for count in range(1, 61):
        row = count - 1
        info = archive.add_single(row, objective[row], measures[row])
        scores = dominated_novelty(objective[:count], (measures[:count] - low) / (high - low), 3)
        best = np.lexsort((solution[:count], -objective[:count], -scores))[:15]
        assert [one.solution for one in archive.elites()] == sorted(best.tolist())
        np.testing.assert_allclose(archive.dominated_novelty(), scores[np.sort(best)])
        assert info.status == (2 if row in best else 0)
        np.testing.assert_allclose(info.value, scores[row])
    assert len(archive) == 15


def test_dominated_novelty_is_that_of_pyribs_on_one_batch():
    ribs = pytest.importorskip("ribs.archives")
    solution, objective, measures = offers(80, 5)
    unit = [(0.0, 1.0)] * 2
    theirs = ribs.DNSArchive(
        solution_dim=(), measure_dim=2, capacity=20, k_neighbors=4, solution_dtype=np.int64
    )
    expected = theirs.add(solution, objective, measures)
    ours = DominatedNoveltyArchive(capacity=20, ranges=unit, k_neighbors=4)
    infos = [
        ours.add_single(int(solution[row]), objective[row], measures[row])
        for row in np.random.default_rng(0).permutation(80)
    ]
    assert len(infos) == 80
    assert ours.data()["solution"].tolist() == sorted(theirs.data("solution").tolist())
    kept = np.sort(theirs.data("solution"))
    np.testing.assert_allclose(ours.dominated_novelty(), expected["dns"][kept])


def test_dominated_novelty_keeps_the_niches_of_worse_individuals():
    archive = DominatedNoveltyArchive(capacity=2, ranges=[(0, 1)])
    for number, (quality, place) in enumerate([(1.0, 0.1), (0.9, 0.12), (0.1, 0.9)]):
        archive.add_single(number, quality, [place])
    assert [one.solution for one in archive.elites()] == [0, 2]
    assert 1 not in archive


def test_centroids_fill_the_box_evenly():
    found = centroids(12, 2, 0)
    assert found.shape == (12, 2)
    assert found.min() > 0
    assert found.max() < 1
    assert centroids(12, 2, 0) is found
    assert not np.array_equal(centroids(12, 2, 1), found)
    # each cell's share of a fine grid is within a factor of two of a twelfth
    fine = np.array(list(itertools.product((np.arange(60) + 0.5) / 60, repeat=2)))
    archive = CvtArchive(cells=12, ranges=[(0, 1), (0, 1)])
    shares = np.bincount(archive.index_of(fine), minlength=12) / len(fine)
    assert shares.min() > 1 / 24
    assert shares.max() < 1 / 6
    # and each centroid is about the mean of its cell: the fixed point of k-means
    means = np.array([fine[archive.index_of(fine) == cell].mean(axis=0) for cell in range(12)])
    np.testing.assert_allclose(means, archive.centroids, atol=0.05)


def test_a_cell_of_a_tessellation_is_that_of_the_nearest_centroid():
    archive = CvtArchive(cells=9, ranges=BOX)
    _, _, measures = offers(200, 2, beyond=0.0)
    width = np.array([high - low for low, high in BOX])
    for row, index in zip(measures, archive.index_of(measures), strict=True):
        distances = np.linalg.norm((archive.centroids - row) / width, axis=1)
        assert index == np.argmin(distances)


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_and_leaves_no_trace(name, bad):
    archive = ARCHIVES[name]()
    archive.add_single(0, 1.0, (0.5, 0.5))
    before = members(archive)
    for objective, measures in ((bad, (0.2, 0.2)), (2.0, (0.2, bad))):
        with pytest.raises(ValueError, match="an archive takes finite numbers"):
            archive.add_single(1, objective, measures)
        with pytest.raises(ValueError, match="an archive takes finite numbers"):
            archive.add([1, 2], [0.0, objective], [(0.1, 0.1), measures])
    assert members(archive) == before


@pytest.mark.parametrize("name", ARCHIVES)
def test_shapes_are_checked(name):
    archive = ARCHIVES[name]()
    with pytest.raises(ValueError, match=r"measures: expected shape \(2,\), got \(3,\)"):
        archive.add_single(0, 1.0, (0.1, 0.2, 0.3))
    with pytest.raises(ValueError, match="objective: expected 1 axes, the first of length 2"):
        archive.add([0, 1], [1.0], [(0.1, 0.2), (0.3, 0.4)])
    with pytest.raises(ValueError, match="measures: expected 2 axes, the first of length 2"):
        archive.add([0, 1], [1.0, 2.0], [0.1, 0.2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grid(ranges=[(0, 1), (2, 2)]), "expected finite pairs with low < high"),
        (lambda: grid(ranges=[]), "expected one pair for each measure, got none"),
        (lambda: grid(dims=[5]), "expected 2 numbers of bins >= 1"),
        (lambda: grid(dims=[5, 0]), "expected 2 numbers of bins >= 1"),
        (lambda: grid(dims=[2**32, 2**32]), "with at most 2.62 cells"),
        (lambda: CvtArchive(cells=0, ranges=BOX), "cells: expected at least 1, got 0"),
        (
            lambda: DominatedNoveltyArchive(capacity=0, ranges=BOX),
            "expected capacity and k_neighbors of at least 1, got 0, 3",
        ),
    ],
)
def test_constructors_check(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_empty_archive_has_empty_arrays():
    for make in ARCHIVES.values():
        data = make().data()
        assert data["solution"].shape == (0,)
        assert data["measures"].shape == (0, 2)
