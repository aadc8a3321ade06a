"""Every stage of a study tried before its first trial, later ones on stand-ins.

What an earlier stage is going to find is not known yet; the recipe its search starts from has the
same shape and stands in for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from evomerge.errors import UserError
from evomerge.merging import MergeEngine
from evomerge.optimizers import Optimizer
from evomerge.recipe import Recipe
from evomerge.spaces import Space, SpaceContext
from evomerge.study.config import SearchConfig, StageConfig, StudyConfig
from evomerge.study.problems import Problems
from evomerge.study.stages import stage_context, stage_donors, stage_space, through_path


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A stage that was tried.

    Attributes:
        space: as declared, without the path it may go through.
        recipe: what its search starts from.
    """

    space: Space
    recipe: Recipe


class Rehearsal:
    """Builds each stage's space, first recipe and optimizer.

    Args:
        config: the study.
        folder: where its relative paths start.
        context: its models.
        optimizer: builds the optimizer of a stage.
        problems: collects what is wrong.
    """

    def __init__(
        self,
        config: StudyConfig,
        folder: Path,
        context: SpaceContext,
        optimizer: Callable[[SearchConfig, Space], Optimizer],
        problems: Problems,
    ) -> None:
        self._config = config
        self._folder = folder
        self._context = context
        self._optimizer = optimizer
        self._problems = problems

    def run(self, engine: MergeEngine) -> list[Rehearsed]:
        """Try every stage; one that depends on a stage that is wrong is left out."""
        done: dict[str, Rehearsed] = {}
        for position, stage in enumerate(self._config.plan):
            if any(pick.stage not in done for pick in stage.picks):
                continue
            where = f"stages[{position}]." if stage.name else ""
            recipes = {pick.stage: done[pick.stage].recipe for pick in stage.picks}
            tried = self._try(stage, recipes, where, engine)
            if tried is not None:
                done[stage.name] = tried
        return list(done.values())

    def _try(
        self, stage: StageConfig, found: Mapping[str, Recipe], where: str, engine: MergeEngine
    ) -> Rehearsed | None:
        attempt = self._problems.attempt
        taken = {name: found[pick.stage] for name, pick in stage.take.items()}
        through = found[stage.through.stage] if stage.through else None
        if not self._fits(stage, taken, through, where):
            return None
        context = stage_context(self._context, stage_donors(self._context, stage, taken))
        space = attempt(f"{where}space", lambda: stage_space(stage.space, context, self._folder))
        if space is None:
            return None
        whole: Space = space
        if through is not None:
            passed = attempt(f"{where}through", lambda: through_path(space, through))
            if passed is None:
                return None
            whole = passed
        recipe = whole.decode(whole.domain.initial)
        plan = attempt(f"{where}space", lambda: engine.check(recipe))
        optimizer = attempt(f"{where}search", lambda: self._optimizer(stage.search, whole))
        if stage.batches is not None and optimizer is not None:
            self._check_batches(stage.search.optimizer, optimizer, where)
        return None if plan is None else Rehearsed(space, recipe)

    def _check_batches(self, name: str, optimizer: Optimizer, where: str) -> None:
        """Refuse an optimizer that would compare scores on different items."""
        if optimizer.needs.compares == "all":
            self._problems.lines.append(
                f"{where}batches: optimizer '{name}' compares candidates of different batches, "
                "whose scores are on different items; use cat_cma, cma_wm or cma_es, which compare "
                "within a generation (or random), or remove batches"
            )

    def _fits(
        self,
        stage: StageConfig,
        taken: Mapping[str, Recipe],
        through: Recipe | None,
        where: str,
    ) -> bool:
        """Say whether the stage can use what it takes; note it where it cannot."""
        if stage.through is not None and through is not None and through.path is None:
            self._problems.lines.append(
                f"{where}through: stage '{stage.through.stage}' finds merges, not layer paths; "
                "'take' it as a donor instead"
            )
            return False
        paths = [name for name, recipe in taken.items() if recipe.path is not None]
        if not paths or not self._mixes_weights(stage, taken):
            return True
        found_by = stage.take[paths[0]].stage
        self._problems.lines.append(
            f"{where}take.{paths[0]}: stage '{found_by}' finds layer paths, whose weights cannot "
            f"be mixed with others; to search coefficients along the path write "
            f"'through: {{stage: {found_by}}}'"
        )
        return False

    def _mixes_weights(self, stage: StageConfig, taken: Mapping[str, Recipe]) -> bool:
        """Say whether a stage's recipes are merges, which no choice of donors changes."""
        plain = {
            name: self._context.base if name in taken else self._context.donors[name]
            for name in stage_donors(self._context, stage, taken)
        }
        context = replace(self._context, donors=plain, depths={})
        try:
            space = stage_space(stage.space, context, self._folder)
        except UserError:
            return False  # told when it is built for its own donors
        return space.decode(space.domain.initial).path is None
