"""The course of a run through its stages: what each starts from, and which trial is whose."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from evomerge.errors import EvomergeError
from evomerge.journal import Event
from evomerge.recipe import Node, Recipe
from evomerge.spaces import Space
from evomerge.spaces.populations import Bred, Descends
from evomerge.study.config import PickConfig, StageConfig
from evomerge.study.outline import Outline
from evomerge.study.picks import Combine, choose
from evomerge.study.stages import stage_donors, stage_space
from evomerge.types import Genotype, Trial

_NODE: TypeAdapter[Node] = TypeAdapter(Node)


@dataclass(frozen=True, slots=True)
class Part:
    """A stage that was begun; of a stage that continues several front members, one of its runs.

    Attributes:
        stage: what the study file says.
        index: position of the stage in the study.
        number: 0, 1, ... among the parts of its stage.
        parts: how many parts its stage has.
        trials: candidates it may ask for; None when only time limits it.
        first: number of its first trial.
        space: what it searches.
        chosen: trials it continues, by the name of the donor they became.
        descent: the individuals of its population, where its space is one.
    """

    stage: StageConfig
    index: int
    number: int
    parts: int
    trials: int | None
    first: int
    space: Space
    chosen: Mapping[str, int]
    descent: Descends | None = None

    @property
    def label(self) -> str:
        """What users call it; '' in a study without stages."""
        name = self.stage.name
        return f"{name} {self.number + 1}/{self.parts}" if self.parts > 1 else name


class Course:
    """The parts of a run that were begun so far, and what the next one starts from.

    A study without stages has one part, which no event announces.

    Args:
        study: the study.
    """

    def __init__(self, study: Outline) -> None:
        self._study = study
        self._plan = study.config.plan
        self.parts: list[Part] = []
        if study.config.stages is None:
            whole = self._plan[0]
            descent = _descent(study.space)
            self.parts.append(Part(whole, 0, 0, 1, whole.trials, 0, study.space, {}, descent))

    @classmethod
    def of(cls, study: Outline, events: Iterable[Event]) -> Course:
        """Read the course of a run from its journal."""
        course = cls(study)
        asked = 0
        for event in events:
            if event.kind == "asked" and event.trial is not None:
                asked += 1
                course.note(event.trial, tuple(event.payload["genotype"]))
            elif event.kind == "staged":
                course.begin(event.payload, asked)
        return course

    @property
    def is_last(self) -> bool:
        """Say whether no part follows the present one."""
        return bool(self.parts) and self._following() is None

    def part_of(self, trial: int) -> Part:
        """Return the part a trial belongs to."""
        firsts = [part.first for part in self.parts]
        return self.parts[bisect_right(firsts, trial) - 1]

    def stage_of(self, trial: int) -> str | None:
        """Return the name of a trial's stage; None in a study without stages."""
        return self.part_of(trial).stage.name or None

    def note(self, trial: int, genotype: Genotype) -> None:
        """Note a trial that was asked for: in a population later ones may descend from it.

        Raises:
            InvalidGenotype: it descends from a trial that does not come before it.
        """
        descent = self.part_of(trial).descent
        if descent is not None:
            descent.add(trial, genotype)

    def decode(self, trial: int, genotype: Genotype) -> Recipe:
        """Turn the genotype of a trial that was noted into its recipe.

        Raises:
            InvalidGenotype: the genotype means no recipe.
        """
        part = self.part_of(trial)
        return part.descent.recipe(trial) if part.descent else part.space.decode(genotype)

    def ancestry(self, trial: int) -> Recipe | None:
        """Return the recipe of a population's individual with its whole lineage; None elsewhere.

        It rebuilds the same weights as the recipe of `decode`, whose lineage is in normal form.
        """
        descent = self.part_of(trial).descent
        return None if descent is None else descent.full_recipe(trial)

    def propose(
        self, trials: Sequence[Trial], combine: Mapping[int, Combine]
    ) -> dict[str, Any] | None:
        """Return the content of the event that begins the next part; None after the last.

        A pure function of the finished trials, so that a replay comes to the same choice.

        Args:
            trials: all finished trials; the present part's are complete.
            combine: position of a stage to the scalar cost it minimised, where it did.

        Raises:
            EvomergeError: a stage that is taken from has no completed trial.
        """
        following = self._following()
        if following is None:
            return None
        index, number = following
        stage = self._plan[index]

        def found(pick: PickConfig) -> list[Trial]:
            return self._found(stage, pick, trials, combine)

        taken = {name: found(pick) for name, pick in stage.take.items()}
        through = found(stage.through) if stage.through else None
        counts = [len(members) for members in (*taken.values(), through or ())]
        parts = max([1, *counts])  # only a front is more than one
        chosen = {name: _member(members, number) for name, members in taken.items()}
        recipes = {name: self._recipe(trial) for name, trial in chosen.items()}
        payload: dict[str, Any] = {
            "stage": stage.name,
            "part": number,
            "parts": parts,
            "trials": _share(stage.trials or 0, parts, number),
            "chosen": {name: trial.number for name, trial in chosen.items()},
            "donors": {
                name: node.model_dump(mode="json", exclude_defaults=True)
                for name, node in stage_donors(self._study.context, stage, recipes).items()
            },
        }
        if stage.seeds is not None:
            payload["seeds"] = {
                f"trial-{trial.number}": self._recipe(trial).model_dump(
                    mode="json", exclude_defaults=True
                )
                for trial in found(stage.seeds)
            }
        if through is not None:
            trial = _member(through, number)
            recipe = self._recipe(trial)
            payload["through"] = {
                "trial": trial.number,
                "recipe": recipe.model_dump(mode="json", exclude_defaults=True),
                "start": self._start(index, trial, payload, trials),
            }
        return payload

    def begin(self, payload: Mapping[str, Any], first: int) -> Part:
        """Enter the part that an event announces; returns it.

        Raises:
            SpaceError: its space does not fit what was found.
        """
        names = [stage.name for stage in self._plan]
        index = names.index(payload["stage"])
        space = self._space(index, payload)
        part = Part(
            self._plan[index],
            index,
            payload["part"],
            payload["parts"],
            payload["trials"],
            first,
            space,
            payload["chosen"],
            _descent(space),
        )
        self.parts.append(part)
        return part

    def _following(self) -> tuple[int, int] | None:
        """Return stage and number of the next part."""
        if not self.parts:
            return 0, 0
        last = self.parts[-1]
        if last.number + 1 < last.parts:
            return last.index, last.number + 1
        return (last.index + 1, 0) if last.index + 1 < len(self._plan) else None

    def _found(
        self,
        stage: StageConfig,
        pick: PickConfig,
        trials: Sequence[Trial],
        combine: Mapping[int, Combine],
    ) -> list[Trial]:
        index = [one.name for one in self._plan].index(pick.stage)
        own = [trial for trial in trials if self.part_of(trial.number).index == index]
        members = choose(own, pick, combine.get(index))
        if not members:
            raise EvomergeError(
                f"stage '{pick.stage}' completed no trial, so stage '{stage.name}' has nothing to "
                "take from it; 'evomerge status' says why trials failed"
            )
        return members

    def _recipe(self, trial: Trial) -> Recipe:
        return self.decode(trial.number, trial.genotype)

    def _space(self, index: int, payload: Mapping[str, Any]) -> Space:
        donors = {name: _NODE.validate_python(node) for name, node in payload["donors"].items()}
        through = payload.get("through") or {}
        recipe, start = through.get("recipe"), through.get("start")
        return stage_space(
            self._plan[index].space,
            self._study.context,
            donors,
            self._study.folder,
            None if recipe is None else Recipe.model_validate(recipe),
            None if start is None else tuple(start),
            {
                name: Recipe.model_validate(content)
                for name, content in payload.get("seeds", {}).items()
            },
        )

    def _start(
        self, index: int, path: Trial, payload: Mapping[str, Any], trials: Sequence[Trial]
    ) -> list[float | int | str] | None:
        """Return the coefficients a path was found with, where the new stage has the same genes."""
        found_in = self.part_of(path.number)
        models = self._recipe(path).models or ()
        genes = self._space(index, payload).domain.genes
        for number in found_in.chosen.values():
            same = self.part_of(number).space.domain.genes == genes
            trial = next(one for one in trials if one.number == number)
            if same and models and models[0].model == self._recipe(trial):
                return list(trial.genotype)
        return None


def _descent(space: Space) -> Descends | None:
    return space.descent() if isinstance(space, Bred) else None


def _member(members: Sequence[Trial], number: int) -> Trial:
    return members[number] if len(members) > 1 else members[0]


def _share(trials: int, parts: int, number: int) -> int:
    """Divide trials evenly; the first parts get what is left over."""
    return trials // parts + (number < trials % parts)
