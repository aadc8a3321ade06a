"""What both Gaussian-process optimizers can be told about model and acquisition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import ConfigError, nearest
from evomerge.optimizers.arguments import by_name, choice, integer, not_negative
from evomerge.spaces.domain import Domain

Floats = NDArray[np.float64]
LengthScales = Literal["ard", "importance", "saas"]

ITERATIONS = 40
"""Of L-BFGS-B on the acquisition function; most climbs end before."""

_SAMPLES = {3: 32, 4: 16}  # boxes of every sampled front: fewer where a front has more of them
_BASELINE = {4: 25}
_LEVELS = ((0.15, 0.5), (0.40, 1.0), (0.70, 2.0), (1.0, 5.0))
"""AP-BMM: up to this share of the genes, from the most important on, this length scale."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a front is modelled and searched.

    Attributes:
        length_scales: what is assumed of them, see `models`.
        scales: by what each gene's prior is multiplied, (n_genes,); None without importances.
        max_points: evaluated points that a model is fitted to, at most.
        samples: of the posterior, in an acquisition function.
        baseline: evaluated points in its baseline, at most.
        raw_samples: points scored before the best are climbed.
        restarts: how many are climbed.
        iterations: of a climb.
    """

    length_scales: LengthScales
    scales: Floats | None
    max_points: int
    samples: int
    baseline: int
    raw_samples: int
    restarts: int
    iterations: int = ITERATIONS


def settings_of(
    domain: Domain,
    n_objectives: int,
    *,
    length_scales: str,
    importance: Mapping[str, float] | None,
    max_points: int,
    samples: int | None,
    raw_samples: int,
    restarts: int,
) -> Settings:
    """Check options and fill in what depends on the domain and the objectives.

    Raises:
        ConfigError: an option is out of range, or an importance fits no gene.
    """
    kind = choice("length_scales", length_scales, ("auto", "ard", "importance", "saas"))
    scales = None
    if importance is not None:
        if kind not in ("auto", "importance"):
            raise ConfigError(
                [f"importance: goes with length_scales: importance, not with {kind}; drop one"]
            )
        names = [gene.name for gene in domain.genes]
        scales = importance_scales(importances(names, importance))
        kind = "importance"
    elif kind == "importance":
        raise ConfigError(
            [
                "importance: length_scales: importance needs one for each gene by name or prefix, "
                f"e.g. importance: {{'{domain.genes[0].name}': 1.0}}"
            ]
        )
    if kind == "auto":
        kind = "ard"
    if samples is None:
        samples = _SAMPLES.get(n_objectives, 64)
    raw_samples = integer("raw_samples", raw_samples, 2)
    restarts = integer("restarts", restarts, 1)
    if restarts > raw_samples:
        raise ConfigError(
            [f"restarts: expected at most raw_samples ({raw_samples}), got {restarts}"]
        )
    return Settings(
        length_scales=kind,  # type: ignore[arg-type]  # `choice` has checked the word
        scales=scales,
        max_points=integer("max_points", max_points, 10),
        samples=integer("samples", samples, 2),
        baseline=_BASELINE.get(n_objectives, 100),
        raw_samples=raw_samples,
        restarts=restarts,
    )


def importances(names: Sequence[str], given: Mapping[str, float]) -> Floats:
    """Return the importance of each gene from a mapping by name or prefix, (n_genes,).

    The longest key that a gene's name starts with counts; a gene that no key fits has importance 0.

    Args:
        names: of the genes.
        given: name or prefix to importance.

    Raises:
        ConfigError: a key fits no gene, or a value is negative or no number.
    """
    problems = []
    for key, value in by_name("importance", given, "gene: importance").items():
        if not any(name.startswith(key) for name in names):
            problems.append(f"importance: no gene starts with '{key}'; {nearest(key, names)}")
        else:
            not_negative(f"importance.{key}", value)
    if problems:
        raise ConfigError(problems)
    result = np.zeros(len(names))
    for index, name in enumerate(names):
        fitting = [key for key in given if name.startswith(key)]
        if fitting:
            result[index] = given[max(fitting, key=len)]
    return result


def importance_scales(importance: Floats) -> Floats:
    """Return by what the prior of each gene's length scale is multiplied, (n_genes,).

    AP-BMM's length scales by rank (arXiv 2512.09972): 0.5 for the most important 15 % of the genes,
    1 up to 40 %, 2 up to 70 %, 5 for the rest. Genes that tie share the middle of their ranks. The
    default prior's mode is near 1 for 30 genes, so that these are length scales there.

    Args:
        importance: larger is more important, (n_genes,).
    """
    greater = (importance[:, None] < importance[None, :]).sum(axis=1)
    equal = (importance[:, None] == importance[None, :]).sum(axis=1)
    share = (greater + (equal - 1) / 2) / len(importance)
    return np.array([next(scale for below, scale in _LEVELS if one < below) for one in share])
