"""Family trees against arrays that were really bred."""

from __future__ import annotations

import json

import numpy as np
import pytest

from evomerge.journal import read_events
from evomerge.report.populations.lineage_tree import dominance, family_tree, lanes, lineage_document
from evomerge.report.populations.population import populations, stretches
from tests.report.populations import GRIDS, M2N2, SIZE, write_population

NAMES = ("d0", "d1", "d2")


def indicators(of: int):
    """Donors that are 0, and one that is 1: an individual's array is that donor's weights."""
    return {
        name: np.full(SIZE, float(index == of), dtype=np.float32)
        for index, name in enumerate(NAMES)
    }


def tree_of(run, wanted=()):
    events = read_events(run)
    (stretch,) = stretches(events)
    return family_tree(events, stretch, wanted)


@pytest.fixture(scope="module")
def bred(tmp_path_factory):
    """The same 47 matings over the three indicators: run folder and arrays of each."""
    found = []
    for index in range(3):
        run = tmp_path_factory.mktemp("bred") / "run"
        done = write_population(run, GRIDS, 50, indicators(index))
        found.append((run, done.values))
    return found


def test_shares_are_the_donors_mean_weights(bred):
    trees = [tree_of(run) for run, _ in bred]
    shares = [[one.shares for one in tree.individuals.values()] for tree in trees]
    assert shares[0] == shares[1] == shares[2]  # genotypes alone decide
    for index, name in enumerate(NAMES):
        values = bred[index][1]
        for number, one in trees[0].individuals.items():
            assert one.shares[name] == pytest.approx(values[number].mean(), abs=1e-5)


def test_tables_are_the_donors_weights_position_by_position(bred):
    wanted = [0, 7, 30, 49]
    tree = tree_of(bred[0][0], wanted)
    assert set(tree.tables) == set(wanted)
    for number, table in tree.tables.items():
        widths = np.diff(table.ends, prepend=0)
        for column, source in enumerate(table.inputs):
            along = np.repeat(table.weights[:, column], widths)
            assert along == pytest.approx(bred[source.donor][1][number], abs=1e-5)


def test_parents_and_ancestors_are_those_of_the_genotypes(bred):
    run = bred[0][0]
    tree = tree_of(run)
    genotypes = {e.trial: e.payload["genotype"] for e in read_events(run) if e.kind == "asked"}
    family: dict[int, set[int]] = {}
    for number, genotype in genotypes.items():
        parents = genotype[2:4] if genotype[0] == "mix" else []
        assert [parent.trial for parent in tree.individuals[number].parents] == parents
        family[number] = {number}.union(*(family[parent] for parent in parents))
        assert tree.ancestors(number) == tuple(sorted(family[number]))
    for one in tree.individuals.values():
        if one.parents:
            assert sum(parent.weight for parent in one.parents) == pytest.approx(1.0)
            assert all(p.low <= p.weight <= p.high for p in one.parents)
    assert [tree.individuals[number].founder for number in range(3)] == list(NAMES)


def test_mutations_are_inherited_as_a_mark_and_left_out_of_shares(tmp_path):
    plain, mutated = tmp_path / "plain", tmp_path / "mutated"
    write_population(plain, GRIDS, 30)
    write_population(mutated, GRIDS, 30, std=0.1)
    without, tree = tree_of(plain), tree_of(mutated)
    assert [one.shares for one in tree.individuals.values()] == [
        one.shares for one in without.individuals.values()
    ]
    assert not any(one.mutated for one in without.individuals.values())
    assert all(one.mutated == (one.founder is None) for one in tree.individuals.values())
    assert tree.individuals[20].mutation == {"kind": "gauss", "key": 20, "std": 0.1}


def test_lanes_are_distinct_and_put_founders_apart(bred):
    tree = tree_of(bred[0][0])
    shown = tree.ancestors(49)
    heights = lanes(tree, shown)
    assert sorted(heights.values()) == pytest.approx(np.linspace(0, 1, len(shown)))
    assert heights[0] == 0.0  # nobody is nearer to the first founder than itself
    assert heights[2] == 1.0
    assert lanes(tree, [5]) == {5: 0.0}


@pytest.mark.parametrize(
    ("shares", "parts"),
    [
        ({"a": 1.2, "b": 0.4}, {"a": 0.75, "b": 0.25}),
        ({"a": -1.0, "b": 1.0}, {"a": 0.5, "b": 0.5}),
        ({"a": 0.0, "b": 0.0}, {"a": 0.5, "b": 0.5}),
    ],
)
def test_dominance_is_of_sizes(shares, parts):
    assert dominance(shares) == pytest.approx(parts)


def test_the_document_holds_everybody(tmp_path):
    run = tmp_path / "run"
    done = write_population(run, M2N2, 40)
    (population,) = populations(run, read_events(run))
    tree = tree_of(run)
    text = json.dumps(lineage_document("invented", [(tree, population, (3, 4))]), allow_nan=False)
    document = json.loads(text)
    assert document["format"] == "evomerge-lineage/1"
    (found,) = document["populations"]
    assert found["champions"] == {"": done.optimizer.archive.champion.number}
    assert found["front"] == [3, 4]
    assert [one["trial"] for one in found["individuals"]] == list(range(40))
    outcomes = {trial.number: trial.outcome for trial in done.trials}
    for one in found["individuals"]:
        outcome = outcomes[one["trial"]]
        assert one["scores"] == (dict(outcome.metrics) if one["failed"] is None else None)
        assert {parent["trial"] for parent in one["parents"]} <= set(range(one["trial"]))


def test_genes_have_no_family(tmp_path):
    run = tmp_path / "run"
    write_population(run, GRIDS, 5)
    events = read_events(run)
    (stretch,) = stretches(events)
    genes = [
        e if e.kind != "asked" else type(e)(e.seq, e.kind, e.trial, {"genotype": [0.5]}, 0.0, {})
        for e in events
    ]
    assert family_tree(genes, stretch) is None
