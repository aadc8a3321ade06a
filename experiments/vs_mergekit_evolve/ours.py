"""The same search through evomerge: a whole run, journal and all, of the same candidates."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from clock import Parts
from workload import Workload

from evomerge.journal import read_events
from evomerge.study.progress import Progress
from evomerge.study.run import start_run

Scores = Mapping[str, float]

BOOKKEEPING = "bookkeeping"
HARNESS = "requests, filters, metrics"
GENERATION = "generation"
LIKELIHOOD = "log-likelihoods"
FORWARD = "forward passes of {}"
MERGE = "merge"


def search(
    workload: Workload,
    objectives: Mapping[str, Mapping[str, Any]],
    out: Path,
    *,
    backend: str,
    finished: Callable[[], None],
) -> list[Scores]:
    """Carry out a run.

    Args:
        workload: what is merged and scored.
        objectives: of the study file.
        out: the run directory.
        backend: of the workers: 'local', processes, as by default, or 'inline'.
        finished: called after each candidate.

    Returns:
        The metric of each task, candidate by candidate.
    """
    genotypes = workload.genotypes
    study = workload.study(objectives, len(genotypes), backend)

    def observe(progress: Progress) -> None:
        if progress.phase == "search" and not progress.note:
            finished()

    start_run(study, workload.folder, out, observe=observe)
    events = read_events(out)
    proposed = [event.payload["genotype"] for event in events if event.kind == "asked"]
    if json.loads(json.dumps(proposed)) != genotypes:
        raise RuntimeError("the run proposed other candidates than the arms before it scored")
    scored = {event.trial: event.payload for event in events if event.kind == "finished"}
    return [scored[number]["metrics"] for number in range(len(genotypes))]


def watched(parts: Parts) -> ExitStack:
    """Count where a candidate's time goes, until the returned stack is closed."""
    from transformers import LlamaForCausalLM  # noqa: PLC0415  # seconds

    from evomerge.fitness.lm_eval import LmEval  # noqa: PLC0415
    from evomerge.fitness.lm_eval.resident import ResidentLM  # noqa: PLC0415
    from evomerge.workers.evaluator import Evaluator  # noqa: PLC0415

    stack = ExitStack()
    for owner, name, part in (
        (Evaluator, "_merge", MERGE),
        (LmEval, "score_together", HARNESS),
        (ResidentLM, "_loglikelihood_tokens", LIKELIHOOD),
        (ResidentLM, "_decode_greedily", GENERATION),
        (LlamaForCausalLM, "forward", FORWARD),
    ):
        stack.enter_context(parts.watching(owner, name, part))
    return stack
