"""The donors of a linear space, as steps from its base."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evomerge.errors import ConfigError
from evomerge.spaces.domain import Domain

Floats = npt.NDArray[np.float64]

BASE, UNIFORM = "base", "uniform"


def directions(domain: Domain) -> tuple[tuple[str, ...], Floats, Floats]:
    """Return the donors of a linear domain, its base, and the step to each donor.

    Returns:
        Names; genes of the base, (n_genes,); donor minus base, (n_donors, n_genes).

    Raises:
        ConfigError: the space is not linear, or the base or donors are no known points of it.
    """
    seeds = {seed.name: seed.genotype for seed in domain.seeds}
    if not domain.linear:
        raise ConfigError(
            [
                "optimizer: 'nested_map' builds merges of merges, exact only where merging "
                "is linear; use a task_arithmetic space without normalize, or another optimizer"
            ]
        )
    names = tuple(seeds)
    donors = names[1 : names.index(UNIFORM)] if UNIFORM in names else names[1:]
    if names[:1] != (BASE,) or len(donors) < 2:
        raise ConfigError(
            [
                "optimizer: 'nested_map' starts from the base and two or more donors as they are; "
                "let the weights of the space reach 0 and 1"
            ]
        )
    base = np.array(seeds[BASE], dtype=np.float64)
    steps = np.array([np.array(seeds[name], dtype=np.float64) - base for name in donors])
    return donors, base, steps
