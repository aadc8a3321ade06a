"""Any Optuna sampler behind our ask and tell (Akiba et al., 2019, arXiv 1907.10902).

The sampler works on an in-memory Optuna study that exists only inside this object: the journal
stays the one record of a search. Genes keep their own units, logarithms and choices.

In a domain with conditions a trial has only the parameters that have an effect, suggested one after
the other; `sampler_options: {multivariate: true, group: true}` makes TPE model those that occur
together jointly. Where genes say by weights, spreads or conditions where a search starts, the first
ten points that are not known ones are drawn by those: samplers themselves start uniformly.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from evomerge.errors import ConfigError, MissingExtra, PluginError, nearest
from evomerge.optimizers.arguments import by_name, checked_domain, flag, integer, text
from evomerge.optimizers.costs import bounded
from evomerge.optimizers.known_points import known_points
from evomerge.optimizers.optuna_log import quiet
from evomerge.optimizers.pending import PendingTrials
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.optimizers.starting import is_shaped
from evomerge.spaces.domain import Domain, Gene
from evomerge.types import GeneValue, Genotype, Trial

SAMPLERS = {
    "cmaes": "CmaEsSampler",
    "gp": "GPSampler",
    "nsgaii": "NSGAIISampler",
    "nsgaiii": "NSGAIIISampler",
    "qmc": "QMCSampler",
    "random": "RandomSampler",
    "tpe": "TPESampler",
}
"""Short names; any other class of `optuna.samplers` goes by its own name."""

_REFUSED = {
    "BruteForceSampler": "it ends a study that Optuna itself runs",
    "GridSampler": "it ends a study that Optuna itself runs",
    "PartialFixedSampler": "it wraps another sampler object",
}

_ONE_OBJECTIVE = ("CmaEsSampler",)

DRAWS = 10
"""Points drawn from where a search starts; TPE by default models none of its first ten trials."""


class OptunaSampler:
    """One of Optuna's samplers; never waits.

    The sampler's state depends on the order of the tells, as Optuna's always does; the same
    sequence of asks and tells gives the same proposals.

    Args:
        domain: what to vary; genes of every kind.
        n_objectives: any number that the sampler takes.
        seed: the sampler's.
        seeds: propose the domain's seeds and initial point first.
        sampler: 'tpe', 'nsgaii', 'nsgaiii', 'gp', 'cmaes', 'qmc', 'random' or a class name of
            `optuna.samplers`.
        sampler_options: keyword arguments of that class, such as {constant_liar: true}.

    Raises:
        MissingExtra: Optuna is not installed.
        ConfigError: the sampler or one of its options is unknown or refused, or it takes one
            objective and there are several.
        PluginError: the sampler needs a package that is not installed.
    """

    needs = Needs(objectives="any")

    def __init__(
        self,
        domain: Domain,
        n_objectives: int,
        seed: int,
        *,
        seeds: bool = True,
        sampler: str = "tpe",
        sampler_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._optuna = _import_optuna()
        self._domain = checked_domain(domain)
        self._pending = PendingTrials(integer("n_objectives", n_objectives, 1))
        self._known = list(known_points(domain)) if flag("seeds", seeds) else []
        self._origin = f"optuna:{text('sampler', sampler)}"
        self._conditional = any(gene.condition is not None for gene in domain.genes)
        if is_shaped(domain):
            draws = np.random.default_rng([integer("seed", seed, 0), 0])
            drawn = [domain.draw(draws) for _ in range(DRAWS)]
            self._known += [Proposal(genotype, "optuna:start") for genotype in drawn]
        self._trials: dict[int, Any] = {}
        distributions = self._optuna.distributions
        self._distributions = {
            gene.name: distribution_of(distributions, gene) for gene in domain.genes
        }
        given = {} if sampler_options is None else sampler_options
        options = by_name("sampler_options", given, "option: value")
        seed = integer("seed", seed, 0) % 2**32  # Optuna's generators take 32 bits
        with self._quiet():
            chosen = _sampler(self._optuna, sampler, options, seed)
            _check_objectives(chosen, n_objectives)
            self._study = self._optuna.create_study(
                sampler=chosen, directions=["minimize"] * n_objectives
            )

    def ask(self, trial_number: int) -> Proposal | None:
        """Propose the next known point or the sampler's choice."""
        self._pending.check_new(trial_number)
        with self._quiet():
            if self._known:
                proposal = self._known.pop(0)
                self._study.enqueue_trial(self._effective(proposal.genotype))
                trial, _ = self._suggest()
            else:
                trial, genotype = self._suggest()
                proposal = Proposal(genotype, self._origin)
        self._trials[trial_number] = trial
        self._pending.open(trial_number, proposal.genotype)
        return proposal

    def tell(self, trial: Trial) -> None:
        """Tell the Optuna study; a failed trial becomes one of its failed trials.

        Raises:
            ValueError: the trial was never asked for, or was told already.
        """
        self._pending.close(trial)
        optuna_trial = self._trials.pop(trial.number)
        with self._quiet():
            if trial.costs is None:
                self._study.tell(optuna_trial, state=self._optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(optuna_trial, [bounded(cost) for cost in trial.costs])

    def stop_reason(self) -> str | None:
        """Return None: these samplers have no end of their own."""
        return None

    def _effective(self, genotype: Genotype) -> dict[str, GeneValue]:
        """Return the values that have an effect, by the names of their genes."""
        genes, active = self._domain.genes, self._domain.active(genotype)
        return {
            gene.name: value
            for gene, value, effective in zip(genes, genotype, active, strict=True)
            if effective
        }

    def _suggest(self) -> tuple[Any, Genotype]:
        """Ask the study for a trial and its genotype; genes without effect stay initial."""
        if not self._conditional:
            trial = self._study.ask(self._distributions)
            return trial, tuple(
                _plain(gene, trial.params[gene.name]) for gene in self._domain.genes
            )
        trial = self._study.ask()
        values: list[GeneValue] = []
        active: list[bool] = []
        for gene in self._domain.genes:
            condition = gene.condition
            effective = condition is None or (
                active[condition.gene] and values[condition.gene] in condition.values
            )
            active.append(effective)
            values.append(_suggested(trial, gene) if effective else gene.initial)
        return trial, tuple(values)

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Silence Optuna, and say which sampler needs a package that is missing."""
        try:
            with quiet(self._optuna):
                yield
        except ImportError as error:
            raise PluginError(f"{self._origin} needs a package: {error}") from error


def _import_optuna() -> ModuleType:
    try:
        return importlib.import_module("optuna")
    except ImportError:
        raise MissingExtra("Optuna samplers", "optuna") from None


def _sampler(optuna: ModuleType, name: str, options: Mapping[str, Any], seed: int) -> Any:
    """Construct a sampler of Optuna by name."""
    class_name = SAMPLERS.get(name, name)
    if class_name in _REFUSED:
        raise ConfigError([f"sampler: {class_name} is not usable: {_REFUSED[class_name]}"])
    classes = {
        word: value
        for word, value in vars(optuna.samplers).items()
        if word.endswith("Sampler") and word not in _REFUSED and not inspect.isabstract(value)
    }
    if class_name not in classes:
        hint = nearest(name, [*SAMPLERS, *classes])
        raise ConfigError([f"sampler: Optuna has no sampler '{name}'; {hint}"])
    sampler_type: Any = classes[class_name]
    known = [word for word in inspect.signature(sampler_type).parameters if word != "seed"]
    problems = [
        f"sampler_options.{word}: {class_name} has no such option; {nearest(word, known)}"
        for word in options
        if word not in known
    ]
    if problems:
        raise ConfigError(problems)
    try:
        return sampler_type(seed=seed, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError([f"sampler_options: {class_name}: {error}"]) from error


def _check_objectives(sampler: Any, n_objectives: int) -> None:
    """Refuse a sampler that would raise at its first proposal."""
    name = type(sampler).__name__
    if n_objectives > 1 and name in _ONE_OBJECTIVE:
        raise ConfigError(
            [
                f"sampler: {name} takes one objective and the study has {n_objectives}; use tpe, "
                "nsgaii, nsgaiii or gp, or say how to combine them with 'scalarize: mean'"
            ]
        )


def distribution_of(distributions: ModuleType, gene: Gene) -> Any:
    """Return a gene as one of `optuna.distributions`."""
    if gene.kind == "categorical":
        return distributions.CategoricalDistribution(gene.choices)
    if gene.kind == "integer":
        return distributions.IntDistribution(int(gene.low), int(gene.high))
    return distributions.FloatDistribution(gene.low, gene.high, log=gene.log)


def _suggested(trial: Any, gene: Gene) -> GeneValue:
    """Let an Optuna trial choose the value of a gene."""
    if gene.kind == "categorical":
        return _plain(gene, trial.suggest_categorical(gene.name, gene.choices))
    if gene.kind == "integer":
        return _plain(gene, trial.suggest_int(gene.name, int(gene.low), int(gene.high)))
    return _plain(gene, trial.suggest_float(gene.name, gene.low, gene.high, log=gene.log))


def _plain(gene: Gene, value: Any) -> GeneValue:
    chosen: GeneValue = float(value) if gene.kind == "continuous" else value
    return chosen
