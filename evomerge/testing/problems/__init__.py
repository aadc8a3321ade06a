"""Search problems over a domain instead of over models.

- `analytic`: in closed form, with known optima; for tests of optimizers.
- `merges`: surrogates of real merges of the shipped zoo, with their reference fronts.
- `smm_bench`: the public surrogates of merges of 7B models, for who has their files.
"""

from evomerge.testing.problems.analytic import (
    HIGH,
    LOW,
    N_ITEMS,
    ZDT1_HYPERVOLUME,
    ZDT1_REFERENCE,
    Problem,
    conditional_domain,
    constant,
    continuous_domain,
    ellipsoid,
    integer_domain,
    mixed_domain,
    sequence_domain,
    sphere,
    switches,
    zdt1,
)
from evomerge.testing.problems.merges import MERGE_PROBLEMS, MergeProblem, merge_problem
from evomerge.testing.problems.smm_bench import SmmBench, smm_domain

__all__ = [
    "HIGH",
    "LOW",
    "MERGE_PROBLEMS",
    "N_ITEMS",
    "ZDT1_HYPERVOLUME",
    "ZDT1_REFERENCE",
    "MergeProblem",
    "Problem",
    "SmmBench",
    "conditional_domain",
    "constant",
    "continuous_domain",
    "ellipsoid",
    "integer_domain",
    "merge_problem",
    "mixed_domain",
    "sequence_domain",
    "smm_domain",
    "sphere",
    "switches",
    "zdt1",
]
