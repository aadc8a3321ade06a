"""One worker's whole job: merge a recipe into the resident model, or run its path, and score it."""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice

import torch

from evomerge.allocation import keep_freed_memory
from evomerge.errors import (
    DataError,
    FitnessError,
    InvalidGenotype,
    NonFiniteMerge,
    RecipeError,
    UserError,
)
from evomerge.fitness import (
    BoundFitness,
    Item,
    MergedModel,
    ModelScore,
    build_fitness,
    score_together,
)
from evomerge.merging import MergeEngine, PathExecutor, Resident, load_resident, resolve_device
from evomerge.merging.checkpoint import resolve_folder
from evomerge.merging.spread import Placement, require_placeable
from evomerge.recipe import Recipe
from evomerge.redaction import redacted
from evomerge.types import Completed, DeltaStatistics, Failed, FailureKind, Outcome, Split
from evomerge.workers.protocol import Job, JobResult
from evomerge.workers.spec import (
    SPLITS,
    EvaluatorSpec,
    ObjectiveSpec,
    ProxySpec,
    items_digest,
    part_of,
)


class Evaluator:
    """Donors, resident model, fitnesses and items, built once and used for every candidate.

    Candidates that mix weights are merged into one resident model, and not again for the next rung.
    Candidates with a path run on resident donors (see `PathExecutor`), which stay for the next
    path. A worker holds the one or the other: the model for mixing is given up when a path comes,
    donors and common prefixes when a merge comes.

    On hold-out items a path is scored by its folded weights, as they are exported. Scaling
    activations and scaling weights is the same computation, but in 16 bits not the same rounding,
    and what is reported must be true of the model that users get.

    Args:
        spec: what to build.
        name: names the worker in results.

    Raises:
        UserError: models, data or fitnesses cannot be loaded.
    """

    def __init__(self, spec: EvaluatorSpec, name: str = "inline") -> None:
        torch.set_num_threads(spec.threads)
        keep_freed_memory()
        self._spec = spec
        self._name = name
        self._placement = Placement(
            tuple(resolve_device(one) for one in spec.device.split(",")),
            spec.device_memory,
            spec.offload,
        )
        require_placeable(self._placement)
        self._device = self._placement.devices[0]
        self._engine = MergeEngine(
            device=self._device,
            allow_pickle=spec.allow_pickle,
            trusted={
                resolve_folder(ref.path, ref.revision): digest for ref, digest in spec.trusted
            },
        )
        self._paths = self._path_executor()
        self._runs_paths = False
        self._resident: Resident | None = None
        self._merged: Recipe | None = None
        self._charged = 0.0
        self._config = self._engine.config(spec.template)
        self._fitness: list[BoundFitness] = []
        self._proxies: list[BoundFitness] = []
        self._items: dict[tuple[str, Split], tuple[Item, ...]] = {}
        for part in spec.objectives:
            name = part.objective.name
            fitness = _build(part, spec)
            self._fitness.append(fitness)
            self._proxies.append(fitness if part.proxy is None else _build(part, spec, part.proxy))
            for split in SPLITS:
                self._items[name, split] = self._load(part, split, fitness)
            _check_fingerprint(name, fitness, part.fingerprint)
            if part.proxy is not None:
                _check_fingerprint(name, self._proxies[-1], part.proxy.fingerprint)

    def evaluate(self, job: Job) -> JobResult:
        """Merge and score one recipe; whatever the candidate does wrong is in the outcome."""
        started = merged = time.perf_counter()
        hops, reused = self._paths.count.called, self._paths.count.reused
        where = ""
        self._charged = 0.0
        try:
            resident = self._merge(job)
            merged = time.perf_counter()
            scores = _Scores()
            for group in self._groups(job):
                names = [part.objective.name for part, _ in group]
                word = "objective" if len(names) == 1 else "objectives"
                where = f"{word} {', '.join(map(repr, names))}: "
                for name, score in zip(names, self._score(job, resident, group), strict=True):
                    scores.add(name, score)
            outcome: Outcome = scores.outcome()
        except (InvalidGenotype, NonFiniteMerge, RecipeError) as error:
            outcome = Failed("invalid", redacted(where + str(error)))
        except UserError as error:
            outcome = Failed(_kind(error), redacted(where + str(error)))
        except Exception as error:  # noqa: BLE001 the one place where a candidate may do anything
            message = f"{where}{type(error).__name__}: {error}".strip()
            outcome = Failed(_kind(error), redacted(message), redacted(traceback.format_exc()))
        if isinstance(outcome, Failed):
            self._merged = None  # what stopped half-way may have left the model in any state
        finished = time.perf_counter()
        return JobResult(
            job,
            outcome,
            merged - started,
            finished - merged,
            self._name,
            self._paths.count.called - hops,
            self._paths.count.reused - reused,
            self._charged,
        )

    def _load(self, part: ObjectiveSpec, split: Split, fitness: BoundFitness) -> tuple[Item, ...]:
        source = part.source(split)
        if source is None:
            return ()
        found = fitness.load_items(source, folder=self._spec.folder, limit=part.limit)
        items = part_of(found, split, part.validation)
        if part.digests.get(split, "") != items_digest(items):
            raise DataError(
                f"objective '{part.objective.name}': the {split} items differ from those the "
                "study was checked with; return the same items every time (seed what is random)"
            )
        return items

    def _path_executor(self) -> PathExecutor:
        cache_bytes = self._spec.path_cache_bytes
        return PathExecutor(self._engine, self._device, cache_bytes=cache_bytes)

    def _merge(self, job: Job) -> Resident:
        if job.recipe.path is not None and job.split != "holdout":
            self._resident = self._merged = None  # memory for donors, hidden states, caches
            self._runs_paths = True
            return self._paths.load(job.recipe)
        self._release_paths()
        if self._resident is not None and job.recipe == self._merged:
            return self._resident  # whoever climbs to the next rung is still there
        self._merged = None
        config = self._engine.config(job.recipe)
        if self._resident is None or config != self._config:
            self._resident = None  # give the memory back before the next one is built
            if self._placement.is_spread:
                gc.collect()  # a spread module and what moves its weights refer to one another
            self._resident = load_resident(
                self._engine, job.recipe, device=self._device, placement=self._placement
            )
            self._config = config
        else:
            self._engine.apply(job.recipe, self._resident.module)
        self._merged = job.recipe
        return self._resident

    def _release_paths(self) -> None:
        """Give up the donors of paths and what their prefixes computed."""
        if not self._runs_paths:
            return
        count = self._paths.count
        self._paths = self._path_executor()
        self._paths.count = count
        self._runs_paths = False
        gc.collect()  # the latest path and its donors refer to one another

    def _groups(self, job: Job) -> list[list[tuple[ObjectiveSpec, BoundFitness]]]:
        """Return the objectives that a job asks for; those of a group are scored at once."""
        groups: dict[Hashable, list[tuple[ObjectiveSpec, BoundFitness]]] = {}
        fitnesses = self._proxies if job.proxy else self._fitness
        for part, fitness in zip(self._spec.objectives, fitnesses, strict=True):
            name = part.objective.name
            if (job.batch or {}).get(name) != ():
                groups.setdefault(fitness.group or name, []).append((part, fitness))
        return list(groups.values())

    def _score(
        self, job: Job, resident: Resident, group: Sequence[tuple[ObjectiveSpec, BoundFitness]]
    ) -> list[ModelScore]:
        models = [self._view(job, resident, part) for part, _ in group]
        try:
            with ExitStack() as stack:
                for model in models:
                    stack.enter_context(model)
                return score_together([fitness for _, fitness in group], models)
        finally:
            self._charged += sum(model.charged for model in models)

    def _view(self, job: Job, resident: Resident, part: ObjectiveSpec) -> MergedModel:
        """Return the model with the items that a job asks of an objective."""
        items = self._items[part.objective.name, job.split]
        positions = (job.batch or {}).get(part.objective.name)
        if positions is not None:
            items = tuple(items[position] for position in positions)
        return MergedModel(
            resident.module,
            resident.tokenizer,
            recipe=job.recipe,
            split=job.split,
            items=tuple(islice(items, job.limit)),
            device=self._device,
            write=lambda folder: self._engine.write(job.recipe, folder),
            delta=lambda: self._delta(job, resident),
        )

    def _delta(self, job: Job, resident: Resident) -> DeltaStatistics:
        if job.recipe.path is not None:
            raise FitnessError(
                "the distance from the base is not defined for a path, whose layers are those of "
                "the donors in another order; measure it where weights are mixed"
            )
        return self._engine.delta_statistics(resident.module, self._spec.base)


