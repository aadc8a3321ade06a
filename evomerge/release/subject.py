"""What is taken home: one trial of a run, with all that its journal knows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evomerge.errors import RunDirectoryError, UserError
from evomerge.journal import Event
from evomerge.merging.checkpoint import is_hub_id
from evomerge.recipe import ModelRef, Recipe, fingerprint, model_refs, rewritten
from evomerge.report import Analysis, RowAnalysis, analyse, collect_front
from evomerge.report.populations.lineage_tree import FamilyTree, family_tree
from evomerge.report.populations.population import stretches
from evomerge.study import Outline, open_study
from evomerge.study.course import Course


@dataclass(frozen=True, slots=True)
class Subject:
    """A trial and what is known of it.

    Attributes:
        run: its run directory.
        study: the study that found it.
        trial: its number.
        recipe: rebuilds the model.
        ancestry: of a population's individual, the recipe with its whole lineage.
        stage: that found it; None in a study without stages.
        models: the recipe's inputs by the study's names, the base first.
        analysis: the front of the run; None before a trial is completed.
        row: its row, which has hold-out scores if any; None where it is not on the front.
        tree: the population it belongs to; None elsewhere.
        versions: of the libraries the search ran with.
    """

    run: Path
    study: Outline
    trial: int
    recipe: Recipe
    ancestry: Recipe | None
    stage: str | None
    models: Mapping[str, ModelRef]
    analysis: Analysis | None
    row: RowAnalysis | None
    tree: FamilyTree | None
    versions: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """Identifies the recipe."""
        return fingerprint(self.recipe)

    @property
    def has_holdout(self) -> bool:
        """Whether it was scored on hold-out items."""
        return self.row is not None and self.row.holdout is not None

    @property
    def named_recipe(self) -> Recipe:
        """The recipe with the study's names in place of folders of this machine."""
        names = {ref: name for name, ref in self.models.items()}

        def change(ref: ModelRef) -> ModelRef:
            base = self.study.context.base.path
            path = "base" if ref.path == base and ref.adapter else names.get(ref, ref.path)
            return ref.model_copy(
                update={
                    "path": ref.path if is_hub_id(ref.path) else path,
                    "adapter": ref.adapter
                    if ref.adapter is None or is_hub_id(ref.adapter)
                    else names.get(ref, ref.adapter),
                }
            )

        return rewritten(self.recipe, change)


def read_subject(run: Path, number: int) -> Subject:
    """Read a trial of a run, finished or not.

    Raises:
        UserError: there is no such run or trial, or models or journal cannot be read.
    """
    study, events = open_study(run)
    asked = {event.trial: event.payload for event in events if event.kind == "asked"}
    if number not in asked:
        raise UserError(f"{run}: there is no trial {number}; it has {len(asked)} trials, from 0")
    course = Course.of(study, events)
    recipe = course.decode(number, tuple(asked[number]["genotype"]))
    analysis = _analysis(run)
    rows = () if analysis is None else analysis.rows
    return Subject(
        run=run,
        study=study,
        trial=number,
        recipe=recipe,
        ancestry=course.ancestry(number),
        stage=course.stage_of(number),
        models=_models(study, recipe),
        analysis=analysis,
        row=next((row for row in rows if row.row.trial == number), None),
        tree=_tree(events, number),
        versions=events[0].payload.get("versions", {}),
    )


def _analysis(run: Path) -> Analysis | None:
    try:
        return analyse(collect_front(run))
    except RunDirectoryError:  # no trial is completed yet
        return None


def _models(study: Outline, recipe: Recipe) -> dict[str, ModelRef]:
    """Name the inputs of a recipe as the study does, each once."""
    context = study.context
    used = dict.fromkeys(model_refs(recipe))
    under = any(ref.adapter and ref.path == context.base.path for ref in used)
    names: dict[str, ModelRef] = {"base": context.base} if context.base in used or under else {}
    for name, node in context.donors.items():
        if isinstance(node, ModelRef) and node in used:
            names[name] = node
    known = set(names.values())
    return {**names, **{str(ref): ref for ref in used if ref not in known}}


def _tree(events: Sequence[Event], number: int) -> FamilyTree | None:
    for stretch in stretches(events):
        if stretch.first <= number < stretch.first + stretch.n_asked:
            return family_tree(events, stretch, (number,))
    return None
