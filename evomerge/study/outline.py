"""What a run's results mean: models, space, objectives. Enough to read a run, not to search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge.errors import RunDirectoryError
from evomerge.journal import Event, read_events
from evomerge.merging import open_checkpoint
from evomerge.recipe import ModelRef
from evomerge.spaces import DeclaredSpace, Space, SpaceContext, load_space
from evomerge.study.config import StudyConfig
from evomerge.types import Objective


@dataclass(frozen=True)
class Outline:
    """A study as far as its journal decides it.

    Attributes:
        config: the study file.
        folder: where its relative paths start.
        context: models, layout, dtype and seed, as the space sees them.
        space: what is searched.
        objectives: names and goals, in order.
    """

    config: StudyConfig
    folder: Path
    context: SpaceContext
    space: Space
    objectives: tuple[Objective, ...]

    def record(self) -> dict[str, Any]:
        """Return the outline as JSON data, for the first event of a journal.

        A space file is recorded by its content, so that editing it later changes no run.
        """
        space = self.space
        return {
            "study": self.config.model_dump(mode="json"),
            "folder": str(self.folder.resolve()),
            "models": {
                "base": self.context.base.model_dump(mode="json", exclude_none=True),
                "donors": {
                    name: ref.model_dump(mode="json", exclude_none=True)
                    for name, ref in self.context.donors.items()
                },
            },
            "dtype": self.context.dtype,
            "space": space.spec.model_dump(mode="json", exclude_defaults=True)
            if isinstance(space, DeclaredSpace)
            else None,
            "genes": [gene.name for gene in space.domain.genes],
            "objectives": {objective.name: objective.goal for objective in self.objectives},
        }


def recorded_config(opening: Mapping[str, Any]) -> StudyConfig:
    """Return the study file of a run, its space as it was when the run was started."""
    study = dict(opening["study"])
    if opening["space"] is not None:
        study["space"] = opening["space"]
    return StudyConfig.model_validate(study)


def read_outline(opening: Mapping[str, Any]) -> Outline:
    """Rebuild an outline from the payload of a journal's first event.

    Only the headers of the base are read: no weights, no items, no fitness.

    Raises:
        CheckpointError: the base is not where it was.
    """
    config = recorded_config(opening)
    folder = Path(opening["folder"])
    base = ModelRef.model_validate(opening["models"]["base"])
    donors = {
        name: ModelRef.model_validate(ref) for name, ref in opening["models"]["donors"].items()
    }
    layout = open_checkpoint(base, allow_pickle=config.models.allow_pickle).layout
    context = SpaceContext(base, donors, layout, opening["dtype"], config.seed)
    space = load_space(config.space, context, folder=folder)
    objectives = tuple(Objective(name, goal) for name, goal in opening["objectives"].items())
    return Outline(config, folder, context, space, objectives)


def open_study(out: Path) -> tuple[Outline, list[Event]]:
    """Read a run without touching it: its outline and its events.

    Raises:
        UserError: there is no run, or its base cannot be read any more.
    """
    events = read_events(out)
    return read_outline(first_event(events, out).payload), events


def first_event(events: list[Event], out: Path) -> Event:
    """Return the event that opened a run.

    Raises:
        RunDirectoryError: the run never started.
    """
    if not events:
        raise RunDirectoryError(f"{out} holds a run that never started; use 'evomerge run'")
    return events[0]
