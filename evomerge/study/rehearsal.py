"""Every stage of a study tried before it runs: the first one for real, later ones on stand-ins.

What an earlier stage is going to find is not known yet. The recipe its search starts from has the
same shape and stands in for it; where it is a path, so does the shortest one the space allows,
since the limits of a later space may ask for a deeper first donor. Where it may be a merge by one
of several operators, each of them stands in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evomerge.errors import SpaceError, UserError
from evomerge.merging import MergeEngine
from evomerge.merging.plan import Plan
from evomerge.optimizers import Needs, Optimizer
from evomerge.optimizers.known_points import is_known_point
from evomerge.recipe import ModelRef, Node, Recipe
from evomerge.spaces import JointSpace, OperatorsSpace, PathSpace, Space, SpaceContext
from evomerge.spaces.paths.spec import DepthwiseSpec, JointSpec, SequenceSpec, SlotsSpec
from evomerge.study.config import StageConfig, StudyConfig
from evomerge.study.problems import Problems
from evomerge.study.rungs.config import RungsConfig
from evomerge.study.stages import FOUND, MEANINGLESS, stage_donors, stage_space, through_path


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A stage that was tried.

    Attributes:
        space: as declared, without the path it may go through.
        recipe: what its search starts from.
        shortest: a path of as few hops as the stage may find; `recipe` where it finds none.
        needs: what its optimizer must be told.
        starts: `recipe`; where the merge method is a gene, a recipe by each operator.
    """

    space: Space
    recipe: Recipe
    shortest: Recipe
    needs: Needs
    starts: Mapping[str, Recipe]


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
        optimizer: Callable[[StageConfig, Space], Optimizer],
        problems: Problems,
    ) -> None:
        self._config = config
        self._folder = folder
        self._context = context
        self._optimizer = optimizer
        self._problems = problems
        self._done: dict[str, Rehearsed] = {}

    def run(self, engine: MergeEngine) -> list[Rehearsed]:
        """Try every stage; one that depends on a stage that is wrong is left out."""
        for position, stage in enumerate(self._config.plan):
            if any(pick.stage not in self._done for pick in stage.picks):
                continue
            where = f"stages[{position}]." if stage.name else ""
            tried = self._try(stage, where, engine)
            if tried is not None:
                self._done[stage.name] = tried
        return list(self._done.values())

    def _try(self, stage: StageConfig, where: str, engine: MergeEngine) -> Rehearsed | None:
        attempt = self._problems.attempt
        taken = {name: self._done[pick.stage].recipe for name, pick in stage.take.items()}
        path = self._done[stage.through.stage] if stage.through else None
        if not self._fits(stage, taken, path, where):
            return None
        space = attempt(f"{where}space", lambda: self._space(stage, taken))
        if space is None:
            return None
        if stage.seeds is not None:
            found = self._done[stage.seeds.stage].starts
            attempt(f"{where}seeds", lambda: self._space(stage, taken, found))
        whole: Space = space
        if path is not None:
            passed = attempt(
                f"{where}through", lambda: through_path(space, path.recipe, self._context)
            )
            if passed is None:
                return None
            whole = passed
        attempt(f"{where}space", lambda: self._try_shortest(stage, taken))
        recipe = attempt(f"{where}space", lambda: _start(whole))
        if recipe is None:
            return None
        plan = attempt(f"{where}space", lambda: _check(engine, space, recipe))
        starts = space.starts() if isinstance(space, OperatorsSpace) else {}
        for name, one in starts.items():
            if one != recipe:
                attempt(f"{where}space.operators.{name}", partial(engine.check, one))
        optimizer = attempt(f"{where}search", lambda: self._optimizer(stage, whole))
        if stage.batches is not None and optimizer is not None:
            self._check_batches(stage.search.optimizer, optimizer, where)
        if self._config.rungs is not None and optimizer is not None:
            self._check_rungs(self._config.rungs, stage.search.optimizer, optimizer)
        if plan is None:
            return None
        shortest = _shortest(space, recipe) if path is None else _along(recipe, path.shortest)
        needs = Needs() if optimizer is None else optimizer.needs
        return Rehearsed(space, recipe, shortest, needs, starts or {FOUND: recipe})

    def _space(
        self,
        stage: StageConfig,
        taken: Mapping[str, Recipe],
        seeds: Mapping[str, Recipe] | None = None,
    ) -> Space:
        donors = stage_donors(self._context, stage, taken)
        return stage_space(stage.space, self._context, donors, self._folder, seeds=seeds)

    def _try_shortest(self, stage: StageConfig, taken: Mapping[str, Recipe]) -> None:
        """Build the space for the shortest paths it may be given: no limit gets easier to keep.

        Raises:
            SpaceError: it cannot be built.
        """
        shortest = {name: self._done[pick.stage].shortest for name, pick in stage.take.items()}
        if shortest == taken:
            return
        try:
            self._space(stage, shortest)
        except SpaceError as error:
            found = [
                f"stage '{stage.take[name].stage}' finds a path of {len(recipe.path.hops)} hops"
                for name, recipe in shortest.items()
                if recipe.path is not None and recipe != taken[name]
            ]
            raise SpaceError(
                f"cannot be built if {' and '.join(found)}: {error}; raise limits.min_hops there "
                "or change the limits here"
            ) from None

    def _check_batches(self, name: str, optimizer: Optimizer, where: str) -> None:
        """Refuse an optimizer that would compare scores on different items."""
        if optimizer.needs.compares == "all":
            self._problems.lines.append(
                f"{where}batches: optimizer '{name}' compares candidates of different batches, "
                "whose scores are on different items; use cat_cma, cma_wm or cma_es, which compare "
                "within a generation (or random), or remove batches"
            )

    def _check_rungs(self, rungs: RungsConfig, name: str, optimizer: Optimizer) -> None:
        """Refuse an optimizer that needs more than rungs tell, or tells less than rungs need."""
        if optimizer.needs.examples:
            self._problems.lines.append(
                f"rungs: optimizer '{name}' lets candidates compete for every item, and a rung "
                "scores a part of them; remove rungs, or use another optimizer"
            )
        if self._done or not rungs.needs_endpoints:
            return
        first = optimizer.ask(0)
        if first is None or not is_known_point(first.origin):
            self._problems.lines.append(
                "rungs: order and estimator follow from the answers of base and donors, and the "
                "search does not begin with these; remove 'seeds: false', or use 'order: random' "
                "and 'estimator: regression'"
            )

    def _fits(
        self,
        stage: StageConfig,
        taken: Mapping[str, Recipe],
        through: Rehearsed | None,
        where: str,
    ) -> bool:
        """Say whether the stage can use what it takes; note it where it cannot."""
        if stage.through is not None and through is not None and through.recipe.path is None:
            self._problems.lines.append(
                f"{where}through: stage '{stage.through.stage}' finds merges, not layer paths; "
                "'take' it as a donor instead"
            )
            return False
        paths = [name for name, recipe in taken.items() if recipe.path is not None]
        mixed = self._mixed(stage, paths) if paths else []
        if not mixed:
            return True
        found_by = stage.take[mixed[0]].stage
        self._problems.lines.append(
            f"{where}take.{mixed[0]}: stage '{found_by}' finds layer paths, whose weights cannot "
            f"be mixed with others; to search coefficients along the path write "
            f"'through: {{stage: {found_by}}}'"
        )
        return False

    def _mixed(self, stage: StageConfig, names: list[str]) -> list[str]:
        """Return which of the taken models have their weights mixed with others.

        Models of the base's depth stand in for them: what is mixed does not depend on the models.
        """
        stand_ins = {name: ModelRef(path=f"{self._context.base.path}@{name}") for name in names}
        found = {name: self._done[pick.stage].recipe for name, pick in stage.take.items()}
        donors: dict[str, Node] = {
            name: stand_ins.get(name, self._context.base) if name in found else donor
            for name, donor in stage_donors(self._context, stage, found).items()
        }
        try:
            recipe = _start(stage_space(stage.space, self._context, donors, self._folder))
        except UserError:
            return []  # told when it is built for its own donors
        merged = list(_merged(recipe))
        return [name for name in names if recipe.path is None or stand_ins[name] in merged]


