"""NSGA-II by pymoo (Deb et al., 2002, 'A fast and elitist multiobjective genetic algorithm').

What is ours around it:

- Generation 0 is the domain's seeds and initial point, filled up with uniform points or, where
  genes have weights, spreads or conditions, with points drawn by those; with more known points than
  the population it is larger, and survival brings it down.
- A failed trial is infeasible: by Deb's constrained domination every completed candidate beats it
  and failures tie among themselves, in all later generations too. It needs no made-up cost.
- Integer and categorical genes snap to the middle of their bins and genes without effect to their
  initial value, so that pymoo's duplicate elimination sees genotypes; `mixed_variation` mates them,
  and `sequence_variation` where genes spell a sequence.
- All randomness comes from pymoo's own generator; termination is left to the study.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination

from evomerge.optimizers.arguments import checked_domain, flag, integer, number
from evomerge.optimizers.costs import bounded
from evomerge.optimizers.generation import Generation, Generational
from evomerge.optimizers.known_points import known_points
from evomerge.optimizers.mixed_variation import Floats, Snap, crossover, mutation, snapped
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.optimizers.sequence_variation import SequenceCrossover, SequenceMutation
from evomerge.optimizers.sequences import Sequences
from evomerge.optimizers.starting import is_shaped
from evomerge.spaces.domain import Domain
from evomerge.types import Genotype, Trial


class Nsga2(Generational):
    """Non-dominated sorting genetic algorithm for one or, better, several objectives.

    Args:
        domain: what to vary; genes of every kind.
        n_objectives: any number.
        seed: source of all randomness.
        seeds: make the domain's seeds and initial point part of generation 0.
        population: candidates a generation, and survivors of each.
        crossover_probability: of simulated binary crossover, for each pair of parents.
        crossover_eta: its distribution index; larger keeps children nearer to their parents.
        mutation_probability: of polynomial mutation, for each child; in a mutated child a gene
            changes with probability 1/n.
        mutation_eta: its distribution index; larger makes smaller steps.

    Raises:
        ConfigError: an option is out of range.
    """

    needs = Needs(objectives="any")

    def __init__(
        self,
        domain: Domain,
        n_objectives: int,
        seed: int,
        *,
        seeds: bool = True,
        population: int = 24,
        crossover_probability: float = 0.9,
        crossover_eta: float = 15.0,
        mutation_probability: float = 0.9,
        mutation_eta: float = 20.0,
    ) -> None:
        self._domain = checked_domain(domain)
        self._shaped = is_shaped(domain)
        self._initial = np.array(domain.to_unit(domain.initial))
        self._sequences = Sequences(domain) if domain.sequence else None
        self._n_objectives = integer("n_objectives", n_objectives, 1)
        population = integer("population", population, 2)
        super().__init__(n_objectives)
        self._number = 0
        known = known_points(domain) if flag("seeds", seeds) else ()
        n_genes = len(domain)
        fill = np.random.default_rng([integer("seed", seed, 0), 0])
        random_points = _drawn(domain, max(population - len(known), 0), fill)
        rows = np.array([domain.to_unit(point.genotype) for point in known]).reshape(-1, n_genes)
        first = self._canonical(np.vstack([rows, random_points]))
        self._algorithm = NSGA2(
            pop_size=population,
            sampling=first,
            crossover=(SequenceCrossover if domain.sequence else crossover)(
                domain,
                number("crossover_probability", crossover_probability, 0, 1),
                number("crossover_eta", crossover_eta, 0),
            ),
            mutation=(SequenceMutation if domain.sequence else mutation)(
                domain,
                number("mutation_probability", mutation_probability, 0, 1),
                number("mutation_eta", mutation_eta, 0),
            ),
            repair=Snap(self._canonical),
            output=None,
            seed=seed,
        )
        # One inequality constraint: a trial is feasible if it completed.
        problem = Problem(n_var=n_genes, n_obj=n_objectives, n_ieq_constr=1, xl=0.0, xu=1.0)
        self._algorithm.setup(problem, termination=NoTermination())
        # Known points keep their exact genotype: the way over the unit cube rounds.
        self._exact = {row.tobytes(): point for row, point in zip(first, known, strict=False)}
        self._draw()

    def _advance(self, trials: Sequence[Trial]) -> None:
        self._learn(trials)
        self._draw()

    def _canonical(self, points: Floats) -> Floats:
        """Make equal genotypes equal points."""
        packed = points if self._sequences is None else self._sequences.packed(points)
        return snapped(packed, self._domain)

    def _genotype(self, point: Floats) -> Genotype:
        """Read a point; a scale that was never varied must be the initial one to the last bit."""
        genotype = self._domain.from_unit(point.tolist())
        if not self._shaped:
            return genotype
        return tuple(
            float(gene.initial) if gene.kind == "continuous" and same else value
            for gene, value, same in zip(
                self._domain.genes, genotype, point == self._initial, strict=True
            )
        )

    def _learn(self, trials: Sequence[Trial]) -> None:
        """Select the survivors of population and offspring."""
        costs = np.zeros((len(trials), self._n_objectives))
        failed = np.ones((len(trials), 1))
        for row, trial in enumerate(trials):
            if trial.costs is not None:
                costs[row] = [bounded(cost) for cost in trial.costs]
                failed[row] = 0.0
        self._offspring.set("F", costs)
        self._offspring.set("G", failed)
        self._algorithm.tell(infills=self._offspring)

    def _draw(self) -> None:
        """Mate the next generation, or stop when a finite domain has no new genotype."""
        self._offspring: Any = self._algorithm.ask()
        if self._offspring is None:
            self._stopped = "nsga2: mating finds no genotype outside the population"
            return
        origin = f"nsga2:gen{self._number}"
        self._number += 1
        proposals = []
        for x in self._offspring.get("X"):
            exact = self._exact.get(x.tobytes()) if self._number == 1 else None
            proposals.append(exact or Proposal(self._genotype(x), origin))
        self._generation = Generation(proposals)


def _drawn(domain: Domain, count: int, random: np.random.Generator) -> Floats:
    """Return points to fill generation 0 up with, (count, n_genes)."""
    if not is_shaped(domain):
        return random.random((count, len(domain)))
    drawn = [domain.to_unit(domain.draw(random)) for _ in range(count)]
    return np.array(drawn).reshape(count, len(domain))
