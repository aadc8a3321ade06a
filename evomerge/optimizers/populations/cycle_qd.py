"""CycleQD, cyclic quality diversity (Kuroki et al. 2025, arXiv 2410.14735).

    evaluate the donors on all K tasks; offer each to all K archives, one a task
    for t = 0, 1, ...:
        q       = tasks[t // flip_interval mod K]
        1, 2    = two different elites of archive q                       (elite_sampling)
        tau     = (w1 tau_1 + w2 tau_2) / (w1 + w2)                       w ~ N(mix_mean, mix_std^2)
        tau_l  <- tau_l + U_q,l diag(rate * u * sigma_q,l) V_q,l^T        svd_seed
               or U_l diag(w * sigma_l) V_l^T of the child's own tau_l    svd_child   (variation)
        score on all K tasks, offer to all K archives                     (task_archives)
    last        sum_k beta_k tau^(k), beta = softmax(f_k / T)             (aggregation)

Steady state: results may come in any order and from any number of workers. What is ours: while
donors are still being scored random merges of two donors are proposed; an archive of one elite
pairs it with a founder; the aggregate is a trial like any other, which waits until nothing is in
flight. In the released code, and so with its preset, the cycle begins with the second task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evomerge.errors import ConfigError
from evomerge.optimizers.archives import MOST_CELLS
from evomerge.optimizers.archives.ranges import quality_ranges
from evomerge.optimizers.arguments import choice, integer, number, of_preset
from evomerge.optimizers.pending import PendingTrials
from evomerge.optimizers.populations.aggregation import Aggregation
from evomerge.optimizers.populations.drawing import draw_pair
from evomerge.optimizers.populations.elite_sampling import Sampler, weights
from evomerge.optimizers.populations.task_archives import (
    TaskArchives,
    cells_for,
    kind_for,
)
from evomerge.optimizers.populations.variation import Variation
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.spaces.populations import Breeding
from evomerge.types import Objective, Trial

_PRESETS: dict[str, dict[str, Any]] = {
    "evomerge": {
        "sampler": "elite",
        "mutation": "svd_seed",
        "archive": "auto",
        "edge_rule": "upper",
        "aggregation": "softmax",
        "softmax_of": "range",
    },
    "paper": {
        "sampler": "elite",
        "mutation": "svd_child",
        "archive": "grid",
        "edge_rule": "upper",
        "aggregation": "softmax",
        "softmax_of": "metric",
    },
    "released": {
        "sampler": "random",
        "mutation": "gauss",
        "archive": "grid",
        "edge_rule": "lower",
        "aggregation": "none",
        "softmax_of": "metric",
    },
}
_SAMPLERS: dict[str, Sampler] = {"elite": "elite", "elite-code": "elite-code", "random": "random"}


class CycleQd:
    """An archive of merges for each task; every task in turn gives the parents.

    Args:
        domain: of a population's space.
        n_objectives: number of tasks, at least two.
        seed: source of all randomness.
        objectives: the tasks in the order of the cycle; the study gives them.
        budget: trials of the search, the last of which is the aggregate; the study gives it.
        preset: where sampler, mutation, archive, edge_rule and aggregation start: 'evomerge'
            (elite, svd_seed, auto, upper, softmax), 'paper' (elite, svd_child, grid, upper,
            softmax) or 'released' (random, gauss, grid, lower, none).
        bins: of a grid, along each measure.
        ranges: objective name to [low, high] of its metric; by default from 15 % below the
            weakest to 15 % above the strongest founder.
        archive: 'grid', 'cvt' or 'dominated_novelty'; 'auto' takes a grid unless it has more
            cells than the budget.
        cells: of a 'cvt' archive, or the capacity of 'dominated_novelty'; by default scaled to
            the budget, 225 for the paper's 1,200 evaluations.
        edge_rule: to which cell a value on an edge belongs, 'upper' or 'lower'.
        sampler: 'elite', 'elite-code' or 'random', see
            `evomerge.optimizers.populations.elite_sampling`.
        a_low: smallest factor of an elite along an axis.
        a_high: largest one; 'elite-code' adds it to a_low instead.
        crossover: 'linear', the paper's; 'space' mates by the space's operator and angle, w2 /
            (w1 + w2) being the interpolation parameter.
        mix_mean: mean of w.
        mix_std: standard deviation of w; the paper's 0.01 is nearly plain averaging.
        mutation: 'svd_seed' adds the active task's expert with its singular values multiplied by
            svd_rate * u: the donor that scored best on the task, or where all donors failed one
            drawn at random;
            'svd_child' multiplies the child's own; 'gauss' adds normal numbers; 'none'.
        svd_rate: see there.
        svd_symmetric: u in [-1, 1] instead of [0, 1), so that task vectors do not grow.
        svd_scale: w_max of 'svd_child'; 2 keeps the expected task vector.
        gauss_std: standard deviation of 'gauss', in the weights' own units.
        flip_interval: children of one task before it is the next one's turn.
        aggregation: 'softmax' or 'none'.
        temperature: of the softmax.
        softmax_of: 'range' takes qualities as shares of their task's range, whatever its unit;
            'metric' takes them as they are.
        aggregate_every: trials from one aggregate to the next; by default there is one, at the
            end of the budget that the study file gives (trials that are added later have none),
            and without a budget one in 100 trials.

    Attributes:
        tasks: the archives.
        family: the individuals.

    Raises:
        ConfigError: an option is out of range, there are fewer than two tasks, or singular values
            are to be mutated where there are none.
    """

    needs = Needs(objectives="many", breeds=True)

    def __init__(
        self,
        domain: Breeding,
        n_objectives: int,
        seed: int,
        *,
        objectives: Sequence[Objective],
        budget: int | None = None,
        preset: str = "evomerge",
        bins: int = 15,
        ranges: Mapping[str, Sequence[float]] | None = None,
        archive: str | None = None,
        cells: int | None = None,
        edge_rule: str | None = None,
        sampler: str | None = None,
        a_low: float = 0.5,
        a_high: float = 0.8,
        crossover: str = "linear",
        mix_mean: float = 1.0,
        mix_std: float = 0.01,
        mutation: str | None = None,
        svd_rate: float = 0.1,
        svd_symmetric: bool = False,
        svd_scale: float = 2.0,
        gauss_std: float = 3e-4,
        flip_interval: int = 1,
        aggregation: str | None = None,
        temperature: float = 1.0,
        softmax_of: str | None = None,
        aggregate_every: int | None = None,
    ) -> None:
        self.tasks = self.watch(
            n_objectives,
            objectives=objectives,
            budget=budget,
            preset=preset,
            bins=bins,
            ranges=ranges,
            archive=archive,
            cells=cells,
            edge_rule=edge_rule,
        )
        self._domain = domain
        self._seed = integer("seed", seed, 0)
        word = choice("sampler", of_preset(_PRESETS, preset, "sampler", sampler), tuple(_SAMPLERS))
        self._sampler = _SAMPLERS[word]
        self._low = number("a_low", a_low, 0)
        self._high = number("a_high", a_high, 0)
        if self._low > self._high:
            raise ConfigError([f"a_low: expected at most a_high {a_high!r}, got {a_low!r}"])
        self._variation = Variation(
            domain,
            crossover=crossover,
            mix_mean=mix_mean,
            mix_std=mix_std,
            mutation=of_preset(_PRESETS, preset, "mutation", mutation),
            svd_rate=svd_rate,
            svd_symmetric=svd_symmetric,
            svd_scale=svd_scale,
            gauss_std=gauss_std,
        )
        self._flip = integer("flip_interval", flip_interval, 1)
        self._first = 1 if preset == "released" else 0
        self._aggregation = Aggregation(
            of_preset(_PRESETS, preset, "aggregation", aggregation),
            temperature,
            of_preset(_PRESETS, preset, "softmax_of", softmax_of),
            aggregate_every,
            budget,
        )
        self._pending = PendingTrials(n_objectives)
        self._founders: list[int] = []
        self._founders_told = 0
        self._leaving: set[int] = set()  # who may be nobody's member; ranges may still move
        self._asked = 0
        self._told = 0
        self._bred = 0
        self.family = domain.family()

    @staticmethod
    def watch(
        n_objectives: int,
        *,
        objectives: Sequence[Objective],
        budget: int | None = None,
        preset: str = "evomerge",
        bins: int = 15,
        ranges: Mapping[str, Sequence[float]] | None = None,
        archive: str | None = None,
        cells: int | None = None,
        edge_rule: str | None = None,
        **_: Any,
    ) -> TaskArchives:
        """Return the archives by themselves, see `evomerge.optimizers.archives.watch.Watch`."""
        if n_objectives < 2:
            raise ConfigError([f"cycle_qd: needs two tasks at least, got {n_objectives}"])
        if len(objectives) != n_objectives:
            raise ConfigError(
                [f"objectives: expected {n_objectives}, one a task, got {len(objectives)}"]
            )
        if budget is not None:
            integer("budget", budget, 1)
        known = ("auto", "grid", "cvt", "dominated_novelty")
        bins = integer("bins", bins, 1)
        kind = kind_for(
            choice("archive", of_preset(_PRESETS, preset, "archive", archive), known),
            bins,
            n_objectives - 1,
            budget,
        )
        if kind == "grid" and bins ** (n_objectives - 1) > MOST_CELLS:
            raise ConfigError(
                [
                    f"bins: {bins} along each of {n_objectives - 1} measures are more cells than "
                    "can be numbered; use fewer, or archive: cvt"
                ]
            )
        rule = choice(
            "edge_rule", of_preset(_PRESETS, preset, "edge_rule", edge_rule), ("upper", "lower")
        )
        return TaskArchives(
            objectives,
            kind=kind,
            bins=bins,
            cells=cells_for(budget) if cells is None else integer("cells", cells, 2),
            edge_rule="upper" if rule == "upper" else "lower",
            ranges=quality_ranges(objectives, ranges),
        )

    def ask(self, trial_number: int) -> Proposal | None:
        """Propose a founder, a child, or the aggregate; only the aggregate waits.

        None is also the answer once the search is over.
        """
        self._pending.check_new(trial_number)
        if self.stop_reason() is not None:
            return None
        if self._asked < len(self._domain.seeds):
            seed = self._domain.seeds[self._asked]
            proposal = Proposal(seed.genotype, f"seed:{seed.name}")
            self._founders.append(trial_number)
        elif self._aggregation.due(self._asked):
            if self._told < self._asked:
                return None
            proposal = self._aggregate() or self._breed(trial_number)
        else:
            proposal = self._breed(trial_number)
        self._asked += 1
        self._pending.open(trial_number, proposal.genotype)
        self.family.add(trial_number, proposal.genotype)
        return proposal

    def tell(self, trial: Trial) -> None:
        """Offer an individual to every archive; one that failed or is an estimate enters none.

        Raises:
            ValueError: the trial was never asked for, or was told already.
        """
        self._pending.close(trial)
        self._told += 1
        self._founders_told += trial.number in self._founders
        self._leaving.update(self.tasks.tell(trial))
        if self._all_founders_told and self.tasks.by_founders and self.tasks.archives:
            for one in self._leaving - set(self._founders):
                if not self.tasks.holds(one):
                    self.family.discard(one)
            self._leaving.clear()

    def stop_reason(self) -> str | None:
        """Say which task cannot be a measure, if there is one."""
        if not (self.tasks.flat and self._all_founders_told and self.tasks.settled):
            return None
        name = self.tasks.flat[0]
        return (
            f"cycle_qd: task '{name}' is 0 for all who could decide its range, so there is none to "
            f"cut into bins; start a new run with ranges: {{{name}: [low, high]}}"
        )

    @property
    def _all_founders_told(self) -> bool:
        return self._founders_told == len(self._domain.seeds)

    def _aggregate(self) -> Proposal | None:
        """Blend the best elites of all archives; None where they are one and the same."""
        shares = self._aggregation.shares(self.tasks)
        if len(shares) < 2:
            return None
        genotype = self.family.blend(list(shares), list(shares.values()))
        return Proposal(genotype, "cycle_qd:aggregate")

    def _breed(self, number: int) -> Proposal:
        """Cross two elites of the task whose turn it is, or two founders where there are none."""
        random = np.random.default_rng([self._seed, self._asked])
        task = (self._first + self._bred // self._flip) % len(self.tasks.names)
        self._bred += 1
        if self._all_founders_told and self.tasks.settled and self.tasks.archives:
            parents = self._select(task, random)
            ratio = self._variation.ratio(random)
            mutation = self._variation.mutation(number, self._expert(task), random)
            genotype = self._variation.cross(self.family, parents, ratio, mutation)
            return Proposal(genotype, f"cycle_qd:{self.tasks.names[task]}")
        first, second = random.permutation(len(self._founders))[:2]
        pair = self._founders[first], self._founders[second]
        genotype = self._variation.cross(self.family, pair, float(random.random()), None)
        return Proposal(genotype, "cycle_qd:warmup")

    def _select(self, task: int, random: np.random.Generator) -> tuple[int, int]:
        """Draw two different elites of an archive; a lone one is paired with a founder."""
        archive = self.tasks.archives[task]
        numbers: list[int] = archive.data()["solution"].tolist()
        if len(numbers) == 1:
            others = [one for one in self._founders if one != numbers[0]]
            return numbers[0], others[random.integers(len(others))]
        first, second = draw_pair(weights(archive, self._sampler, self._low, self._high), random)
        return numbers[first], numbers[second]

    def _expert(self, task: int) -> int | None:
        """Return the place of the donor that is best on a task; None if all of them failed."""
        donors = self._founders[: len(self._domain.donors)]
        expert = self.tasks.expert(task, donors)
        return None if expert is None else donors.index(expert)