def _build(
    part: ObjectiveSpec, spec: EvaluatorSpec, proxy: ProxySpec | None = None
) -> BoundFitness:
    what = proxy or part
    try:
        return build_fitness(what.fitness, what.args, metric=what.metric, folder=spec.folder)
    except UserError:
        raise
    except Exception as error:  # a constructor of the user's may raise anything
        raise FitnessError(
            f"objective '{part.objective.name}': fitness '{what.fitness}' cannot be built: "
            f"{type(error).__name__}: {error}"
        ) from error


def _check_fingerprint(objective: str, fitness: BoundFitness, checked: Mapping[str, str]) -> None:
    found = fitness.fingerprint()
    for name in (*checked, *found):
        if checked.get(name) != found.get(name):
            raise DataError(
                f"objective '{objective}': {name} is not what the study was checked with; restore "
                "it, or start a new run"
            )


def _kind(error: BaseException | None) -> FailureKind:
    """Say whether a worker is lost: after an error of CUDA all other calls of its process fail."""
    while error is not None:
        if isinstance(error, RuntimeError) and str(error).startswith(("CUDA error", "HIP error")):
            return "lost"
        error = error.__cause__ or error.__context__
    return "error"


class _Scores:
    """The scores of one candidate, objective by objective."""

    def __init__(self) -> None:
        self._metrics: dict[str, float] = {}
        self._examples: dict[str, dict[str, float]] = {}
        self._notes: dict[str, float] = {}

    def add(self, objective: str, score: ModelScore) -> None:
        metric, examples, notes = score
        self._metrics[objective] = metric
        if examples:
            self._examples[objective] = dict(examples)
        self._notes |= {f"{objective}/{key}": value for key, value in notes.items()}

    def outcome(self) -> Completed:
        return Completed(self._metrics, self._examples, self._notes)
