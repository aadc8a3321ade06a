"""The model card, in the format of the Hugging Face Hub and written by `huggingface_hub`.

Scores are those of hold-out items, measured in the study; without them the card holds none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evomerge.merging.checkpoint import is_hub_id
from evomerge.release.card_text import card_text
from evomerge.release.contents import Contents
from evomerge.release.subject import Subject

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard


def model_card(subject: Subject, contents: Contents) -> ModelCard:
    """Build the card of an exported model."""
    from huggingface_hub import ModelCard, ModelCardData  # noqa: PLC0415 -- slow import

    adapter = contents.adapter is not None
    ids = hub_ids(subject, only_base=adapter)
    results = _results(subject, contents)
    data = ModelCardData(
        **contents.inheritance.metadata,
        library_name="peft" if adapter else "transformers",
        pipeline_tag=contents.task.tag,
        base_model=ids or None,
        base_model_relation=("adapter" if adapter else "merge") if ids else None,
        tags=["merge", "evomerge", *(["lora"] if adapter else [])],
        model_name=contents.name if results else None,
        eval_results=results or None,
    )
    body = "\n".join(card_text(subject, contents))
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n")


def hub_ids(subject: Subject, *, only_base: bool = False) -> list[str]:
    """Return the inputs that are repositories of the Hub; local folders have no id there."""
    found: list[str] = []
    for name, ref in subject.models.items():
        if not only_base or name == "base":
            found += [path for path in (ref.path, ref.adapter) if path and is_hub_id(path)]
    return list(dict.fromkeys(found))


def _results(subject: Subject, contents: Contents) -> list[EvalResult]:
    """Return the hold-out score of every objective that has such items."""
    from huggingface_hub import EvalResult  # noqa: PLC0415 -- slow import

    row, analysis = subject.row, subject.analysis
    if row is None or row.holdout is None or analysis is None or not contents.is_exact:
        return []
    results = []
    for objective, part in subject.study.config.objectives.items():
        if part.holdout is None:
            continue  # a property of the weights, such as a distance
        estimate = row.holdout[objective]
        metric = part.metric or part.fitness.rpartition(":")[2]
        text = metric
        if estimate.low is not None and estimate.high is not None:
            text += (
                f", {analysis.confidence:.0%} interval {estimate.low:.4g} to "
                f"{estimate.high:.4g} over {estimate.n_items} items"
            )
        source: dict[str, Any] = part.holdout if isinstance(part.holdout, dict) else {}
        results.append(
            EvalResult(
                task_type=contents.task.tag or "other",
                dataset_type=str(source.get("dataset", objective)),
                dataset_name=f"{objective}: hold-out items of {subject.study.config.name}",
                dataset_config=source.get("config"),
                dataset_split=str(source.get("split", "holdout")),
                dataset_revision=source.get("revision"),
                metric_type=metric,
                metric_name=text,
                metric_value=float(estimate.score),
            )
        )
    return results
