"""What is compared: each arm's search from scratch and from two specialists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from searches import Arm, MapElites, Population, Ratios, SeparableCmaEs
from specialists import Start

BUDGETS: Mapping[Start, int] = {"specialists": 10_000, "pairs": 10_000, "scratch": 50_000}
MARKS = (1_000, 2_000, 5_000, 10_000, 20_000, 30_000)

_PUBLISHED = {"preset": "released", "archive_size": 20}
_MUTATION = {"mutation_std": 0.01}
_GENETIC = {"alpha": 0.0, "matchmaker": False}
FOUND = Population(
    {"archive_size": 20, "alpha": 2.0, "capacity": "max", "mutation_std": 0.02},
    layout="unit",
    score="confidence",
    mutated_units=0.1,
)


@dataclass(frozen=True)
class Comparison:
    """One line of a table.

    Attributes:
        title: as the table has it.
        arm: how it searches.
        paper: test accuracy that the paper's figure shows, in per cent; None where it shows none.
        batch: individuals asked for at a time.
    """

    title: str
    arm: Arm
    paper: float | None = None
    batch: int = 1


def _published(start: Start, **options: object) -> Population:
    mutation = _MUTATION if start == "scratch" else {}
    return Population({**_PUBLISHED, **mutation, **options})


COMPARISONS: Mapping[Start, Mapping[str, Comparison]] = {
    "specialists": {
        "published": Comparison("M2N2, published settings", _published("specialists"), 68.3),
        "best": Comparison("M2N2, best settings found", FOUND),
        "ga": Comparison("genetic algorithm", _published("specialists", **_GENETIC), 52.0),
        "no_split": Comparison("no split point", _published("specialists", split=False), 57.8),
        "no_attraction": Comparison(
            "no attraction", _published("specialists", matchmaker=False), 66.2
        ),
        "map_elites": Comparison("MAP-Elites 10 x 10", MapElites(), 62.3),
        "slerp_ratios": Comparison("10,000 SLERP ratios", Ratios(), 57.8, 20),
        "linear_ratios": Comparison("10,000 linear ratios", Ratios("linear"), None, 20),
        "batch_20": Comparison(
            "published settings, 20 at a time", _published("specialists"), None, 20
        ),
    },
    "pairs": {
        "published": Comparison("M2N2, published settings", _published("pairs")),
        "best": Comparison("M2N2, best settings found", FOUND),
        "ga": Comparison("genetic algorithm", _published("pairs", **_GENETIC)),
        "no_split": Comparison("no split point", _published("pairs", split=False)),
        "no_attraction": Comparison("no attraction", _published("pairs", matchmaker=False)),
    },
    "scratch": {
        "published": Comparison("M2N2, published settings", _published("scratch"), 87.0),
        "best": Comparison("M2N2, best settings found", FOUND),
        "ga": Comparison("genetic algorithm", _published("scratch", **_GENETIC), 68.0),
        "no_split": Comparison("no split point", _published("scratch", split=False)),
        "no_attraction": Comparison("no attraction", _published("scratch", matchmaker=False)),
        "no_crossover": Comparison("no crossover", _published("scratch", crossover=False), 77.0),
        "ga_no_crossover": Comparison(
            "genetic algorithm, no crossover",
            _published("scratch", crossover=False, **_GENETIC),
            71.0,
        ),
        "map_elites": Comparison("MAP-Elites 10 x 10", MapElites(std=0.01), 60.0),
        "cma_es": Comparison("separable CMA-ES", SeparableCmaEs(), 86.0, 20),
    },
}
