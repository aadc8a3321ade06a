"""What became of each key and option, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from evomerge.migrate.configuration import EvolveConfiguration
from evomerge.migrate.options import EvolveOptions, Option

State: TypeAlias = Literal["kept", "different", "idle", "unknown", "refused"]


@dataclass(frozen=True, slots=True)
class Note:
    """What became of one thing.

    Attributes:
        subject: a key, an option, or what mergekit-evolve does unasked.
        text: what it is in the study, or why it is nothing there.
        state: 'kept' means the same; 'different' is done in another way; 'idle' has no effect;
            'unknown' had none in mergekit-evolve either; 'refused' is not done, and the text says
            what replaces it.
    """

    subject: str
    text: str
    state: State = "kept"


_GENOME = {
    "models": "models and space.models, in the order of their genes",
    "merge_method": "space.merge_method",
    "base_model": "models.base",
    "tokenizer_source": "space.tokenizer_source",
    "layer_granularity": "space.layer_granularity",
    "normalize": "space.normalize",
    "allow_negative_weights": "space.allow_negative_weights",
    "filters": "space.filters",
    "smooth": "space.smooth",
}
_TOP = {
    "limit": "limit, of every objective and each half: a sample of it, not the first documents",
    "num_fewshot": "num_fewshot, of every objective",
    "shuffle": "nothing: a half is always in an order drawn from the documents' content, where "
    "mergekit-evolve draws another one in every process",
    "random_init": "space.random_init, drawn by the study's seed",
    "apply_chat_template": "apply_chat_template, of every objective",
    "fewshot_as_multiturn": "fewshot_as_multiturn, of every objective",
}


def notes(
    data: Mapping[str, Any],
    configuration: EvolveConfiguration,
    options: EvolveOptions,
    study: Mapping[str, Any],
    ignored: Sequence[tuple[str, str]],
) -> tuple[Note, ...]:
    """List what became of everything, in the order of the configuration.

    Args:
        data: the configuration as it was read.
        configuration: its meaning.
        options: of the command line.
        study: what was made of them.
        ignored: keys that mean nothing to mergekit-evolve, each with a hint.
    """
    found = [
        *(Note(f"genome.{key}", text) for key, text in _GENOME.items() if key in data["genome"]),
        *_tasks(configuration, study),
        *(_top(key, text) for key, text in _TOP.items() if key in data),
        *(
            Note(key, f"mergekit-evolve does not know this key and ignores it; {hint}", "unknown")
            for key, hint in ignored
        ),
        *_options(options, study),
        *_unasked(data, configuration, options, study),
    ]
    return tuple(found)


def _tasks(configuration: EvolveConfiguration, study: Mapping[str, Any]) -> Iterator[Note]:
    objectives = study["objectives"]
    weights = study["search"].get("scalarize", {}).get("weights", {})
    for name, objective in objectives.items():
        task, metric = objective["tasks"][0], objective["metric"]
        given = [one for one in configuration.tasks if (one.name, one.metric) == (task, metric)]
        weight = sum(one.weight for one in given)
        text = f"objective '{name}'" + (f" of weight {weights[name]:g}" if weights else "")
        if weight < 0:
            text += "; its weight is negative, so it is minimised"
        yield Note(f"task {task} ({metric})", text)


def _top(key: str, text: str) -> Note:
    states: Mapping[str, State] = {"limit": "different", "shuffle": "idle"}
    return Note(key, text, states.get(key, "kept"))


def _options(options: EvolveOptions, study: Mapping[str, Any]) -> Iterator[Note]:
    folders = 0
    for option, typed in options.given:
        folders += option.kind == "texts"
        if option.kind == "texts" and folders > 1:
            text = "one folder of tasks is searched, the first; put the files of this one there"
            yield Note(typed, text, "refused")
        else:
            yield _option(option, typed, study)


def _option(option: Option, typed: str, study: Mapping[str, Any]) -> Note:
    if typed == option.negation:
        idle = option.becomes.startswith("nothing")
        return Note(typed, option.becomes if idle else "nothing: it is not done unasked", "idle")
    if option.field == "timeout":
        return Note(typed, f"budget.hours: {study['budget']['hours']:.4g}")
    if option.field in ("wandb_project", "wandb_entity") and "callbacks" not in study:
        return Note(typed, "nothing without --wandb", "idle")
    if option.refused:
        return Note(typed, option.becomes, "refused")
    return Note(typed, option.becomes, "idle" if option.becomes.startswith("nothing") else "kept")


def _unasked(
    data: Mapping[str, Any],
    configuration: EvolveConfiguration,
    options: EvolveOptions,
    study: Mapping[str, Any],
) -> Iterator[Note]:
    """Say what a search here does otherwise than mergekit-evolve, and what nobody wrote down."""
    yield Note(
        "the items",
        "mergekit-evolve reports on the documents it searches on; the study searches on one half "
        "of each task's and reports on the other",
        "different",
    )
    yield Note(
        "benchmarks",
        "mergekit-evolve refuses to search on common ones without a flag; here the search runs, "
        "warns, and the report keeps the warning",
        "different",
    )
    yield Note(
        "the end",
        "mergekit-evolve scores whole generations until they are more than --max-fevals, and then "
        f"the mean of the last; the study ends after {study['budget']['trials']} trials, which are "
        "its first ones",
        "different",
    )
    yield Note(
        "ties",
        "mergekit-evolve may stop at a generation without two different scores; the study draws "
        "it again, up to ten times in a row",
        "different",
    )
    if options.num_gpus is None:
        yield Note(
            "GPUs",
            "mergekit-evolve takes every one it sees; the study has one worker, see workers.count",
            "different",
        )
    genome = configuration.genome
    if any(ref is not None and ref.adapter for ref in (*genome.models, genome.base_model)):
        yield Note(
            "adapters",
            "mergekit-evolve adds them to their models in bfloat16; evomerge adds them in float32 "
            "and rounds once",
            "different",
        )
    if genome.merge_method == "dare_ties":
        yield Note("DARE", "its masks are evomerge's, the same on every machine", "different")
    if "apply_chat_template" not in data:
        yield Note(
            "apply_chat_template",
            "not given, so true in every objective, as in mergekit-evolve; where the base's "
            "tokenizer has no chat template, set it to false",
        )
    yield Note("precision", "dtype: bfloat16, in which mergekit-evolve merges and scores")
