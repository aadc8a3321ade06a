"""M2N2, model merging of natural niches (Abrantes et al. 2025, arXiv 2508.16204).

    evaluate the donors, then without end:
        A ~ shared fitness;  B ~ attraction of A                     (populations.niches)
        s ~ split points of the space;  w ~ Beta(a, a)
        child = A and B interpolated at w left of s, at 1 - w right of it;  mutation
        score it; whoever of the archive and the child has the lowest shared fitness leaves

Steady state: results may come in any order and from any number of workers; the archive is that of
the results so far. What is ours: where nobody complements A, B is drawn from the others by
fitness; an individual never mates with itself unless asked to; the champion is kept outside the
archive, since the best may be driven out; the archive grows from empty and holds no made-up
members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evomerge.errors import ConfigError
from evomerge.optimizers.arguments import choice, flag, integer, not_negative, number, of_preset
from evomerge.optimizers.pending import PendingTrials
from evomerge.optimizers.populations.drawing import draw
from evomerge.optimizers.populations.niches import Capacity, Formula, NicheArchive, Niches
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.spaces.populations import Breeding, GaussianMutation
from evomerge.types import Genotype, Objective, Trial

_PRESETS: dict[str, dict[str, Any]] = {
    "evomerge": {
        "formula": "paper",
        "capacity": "auto",
        "balance": "objectives",
        "distinct_parents": True,
    },
    "paper": {
        "formula": "paper",
        "capacity": "auto",
        "balance": "examples",
        "distinct_parents": False,
    },
    "released": {
        "formula": "released",
        "capacity": "binary",
        "balance": "examples",
        "distinct_parents": False,
    },
}


class M2n2:
    """Natural niches over a population that merges.

    Args:
        domain: of a population's space.
        n_objectives: any number; examples of all objectives are competed for together.
        seed: source of all randomness.
        objectives: names and goals; the study gives them.
        budget: trials of the search, by which the archive is scaled; the study gives it.
        preset: where the other options start: 'evomerge'; 'paper' and 'released' let an
            individual mate with itself and weigh every example alike, and 'released' has the
            formulas of the released code.
        archive_size: individuals held; by default 5 log10(budget), at least 4: 15 for the
            paper's 1,000 evaluations, 20 for its 10,000.
        alpha: strength of competition.
        formula: 'paper' or 'released', see `populations.niches`.
        capacity: 'binary', 'max' or 'range'; 'auto' decides by the scores of each objective.
        balance: what weighs alike where there are several objectives: 'objectives', whatever
            their units and however many examples they have, or 'examples'.
        matchmaker: draw B by attraction; without it by fitness.
        crossover: mate; without it a child is a mutated A.
        split: cut the parents at split points.
        mix_beta: a of the Beta(a, a) that w is drawn from: 1 is uniform, below 1 nearer the
            parents.
        mutation_std: standard deviation of Gaussian mutation; 0 for none.
        warmup: merges of random individuals before selection begins.
        distinct_parents: draw B again where it is A.

    Raises:
        ConfigError: an option is out of range.
    """

    needs = Needs(objectives="any", examples=True, breeds=True)

    def __init__(
        self,
        domain: Breeding,
        n_objectives: int,
        seed: int,
        *,
        objectives: Sequence[Objective],
        budget: int | None = None,
        preset: str = "evomerge",
        archive_size: int | None = None,
        alpha: float = 1.0,
        formula: str | None = None,
        capacity: str | None = None,
        balance: str | None = None,
        matchmaker: bool = True,
        crossover: bool = True,
        split: bool = True,
        mix_beta: float = 1.0,
        mutation_std: float = 0.0,
        warmup: int = 0,
        distinct_parents: bool | None = None,
    ) -> None:
        self._domain = domain
        self._seed = integer("seed", seed, 0)
        self._crossover = flag("crossover", crossover)
        self._matchmaker = flag("matchmaker", matchmaker)
        self._split = flag("split", split)
        self._beta = number("mix_beta", mix_beta, 0)
        self._std = not_negative("mutation_std", mutation_std)
        if not self._crossover and not self._std:
            raise ConfigError(["crossover: without it and without mutation_std nothing changes"])
        self._warmup = integer("warmup", warmup, 0)
        self._distinct = flag(
            "distinct_parents", of_preset(_PRESETS, preset, "distinct_parents", distinct_parents)
        )
        self._pending = PendingTrials(integer("n_objectives", n_objectives, 1))
        self._asked = 0
        self._founders: set[int] = set()
        self._alive: dict[int, None] = {}  # by age: members, founders, and who is not scored yet
        self.family = domain.family()
        self._niches = self.watch(
            n_objectives,
            objectives=objectives,
            budget=budget,
            preset=preset,
            archive_size=archive_size,
            alpha=alpha,
            formula=formula,
            capacity=capacity,
            balance=balance,
        )
        self.archive = self._niches.archive
        if self.archive.only_positive:
            self.needs = replace(self.needs, nonnegative=True)

    @staticmethod
    def watch(
        n_objectives: int,  # noqa: ARG004 -- what every watch is told
        *,
        objectives: Sequence[Objective],
        budget: int | None = None,
        preset: str = "evomerge",
        archive_size: int | None = None,
        alpha: float = 1.0,
        formula: str | None = None,
        capacity: str | None = None,
        balance: str | None = None,
        **_: Any,
    ) -> Niches:
        """Return the archive by itself, see `evomerge.optimizers.archives.watch.Watch`."""
        size = archive_size_for(budget) if archive_size is None else archive_size
        kind = _capacity(of_preset(_PRESETS, preset, "capacity", capacity))
        losses = [objective.name for objective in objectives if objective.goal == "minimize"]
        if kind in ("binary", "max") and losses:
            raise ConfigError(
                [
                    f"capacity: '{kind}' is for scores of at least 0 and objective '{losses[0]}' "
                    "is minimised; use range or auto"
                ]
            )
        weighed = choice(
            "balance", of_preset(_PRESETS, preset, "balance", balance), ("objectives", "examples")
        )
        archive = NicheArchive(
            integer("archive_size", size, 2),
            alpha=not_negative("alpha", alpha),
            formula=_formula(of_preset(_PRESETS, preset, "formula", formula)),
            capacity=kind,
            balanced=weighed == "objectives",
        )
        return Niches(objectives, archive)

    def ask(self, trial_number: int) -> Proposal:
        """Propose a founder or a child; never waits."""
        self._pending.check_new(trial_number)
        if self._asked < len(self._domain.seeds):
            seed = self._domain.seeds[self._asked]
            proposal = Proposal(seed.genotype, f"seed:{seed.name}")
            self._founders.add(trial_number)
        else:
            random = np.random.default_rng([self._seed, self._asked])
            bred = self._asked - len(self._domain.seeds)
            selecting = bred >= self._warmup and bool(self.archive.numbers)
            parents = self._select(random) if selecting else self._any_two(random)
            origin = "m2n2" if selecting else "m2n2:warmup"
            proposal = Proposal(self._child(parents, trial_number, random), origin)
        self._asked += 1
        self._pending.open(trial_number, proposal.genotype)
        self.family.add(trial_number, proposal.genotype)
        self._alive[trial_number] = None
        return proposal

    def tell(self, trial: Trial) -> None:
        """Let an individual compete, or strike out a failed one.

        Raises:
            ValueError: the trial was never asked for, was told already, or its examples are not
                those of the first completed trial.
        """
        self._pending.check(trial)
        before = self.archive.champion
        evicted = self._niches.tell(trial)
        self._pending.close(trial)
        if evicted is not None and evicted not in self._founders:  # a reserve if all others fail
            del self._alive[evicted]
        for one in (evicted, before.number if before else None):
            if one is not None and one not in self._alive and not self._leads(one):
                self.family.discard(one)

    def stop_reason(self) -> str | None:
        """Return None: evolution has no end of its own."""
        return None

    def _leads(self, number: int) -> bool:
        champion = self.archive.champion
        return champion is not None and champion.number == number

    def _child(
        self, parents: tuple[int, int], number: int, random: np.random.Generator
    ) -> Genotype:
        mutation = GaussianMutation(number, self._std) if self._std else None
        if not self._crossover:
            return self.family.blend([parents[0]], [1.0], mutation)
        n = self._domain.n_chromosomes
        splits = self._domain.draw_splits(random) if self._split else None
        ratios = random.beta(self._beta, self._beta, n) if self._beta != 1 else random.random(n)
        return self.family.cross(parents, ratios.tolist(), splits, mutation)

    def _select(self, random: np.random.Generator) -> tuple[int, int]:
        """Draw the parents, equations 3 to 5."""
        numbers = self.archive.numbers
        fitness = self.archive.fitness()
        first = draw(fitness, random)
        if not self._crossover:
            return numbers[first], numbers[first]
        if self._matchmaker:
            chances = self.archive.attraction(first)
            if chances.any():
                return numbers[first], numbers[draw(chances, random)]
        elif not self._distinct:
            return numbers[first], numbers[draw(fitness, random)]
        if len(numbers) == 1:
            return numbers[first], self._another(numbers[first], random)
        others = np.arange(len(numbers)) != first  # by fitness, or any where nobody has some
        chances = fitness * others
        return numbers[first], numbers[draw(chances if chances.any() else others * 1.0, random)]

    def _any_two(self, random: np.random.Generator) -> tuple[int, int]:
        """Draw two different individuals, whatever is known of them."""
        alive = list(self._alive)
        first = alive[random.integers(len(alive))]
        return first, self._another(first, random)

    def _another(self, number: int, random: np.random.Generator) -> int:
        others = [one for one in self._alive if one != number]
        return others[random.integers(len(others))]


def archive_size_for(budget: int | None) -> int:
    """Return how many individuals suit a budget of evaluations; 20 where it is not known."""
    return 20 if budget is None else max(4, round(5 * float(np.log10(max(budget, 1)))))


def _formula(name: str) -> Formula:
    return "paper" if choice("formula", name, ("paper", "released")) == "paper" else "released"


def _capacity(name: str) -> Capacity | None:
    known: dict[str, Capacity | None] = {
        "auto": None,
        "binary": "binary",
        "max": "max",
        "range": "range",
    }
    return known[choice("capacity", name, tuple(known))]
