"""Who descends from whom in a population, and how much of each founder is in whom.

Everything follows from the genotypes, which name parents by trial number. The share of a founder
is its mean weight over all positions of the model, from the table of segments x founders
(`evomerge.recipe.table`); what mutations add is left out of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evomerge.journal import Event
from evomerge.optimizers.known_points import SEED
from evomerge.recipe.lineage import Donor
from evomerge.recipe.table import Table, mixed
from evomerge.report.populations.population import Population, Stretch
from evomerge.spaces.populations.genotypes import (
    DONOR,
    FOUND,
    MIX,
    ChildSvdMutation,
    GaussianMutation,
    Mutation,
    Offspring,
    SeedSvdMutation,
    is_founder,
)
from evomerge.types import Completed, Failed, Genotype

FORMAT = "evomerge-lineage/1"
_KINDS: Mapping[type, str] = {
    GaussianMutation: "gauss",
    SeedSvdMutation: "svd_seed",
    ChildSvdMutation: "svd_child",
}


@dataclass(frozen=True, slots=True)
class Parent:
    """A parent, and its weights in the child.

    Attributes:
        trial: its number.
        weight: mean over all positions of the model.
        low: smallest over the child's regions.
        high: largest over the child's regions.
    """

    trial: int
    weight: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Individual:
    """A member of a population, alive or not.

    Attributes:
        trial: its number.
        origin: what the optimizer says of it.
        founder: name of the donor or found recipe it is; None for offspring.
        parents: none for a founder.
        regions: how many regions of the model have weights of their own; 1 for a founder.
        mutation: its kind and parameters; None without one.
        rebased: it is computed in full, and descendants do not look behind it.
        shares: founder to its mean weight over the model, mutations left out.
        mutated: it or an ancestor was mutated, so that the shares are not all there is to it.
        scores: objective name to metric; None where there is no result (yet).
        failed: why there is none; None where it is completed or still in flight.
    """

    trial: int
    origin: str
    founder: str | None
    parents: tuple[Parent, ...]
    regions: int
    mutation: Mapping[str, Any] | None
    rebased: bool
    shares: Mapping[str, float]
    mutated: bool
    scores: Mapping[str, float] | None
    failed: str | None


@dataclass(frozen=True, slots=True)
class FamilyTree:
    """All individuals of one part of a run.

    Attributes:
        label: of the part; '' in a study without stages.
        founders: their names, in the order in which they were asked for.
        individuals: by trial number, in that order.
        tables: segments x founders of some individuals, mutations left out; their inputs are
            founders by position.
    """

    label: str
    founders: tuple[str, ...]
    individuals: Mapping[int, Individual]
    tables: Mapping[int, Table]

    def ancestors(self, trial: int) -> tuple[int, ...]:
        """Return an individual and all it descends from, by trial number, the oldest first."""
        found: set[int] = set()
        waiting = [trial]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += [parent.trial for parent in self.individuals[one].parents]
        return tuple(sorted(found))


def family_tree(
    events: Sequence[Event], stretch: Stretch, wanted: Collection[int] = ()
) -> FamilyTree | None:
    """Read the family tree of a part from its genotypes; None where they are no population's.

    Args:
        events: of the run's journal.
        stretch: the part.
        wanted: individuals whose tables are kept.

    Raises:
        InvalidGenotype: a genotype is damaged.
    """
    end = stretch.first + stretch.n_asked
    asked = {
        event.trial: event.payload
        for event in events
        if event.kind == "asked" and event.trial is not None and stretch.first <= event.trial < end
    }
    genotypes = {number: tuple(payload["genotype"]) for number, payload in asked.items()}
    if not genotypes or next(iter(genotypes.values()))[0] not in (DONOR, FOUND, MIX):
        return None
    read = {
        number: None if is_founder(genotype) else Offspring.read(genotype)
        for number, genotype in genotypes.items()
    }
    names = {
        number: _founder_name(genotypes[number], asked[number]["origin"])
        for number, one in read.items()
        if one is None
    }
    founders = tuple(dict.fromkeys(names.values()))
    shares, tables = _shares(read, names, founders, wanted)
    outcomes = {trial.number: trial.outcome for trial in stretch.trials}
    individuals: dict[int, Individual] = {}
    for number, one in read.items():
        outcome = outcomes.get(number)
        parents = () if one is None else _parents(one)
        mutation = None if one is None or one.mutation is None else one.mutation
        individuals[number] = Individual(
            trial=number,
            origin=asked[number]["origin"],
            founder=names.get(number),
            parents=parents,
            regions=1 if one is None else len(one.ends),
            mutation=None if mutation is None else _described(mutation),
            rebased=one is not None and one.rebased,
            shares=dict(zip(founders, shares[number], strict=True)),
            mutated=mutation is not None
            or any(individuals[parent.trial].mutated for parent in parents),
            scores=outcome.metrics if isinstance(outcome, Completed) else None,
            failed=outcome.kind if isinstance(outcome, Failed) else None,
        )
    return FamilyTree(stretch.label, founders, individuals, tables)


def lineage_document(
    study: str, trees: Iterable[tuple[FamilyTree, Population | None, Sequence[int]]]
) -> dict[str, Any]:
    """Return family trees as a JSON document.

        format       'evomerge-lineage/1'; the number rises when a key changes meaning or goes
        study        its name
        populations  [{part, founders, front, champions, individuals}]: the trials of the front,
                     and of each archive its name and its champion
        individuals  [{trial, origin, founder, parents [{trial, weight, low, high}], regions,
                     mutation, rebased, shares, mutated, scores, failed}], see `Individual`

    Args:
        study: its name.
        trees: with each its population and the trials of its front.
    """
    return {
        "format": FORMAT,
        "study": study,
        "populations": [
            {
                "part": tree.label,
                "founders": list(tree.founders),
                "front": list(front),
                "champions": {one.name: one.champion for one in population.maps}
                if population
                else {},
                "individuals": [asdict(one) for one in tree.individuals.values()],
            }
            for tree, population, front in trees
        ],
    }


def lanes(tree: FamilyTree, shown: Sequence[int]) -> dict[int, float]:
    """Return a height for each individual shown, in [0, 1]: who has the same founders is near.

    Individuals are ranked by the mean of their founders' places, weighted by shares, so that no
    two have the same height; of equals the older comes first.
    """
    places = np.linspace(0.0, 1.0, len(tree.founders)) if len(tree.founders) > 1 else np.zeros(1)

    def place(number: int) -> tuple[float, int]:
        parts = dominance(tree.individuals[number].shares)
        return float(places @ np.array(list(parts.values()))), number

    ranked = sorted(shown, key=place)
    return {number: rank / max(1, len(ranked) - 1) for rank, number in enumerate(ranked)}


def dominance(shares: Mapping[str, float]) -> dict[str, float]:
    """Return shares as parts of a whole: their sizes over the sum of these, signs aside."""
    total = sum(abs(share) for share in shares.values())
    even = 1.0 / max(1, len(shares))
    return {name: abs(share) / total if total else even for name, share in shares.items()}


def _founder_name(genotype: Genotype, origin: str) -> str:
    """Name a donor as the study does, and what another stage found by its trial there."""
    kind, what = genotype
    return str(what) if kind == DONOR else origin.removeprefix(SEED)


def _described(mutation: Mutation) -> dict[str, Any]:
    return {"kind": _KINDS[type(mutation)], **asdict(mutation)}


def _parents(one: Offspring) -> tuple[Parent, ...]:
    weights = np.array(one.weights)
    lengths = np.diff(one.ends, prepend=0)
    means = lengths @ weights / lengths.sum()
    return tuple(
        Parent(trial, float(mean), float(column.min()), float(column.max()))
        for trial, mean, column in zip(one.parents, means, weights.T, strict=True)
    )


def _shares(
    read: Mapping[int, Offspring | None],
    names: Mapping[int, str],
    founders: Sequence[str],
    wanted: Collection[int],
) -> tuple[dict[int, list[float]], dict[int, Table]]:
    """Return everybody's shares and the tables that are wanted.

    Every individual's table is worked out and let go after its last child.
    """
    offspring = {number: one for number, one in read.items() if one is not None}
    size = next((one.ends[-1] for one in offspring.values()), 1)
    last_child = {parent: number for number, one in offspring.items() for parent in one.parents}
    tables: dict[int, Table] = {}
    shares: dict[int, list[float]] = {}
    kept: dict[int, Table] = {}
    for number, one in read.items():
        if one is None:
            table = Table.of(Donor(donor=founders.index(names[number])), size)
        else:
            ends = np.array(one.ends, dtype=np.int64)
            parents = [tables[parent] for parent in one.parents]
            table = mixed(parents, ends, np.array(one.weights))
            for parent in set(one.parents):
                if last_child[parent] == number:
                    del tables[parent]
        if number in last_child:
            tables[number] = table
        if number in wanted:
            kept[number] = table
        means = np.diff(table.ends, prepend=0) @ table.weights / size
        row = [0.0] * len(founders)
        for source, mean in zip(table.inputs, means.tolist(), strict=True):
            if isinstance(source, Donor):
                row[source.donor] = mean
        shares[number] = row
    return shares, kept
