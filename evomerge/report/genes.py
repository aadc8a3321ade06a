"""The genotypes of a run beside their scores, part by part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evomerge.journal import Event
from evomerge.report.estimates import seed_of
from evomerge.report.importance import GeneEffect, gene_effects
from evomerge.report.run_history import RunHistory
from evomerge.study.course import Course
from evomerge.types import Genotype


@dataclass(frozen=True, slots=True)
class GeneTable:
    """The scored trials of one part of a run.

    Attributes:
        label: of the part; '' in a study without stages.
        names: of its genes.
        trials: numbers, in order.
        genotypes: of these.
        scores: metrics of these, shape (n_trials, n_objectives).
        effects: for each objective what single genes tell of it, the most telling first; empty
            where there are too few trials.
    """

    label: str
    names: tuple[str, ...]
    trials: tuple[int, ...]
    genotypes: tuple[Genotype, ...]
    scores: NDArray[np.float64]
    effects: tuple[tuple[GeneEffect, ...], ...]

    def most_telling(self, count: int) -> tuple[str, ...]:
        """Return the genes that tell most of any objective, then the others, at most so many."""
        best: dict[str, float] = {}
        for effects in self.effects:
            for one in effects:
                best[one.gene] = max(best.get(one.gene, -1.0), one.share)
        order = sorted(self.names, key=lambda name: -best.get(name, -2.0))  # stable
        return tuple(order[:count])


def gene_tables(
    events: Sequence[Event], history: RunHistory, course: Course | None
) -> tuple[GeneTable, ...]:
    """Read the parts of a run whose points are genes; populations have none.

    Args:
        events: of its journal.
        history: of the same run.
        course: its parts; without it, as when its models are gone, parts of a study with stages
            are left out.
    """
    genotypes = {
        event.trial: tuple(event.payload["genotype"]) for event in events if event.kind == "asked"
    }
    seed = events[0].payload["study"].get("seed", 0)
    found = []
    for label, names, first, end in _parts(events, course, len(genotypes)):
        rows = [
            row
            for row, number in enumerate(history.scored)
            if first <= number < end and len(genotypes[number]) == len(names)
        ]
        if not names or not rows:
            continue
        trials = tuple(history.scored[row] for row in rows)
        own, scores = tuple(genotypes[number] for number in trials), history.scores[rows]
        effects = tuple(
            gene_effects(names, own, scores[:, place], seed_of(seed, (label, objective.name)))
            for place, objective in enumerate(history.objectives)
        )
        found.append(GeneTable(label, tuple(names), trials, own, scores, effects))
    return tuple(found)


def _parts(
    events: Sequence[Event], course: Course | None, n_asked: int
) -> Iterable[tuple[str, Sequence[str], int, int]]:
    """Yield label, names of genes, first trial and one past the last of each part."""
    opening = events[0].payload
    if not opening["study"].get("stages"):
        yield "", opening.get("genes", ()), 0, n_asked
    elif course is not None:
        ends = [part.first for part in course.parts[1:]] + [n_asked]
        for part, end in zip(course.parts, ends, strict=True):
            yield part.label, [gene.name for gene in part.space.domain.genes], part.first, end
