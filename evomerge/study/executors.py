"""The workers a study asks for: checked, described and started."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from evomerge.study.config import StudyConfig
from evomerge.study.preparation import Prepared, library_versions, plugin_file
from evomerge.study.workers_config import WorkersConfig
from evomerge.workers import (
    CachedExecutor,
    Executor,
    GuardedExecutor,
    Held,
    LocalExecutor,
    OutcomeStore,
)
from evomerge.workers.cluster import ClusterExecutor
from evomerge.workers.cluster.models import ModelFolder, Source, folders_of
from evomerge.workers.local import devices_of_workers

SCORES_DEPEND_ON = (
    "evomerge",
    "torch",
    "transformers",
    "tokenizers",
    "numpy",
    "datasets",
    "lm-eval",
    "vllm",
)
"""Libraries that must be the same on every node."""

NOTES = frozenset({".json", ".txt", ".jinja"})
MADE_OF = frozenset(
    {
        "config.json",
        "generation_config.json",
        "model.safetensors.index.json",
        "adapter_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
)
"""Of the small files of a model, those that it is made of; others may change as they like."""


def would_hold(workers: WorkersConfig) -> Held:
    """Return what workers hold once all of them run.

    Raises:
        UserError: this machine has too few GPUs.
    """
    if workers.backend == "ray":
        gpus = workers.gpus_per_worker or 0.0
        return Held(workers.count, workers.count * gpus)
    devices = devices_of_workers(workers.device, workers.count, workers.gpus_each)
    return Held.throughout(devices, 0.0)


def make_executor(study: Prepared, note: Callable[[str], None] = lambda _: None) -> Executor:
    """Start the workers that the study file asks for.

    Args:
        study: what they evaluate.
        note: told what users should know of them, a line at a time.

    Raises:
        UserError: they cannot be started.
    """
    workers = study.config.workers
    executor: Executor
    if workers.backend == "inline":
        from evomerge.workers.inline import InlineExecutor  # noqa: PLC0415 torch in the driver

        executor = InlineExecutor(study.evaluator)
    elif workers.backend == "ray":
        executor = _on_a_cluster(study, note)
    else:
        executor = LocalExecutor(study.evaluator, count=workers.count, timeout_s=workers.timeout_s)
    executor = GuardedExecutor(executor, _files(study))
    cache = study.config.cache_file(study.folder)
    if cache is None:
        return executor
    return CachedExecutor(executor, OutcomeStore(cache), study.evaluator, library_versions())


def described_workers(config: StudyConfig, folder: Path) -> str:
    """Say where a study would be evaluated, having seen that it can be.

    Args:
        config: the study.
        folder: where its relative paths start.

    Raises:
        UserError: the workers cannot be placed, or the cluster cannot be reached.
    """
    workers = config.workers
    each = f"{workers.threads_each} thread{'s' if workers.threads_each > 1 else ''}"
    if workers.backend == "inline":
        return f"in this process, {each}, device {workers.device}{_spread(workers)}"
    if workers.backend == "local":
        count = f"{workers.count} process{'es' if workers.count > 1 else ''}"
        return f"{count} on this machine, {each} each, device {workers.device}{_spread(workers)}"
    from evomerge.workers.cluster.ray_cluster import RayCluster  # noqa: PLC0415
    from evomerge.workers.cluster.ray_connection import this_machine  # noqa: PLC0415

    wanted = workers.cluster
    if wanted.address == "local":
        nodes = [this_machine()]
    else:
        cluster = RayCluster(wanted, folder)
        nodes = cluster.nodes()
        cluster.close()
    wanted.require_room(nodes)
    room = wanted.room(nodes)
    return (
        f"{wanted.count} on Ray ({wanted.address}), {wanted} each, {each}, device {wanted.devices}"
        + _spread(workers)
        + ("" if room >= wanted.count else f"; the cluster has room for {room}")
    )


def model_folders(study: Prepared) -> dict[Source, ModelFolder]:
    """Describe the folders of base and donors."""
    refs, spec = (study.context.base, *study.context.donors.values()), study.evaluator
    trusted = [ref for ref, _ in spec.trusted]
    return folders_of(refs, allow_pickle=spec.allow_pickle, trusted=trusted)


def _files(study: Prepared) -> list[Path]:
    """List what scores depend on and nobody else looks after: models, and plug-ins of files."""
    config = study.config
    plug_ins = [str(stage.space) for stage in config.plan]
    for part in config.objectives.values():
        plug_ins += [part.fitness] + ([part.proxy.fitness] if part.proxy else [])
    scripts = (plugin_file(name, study.folder) for name in plug_ins)
    models = model_folders(study).values()
    files = (Path(folder.path, file.name) for folder in models for file in folder.files)
    return [
        *(path for path in files if path.suffix not in NOTES or path.name in MADE_OF),
        *(path for path in scripts if path is not None),
    ]


def _spread(workers: WorkersConfig) -> str:
    """Say in how many places a model may be."""
    parts = []
    if workers.gpus_each > 1:
        parts.append(f"a model on {workers.gpus_each} GPUs")
    if workers.device_memory is not None:
        parts.append(f"{workers.device_memory / 1e9:.3g} GB of weights on each device")
    if workers.offload != "none":
        parts.append(f"the rest {'in main memory' if workers.offload == 'cpu' else 'on disk'}")
    return "".join(f", {part}" for part in parts)


def _on_a_cluster(study: Prepared, note: Callable[[str], None]) -> Executor:
    from evomerge.workers.cluster.ray_cluster import RayCluster  # noqa: PLC0415
    from evomerge.workers.cluster.slot import Order  # noqa: PLC0415

    wanted, spec = study.config.workers.cluster, study.evaluator
    versions = library_versions()
    order = Order(
        spec,
        models=model_folders(study),
        versions={name: versions[name] for name in SCORES_DEPEND_ON if name in versions},
        ships_folder="working_dir" in wanted.runtime_env,
        timeout_s=study.config.workers.timeout_s,
    )
    cluster = RayCluster(wanted, study.folder)
    with ExitStack() as stack:
        stack.callback(cluster.close)  # if there is to be no executor, which closes it
        executor = ClusterExecutor(cluster, wanted, order, note=note)
        stack.pop_all()
    return executor
