"""SMM-Bench: the public surrogates of merges of two 7B models, of a user who has their files.

Akizuki et al., 2025, 'Surrogate Benchmarks for Model Merging Optimization', arXiv 2509.02555; code
and the address of the files at https://github.com/shiralab/SMM-Bench. A benchmark is a folder of
two files as `lightgbm.CVBooster` saves them, an ensemble for the accuracy on training problems and
one for that on test problems; an accuracy is the ensemble's mean, clipped into [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from evomerge.errors import DataError, MissingExtra
from evomerge.spaces.domain import Domain, Gene
from evomerge.types import Completed, Failed, FailureKind, Genotype, Objective, Trial

SmmKind: TypeAlias = Literal["ps", "dfs"]

TRAIN = "train_acc_ja_best_model.json"
TEST = "test_acc_ja_best_model.json"

N_LAYERS = 32
"""Of each of the two models."""


def smm_domain(kind: SmmKind) -> Domain:
    """Return the variables of a benchmark, in the order of the ensembles' features.

    Args:
        kind: 'ps', parameter space: 64 weights in [0, 1]; 'dfs', data-flow space: 32 choices of
            three, then 63 scales in [0.4, 1.5]. A search starts at weights of 0.5, or at the first
            choices and scales of 1; the benchmark itself names no start.
    """
    if kind == "ps":
        return Domain(tuple(Gene(f"weight{i}", initial=0.5) for i in range(2 * N_LAYERS)))
    choices = ("0", "1", "2")
    layers = (
        Gene(f"layer{i}", "categorical", initial="0", choices=choices) for i in range(N_LAYERS)
    )
    scales = (Gene(f"scale{i}", low=0.4, high=1.5, initial=1.0) for i in range(2 * N_LAYERS - 1))
    return Domain((*layers, *scales))


class SmmBench:
    """One of the two benchmarks, with all that `Problem` has; its accuracies have no noise.

    Args:
        kind: 'ps' or 'dfs'.
        folder: where the benchmark's files are.

    Attributes:
        name: 'smm-bench-ps' or 'smm-bench-dfs'.
        domain: see `smm_domain`.
        objectives: the accuracy.
        n_objectives: 1.

    Raises:
        MissingExtra: LightGBM is not installed.
        DataError: the folder does not hold the benchmark.
    """

    def __init__(self, kind: SmmKind, folder: Path | str) -> None:
        if kind not in ("ps", "dfs"):
            raise ValueError(f"kind must be 'ps' or 'dfs', got {kind!r}")
        self.name = f"smm-bench-{kind}"
        self.domain = smm_domain(kind)
        self.objectives: tuple[Objective, ...] = (Objective("accuracy", bounds=(0.0, 1.0)),)
        self.n_objectives = 1
        folder = Path(folder)
        missing = [name for name in (TRAIN, TEST) if not (folder / name).is_file()]
        if missing:
            raise DataError(
                f"{folder}: no {' and no '.join(missing)}; expected the unzipped folder "
                f"'{self.name}' of https://github.com/shiralab/SMM-Bench"
            )
        self._train = _ensemble(folder / TRAIN, len(self.domain))
        self._test = _ensemble(folder / TEST, len(self.domain))

    def costs(self, genotype: Genotype) -> tuple[float, ...]:
        """Return minus the accuracy on training problems."""
        return (-self._accuracy(self._train, genotype),)

    def expected_costs(self, genotype: Genotype) -> tuple[float, ...]:
        """Return the same: there is no noise."""
        return self.costs(genotype)

    def holdout_costs(self, genotype: Genotype) -> tuple[float, ...]:
        """Return minus the accuracy on test problems."""
        return (-self._accuracy(self._test, genotype),)

    def completed(self, number: int, genotype: Genotype) -> Trial:
        """Evaluate a genotype."""
        costs = self.costs(genotype)
        return Trial(number, genotype, Completed({"accuracy": -costs[0]}), costs)

    def failed(self, number: int, genotype: Genotype, kind: FailureKind = "error") -> Trial:
        """Fail a genotype."""
        return Trial(number, genotype, Failed(kind, "failed on purpose"), None)

    def _accuracy(self, ensemble: Sequence[Any], genotype: Genotype) -> float:
        # choices '0', '1', '2' are the numbers that the ensembles split on
        row = np.array([[float(value) for value in genotype]])
        votes = [float(booster.predict(row, num_threads=1)[0]) for booster in ensemble]
        return float(np.clip(np.mean(votes), 0.0, 1.0))


def _ensemble(file: Path, n_features: int) -> Sequence[Any]:
    """Load the boosters of a file."""
    try:
        import lightgbm  # noqa: PLC0415  # an extra
    except ImportError:
        raise MissingExtra("SMM-Bench surrogates", "smm-bench") from None
    try:
        boosters: list[Any] = lightgbm.CVBooster(model_file=file).boosters
        found = {booster.num_feature() for booster in boosters}
    except (ValueError, KeyError, TypeError, AttributeError, lightgbm.basic.LightGBMError) as error:
        raise DataError(
            f"{file}: not an ensemble that lightgbm.CVBooster saved ({error}); download it again"
        ) from None
    if found != {n_features}:
        raise DataError(
            f"{file}: boosters of {sorted(found)} features, expected {n_features}; is it the file "
            "of the other benchmark?"
        )
    return boosters
