"""What a run's results mean: models, space, objectives. Enough to read a run, not to search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evomerge.errors import RunDirectoryError
from evomerge.journal import Event, read_events
from evomerge.merging import open_checkpoint, tensor_shapes
from evomerge.recipe import ModelRef, ParameterCounts
from evomerge.spaces import Space, SpaceContext, declaration
from evomerge.study.config import StudyConfig
from evomerge.study.stages import stage_donors, stage_space
from evomerge.types import Objective


@dataclass(frozen=True)
class Outline:
    """A study as far as its journal decides it.

    Attributes:
        config: the study file.
        folder: where its relative paths start.
        context: models, layout, dtype and seed, as the space sees them.
        space: what is searched; with several stages, what the first one searches.
        objectives: names and goals, in order.
        later: the spaces of the stages after the first, built for stand-ins of what is going to
            be found; only their declarations count.
    """

    config: StudyConfig
    folder: Path
    context: SpaceContext
    space: Space
    objectives: tuple[Objective, ...]
    later: tuple[Space, ...] = field(default=(), kw_only=True)

    def record(self) -> dict[str, Any]:
        """Return the outline as JSON data, for the first event of a journal.

        A space file is recorded by its content, so that editing it later changes no run.
        """
        context = self.context
        opening: dict[str, Any] = {
            "study": self._recorded_study(),
            "folder": str(self.folder.resolve()),
            "models": {
                "base": context.base.model_dump(mode="json", exclude_none=True),
                "donors": {
                    name: ref.model_dump(mode="json", exclude_none=True)
                    for name, ref in context.donors.items()
                },
            },
            "dtype": context.dtype,
            "space": declaration(self.space),
            "genes": [gene.name for gene in self.space.domain.genes],
            "objectives": {objective.name: objective.goal for objective in self.objectives},
        }
        if self.config.stages is not None:
            opening["later_spaces"] = [declaration(space) for space in self.later]
        if context.depths:
            opening["depths"] = dict(context.depths)
        if any(_limits_parameters(space) for space in (self.space, *self.later)):
            models = {"base": context.base, **context.donors}
            opening["parameters"] = {
                name: asdict(counts)
                for name, ref in models.items()
                if (counts := context.counts(ref)) is not None
            }
        return opening

    def _recorded_study(self) -> dict[str, Any]:
        """Return the study file without what it does not use, as studies were before that was."""
        several = self.config.stages is not None
        # what a study without stages records is what it recorded before there were any
        study = self.config.model_dump(
            mode="json", exclude={"space", "search"} if several else {"stages"}
        )
        if self.config.picked_on == "search":  # nor what one without validation recorded
            for part in (study, *(study.get("stages") or ()), *study["objectives"].values()):
                part.pop("batches", None)
                part.pop("validation", None)
        if self.config.cache is None:
            del study["cache"]
        if not self.config.models.trust_remote_code:
            del study["models"]["trust_remote_code"]
        if not self.config.callbacks:
            del study["callbacks"]
        if self.config.notify is None:
            del study["notify"]
        else:
            study["notify"]["url"] = self.config.notify.redacted
        for key in self.config.workers.unused:
            del study["workers"][key]
        if self.config.rungs is None:
            del study["rungs"]
            for part in study["objectives"].values():
                del part["proxy"]
        return study


def _limits_parameters(space: Space) -> bool:
    """Say whether what a genotype of a space means depends on how much the models store."""
    content = declaration(space) or {}
    return "max_parameters" in content.get("layers", content).get("limits", {})


def recorded_config(opening: Mapping[str, Any]) -> StudyConfig:
    """Return the study file of a run, its spaces as they were when the run was started."""
    study = dict(opening["study"])
    if "later_spaces" not in opening:
        if opening["space"] is not None:
            study["space"] = opening["space"]
        return StudyConfig.model_validate(study)
    contents = (opening["space"], *opening["later_spaces"])
    study["stages"] = [
        stage if content is None else {**stage, "space": content}
        for stage, content in zip(study["stages"], contents, strict=True)
    ]
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
    opened = open_checkpoint(base, allow_pickle=config.models.allow_pickle)
    depths = opening.get("depths", {})
    models = {"base": base, **donors}
    counts = {
        models[name]: ParameterCounts(tuple(found["layers"]), found["outside"])
        for name, found in opening.get("parameters", {}).items()
    }
    context = SpaceContext(
        base,
        donors,
        opened.layout,
        opening["dtype"],
        config.seed,
        depths,
        counts,
        tensor_shapes(opened),
    )
    first = config.plan[0]
    space = stage_space(first.space, context, stage_donors(context, first, {}), folder)
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
