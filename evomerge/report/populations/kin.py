"""The populations of a run with their family trees, and whose ancestors are worth showing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evomerge.journal import Event
from evomerge.report.front import Stopped
from evomerge.report.populations.lineage_tree import FamilyTree, family_tree
from evomerge.report.populations.population import Population, Stretch, populations, stretches


@dataclass(frozen=True, slots=True)
class Kin:
    """A population with its family tree and those whose ancestors are shown.

    Attributes:
        population: its archives; None where its optimizer keeps none.
        tree: who descends from whom; None where nobody is bred.
        roots: those whose ancestors are shown, and what they are.
        front: trials of the front that belong to it.
    """

    population: Population | None
    tree: FamilyTree | None
    roots: Mapping[int, str]
    front: tuple[int, ...]

    @property
    def label(self) -> str:
        """The part of the run it belongs to; '' in a study without stages."""
        one = self.population or self.tree
        return one.label if one else ""

    @property
    def suffix(self) -> str:
        """What tells the files of this part from those of others."""
        return f"-{self.label.replace(' ', '-').replace('/', '-of-')}" if self.label else ""

    def names(self, stopped: Iterable[Stopped]) -> dict[int, str]:
        """Return what is said of individuals beside their number: founders, and who is estimated.

        Args:
            stopped: trials that stopped on a rung.
        """
        people = () if self.tree is None else self.tree.individuals.values()
        founders = {person.trial: person.founder for person in people if person.founder}
        return founders | {one.trial: "estimated" for one in stopped}


def kin_of(run: Path, events: Sequence[Event], front: Sequence[int]) -> tuple[Kin, ...]:
    """Return the populations of a run, part by part.

    Args:
        run: its directory.
        events: of its journal.
        front: numbers of the trials on it.

    Raises:
        PluginError: the optimizer of a population cannot be imported any more.
        JournalError: scores of examples are damaged.
    """
    found = {one.label: one for one in populations(run, events, history=True)}
    kin = []
    for stretch in stretches(events):
        population = found.get(stretch.label)
        own = tuple(number for number in front if _belongs(number, stretch))
        roots = _roots(population, own)
        tree = family_tree(events, stretch, roots)
        if population is not None or tree is not None:
            shown = {} if tree is None else _shown(tree, roots)
            kin.append(Kin(population, tree, shown, own))
    return tuple(kin)


def _belongs(trial: int, stretch: Stretch) -> bool:
    return stretch.first <= trial < stretch.first + stretch.n_asked


def _roots(population: Population | None, front: Sequence[int]) -> dict[int, str]:
    """Return those whose ancestors are shown, and why: champions first, then the front."""
    roles: dict[int, list[str]] = {}
    for one in population.maps if population else ():
        if one.champion is not None:
            role = f"champion of {one.name}" if one.name else "champion"
            roles.setdefault(one.champion, []).append(role)
    for number in front:
        roles.setdefault(number, []).append("on the front")
    return {number: ", ".join(words) for number, words in roles.items()}


def _shown(tree: FamilyTree, roots: Mapping[int, str]) -> dict[int, str]:
    """Return those whose ancestors are shown: not founders, unless there is nobody else."""
    bred = {number: role for number, role in roots.items() if tree.individuals[number].parents}
    return bred or dict(roots)