def _start(space: Space) -> Recipe:
    """Return what a search starts from.

    Raises:
        SpaceError: it means no recipe.
        UserError: of another kind, as the space raised it.
    """
    try:
        return space.decode(space.domain.initial)
    except UserError:
        raise
    except MEANINGLESS as error:
        raise SpaceError(
            f"its initial genotype means no recipe, {type(error).__name__}: {error}; give the "
            "genes initial values that decode"
        ) from error


def _check(engine: MergeEngine, space: Space, recipe: Recipe) -> Plan:
    """Check a search's first recipe; a path need not pass through every donor, so all of them too.

    Raises:
        RecipeError, CheckpointError, PluginError: see `MergeEngine.check`.
    """
    if isinstance(space, PathSpace | JointSpace):
        engine.check(space.across())
    return engine.check(recipe)


def _merged(recipe: Recipe) -> Iterator[Node]:
    """Yield the inputs of every merge in a recipe; a path merges nothing."""
    for source in recipe.models or ():
        if recipe.path is None:
            yield source.model
        if isinstance(source.model, Recipe):
            yield from _merged(source.model)
    for run in recipe.slices or ():
        yield from (source.model for source in run.sources)


def _shortest(space: Space, recipe: Recipe) -> Recipe:
    """Return a path of as few hops as a space allows; where it does not say, what it starts from.

    It stands for its depth only: the repair of paths fills up to `min_hops` and no further.
    """
    spec = getattr(space, "spec", None)
    if isinstance(spec, JointSpec):
        spec = spec.layers
    if recipe.path is None or not isinstance(spec, SlotsSpec | DepthwiseSpec | SequenceSpec):
        return recipe
    fewest = max(spec.limits.min_hops, 2 if spec.fixed_ends else 1)
    path = recipe.path.model_copy(update={"hops": recipe.path.hops[:fewest]})
    return recipe.model_copy(update={"path": path})


def _along(recipe: Recipe, path: Recipe) -> Recipe:
    """Return the recipe with the hops of another."""
    return recipe.model_copy(update={"path": path.path})
