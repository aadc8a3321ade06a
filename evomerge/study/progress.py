"""What a run tells whoever watches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from evomerge.study.budgets.gauges import Gauge


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a run.

    Attributes:
        phase: searching for recipes, or scoring the front and the baselines.
        done: trials finished in this stage (or evaluations of the scoring phase).
        total: how many there will be; None when something else limits the search.
        failed: failed trials so far.
        best: objective name to the best metric so far.
        front: number of non-dominated trials so far.
        hypervolume: of the front so far, anchored at the base and the best donors; None until
            these are known.
        replayed: the step repeats what the journal holds.
        stage: which stage it belongs to; '' in a study without stages, and when scoring.
        note: what the optimizer or the workers have to say; the step is about nothing else then.
        finished: trials finished in all stages.
        gauges: how much of each budget of the search is used.
    """

    phase: Literal["search", "score"]
    done: int
    total: int | None
    failed: int = 0
    best: Mapping[str, float] = field(default_factory=dict)
    front: int = 0
    hypervolume: float | None = None
    replayed: bool = False
    stage: str = ""
    note: str = ""
    finished: int = 0
    gauges: tuple[Gauge, ...] = ()


Observer: TypeAlias = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Watch nothing."""
