"""What the parts of a study file say about one another, checked without reading a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from evomerge.errors import nearest
from evomerge.study.budgets.config import KINDS

if TYPE_CHECKING:
    from evomerge.study.config import PickConfig, SearchConfig, StageConfig, StudyConfig

Problem: TypeAlias = tuple[tuple[str | int, ...], str]
"""Where in the study file, and what is wrong there."""

RESERVED = ("base", "uniform")


def study_problems(study: StudyConfig) -> list[Problem]:
    """List what does not fit together."""
    problems = [*_limits(study), *_batches(study), *_rungs(study)]
    for position, stage in enumerate(study.stages or ()):
        here = ("stages", position)
        problems += [((*here, *path), message) for path, message in _stage(study, position)]
        problems += _scalarize(study, stage.search, (*here, "search"))
    return problems + _scalarize(study, study.search, ("search",))


def _limits(study: StudyConfig) -> Iterator[Problem]:
    if study.stages is None:
        if study.space is None:
            yield (), "give 'space', what is searched, or 'stages' of several searches"
        if not study.budget.kinds:
            kinds = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"
            if "budget" in study.model_fields_set:
                yield ("budget",), f"give {kinds}"
            else:
                yield (), f"give 'budget', with {kinds}"
        return
    if not study.stages:
        yield ("stages",), "give at least one stage, or 'space' and 'budget' instead"
    given = study.model_fields_set - (set() if study.batches else {"batches"})
    for key in ("space", "search", "batches"):
        if key in given:
            yield (key,), f"each stage has its own {key}; move it into the stages"
    if study.budget.trials is not None:
        yield ("budget", "trials"), "with stages, trials belong to each stage; move them there"


def _batches(study: StudyConfig) -> Iterator[Problem]:
    wheres: list[tuple[str | int, ...]] = [
        ("stages", position, "batches")
        for position, stage in enumerate(study.stages or ())
        if stage.batches is not None
    ]
    if study.stages is None and study.batches is not None:
        wheres.append(("batches",))
    reading = [name for name, part in study.objectives.items() if part.search is not None]
    if wheres and not reading:
        yield wheres[0], "no objective has 'search' items to make batches of; remove it"
    why = "batches need items on which their best compare" if wheres else ""
    if not why and study.picked_on == "validation":
        why = "the front is picked on validation items, of every objective"
    for name, part in study.objectives.items():
        if part.validation is None:
            if why and part.search is not None:
                yield (
                    ("objectives", name),
                    f"{why}; add 'validation: 200' for the last 200 search items, or a source",
                )
        elif part.search is None:
            yield ("objectives", name, "validation"), "there are no 'search' items; remove it"


def _rungs(study: StudyConfig) -> Iterator[Problem]:
    if study.rungs is None:
        for name, part in study.objectives.items():
            if part.proxy is not None:
                yield (
                    ("objectives", name, "proxy"),
                    "a proxy comes before the first of 'rungs'; add rungs, or remove it",
                )
    elif any(stage.batches is not None for stage in study.plan):
        yield ("rungs",), "batches score candidates on parts of the items too; remove one of both"


def _stage(study: StudyConfig, position: int) -> Iterator[Problem]:
    stages = study.stages or ()
    stage = stages[position]
    if stage.name in [one.name for one in stages[:position]]:
        yield ("name",), f"another stage is named '{stage.name}' already"
    if stage.trials is None:
        yield (), f"stage '{stage.name}': give trials, after which the next stage begins"
    for name in stage.take:
        if name in study.models.donors:
            yield ("take", name), f"the study has a donor '{name}' already; use another name"
        elif name in RESERVED:
            yield ("take", name), f"the name '{name}' is evomerge's own; use another"
    for path, pick in _picks(stage):
        yield from ((path, message) for message in _pick(study, position, pick))
    if stage.seeds is not None and stage.through is not None:
        yield (
            ("seeds",),
            "a search through a path starts from what the path was found with; remove it",
        )
    several = [path for path, pick in _picks(stage) if pick.pick == "front" and path != ("seeds",)]
    if len(several) > 1:
        yield several[1], "a stage follows the front of one stage; use pick: best or knee here"
    yield from _donors(study, stage)


def _picks(stage: StageConfig) -> Iterator[tuple[tuple[str | int, ...], PickConfig]]:
    yield from ((("take", name), pick) for name, pick in stage.take.items())
    if stage.seeds is not None:
        yield ("seeds",), stage.seeds
    if stage.through is not None:
        yield ("through",), stage.through


def _pick(study: StudyConfig, position: int, pick: PickConfig) -> Iterator[str]:
    stages = study.stages or ()
    names = [one.name for one in stages]
    if pick.stage not in names:
        yield f"there is no stage '{pick.stage}'; {nearest(pick.stage, names[:position])}"
    elif pick.stage not in names[:position]:
        yield f"stage '{pick.stage}' does not come before this one; put it first"
    if pick.pick != "best" and len(study.objectives) == 1:
        yield f"pick '{pick.pick}' needs several objectives; with one, use pick: best"
    trials = stages[position].trials
    if pick.count is not None and trials is not None and pick.count > trials:
        shared = "are evaluated in" if pick is stages[position].seeds else "share"
        yield f"{pick.count} members {shared} {trials} trials; give each at least one"


def _donors(study: StudyConfig, stage: StageConfig) -> Iterator[Problem]:
    if stage.donors is None:
        return
    known = (*stage.take, *study.models.donors)
    if not stage.donors:
        yield ("donors",), f"name at least one donor; valid: {', '.join(known)}"
    for index, name in enumerate(stage.donors):
        if name not in known:
            yield ("donors", index), f"there is no donor '{name}'; {nearest(name, known)}"
        if name in stage.donors[:index]:
            yield ("donors", index), f"'{name}' stands here twice; keep one"
    for name in stage.take:
        if name not in stage.donors:
            yield ("take", name), f"'{name}' is taken and not among the donors; add it to donors"


def _scalarize(
    study: StudyConfig, search: SearchConfig, path: tuple[str | int, ...]
) -> list[Problem]:
    if search.scalarize is None:
        return []
    return [
        (
            (*path, "scalarize", key),
            f"give one for each objective: {', '.join(study.objectives)}",
        )
        for key in ("weights", "anchors")
        if (names := getattr(search.scalarize, key)) is not None
        and set(names) != set(study.objectives)
    ]
