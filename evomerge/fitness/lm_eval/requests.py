"""The requests of documents: built once, handed out afresh for every candidate."""

from __future__ import annotations

import contextlib
import copy
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance

from evomerge.fitness.lm_eval.tasks import Suite, as_seeded, hushed, templates_kept


@dataclass(frozen=True, slots=True)
class Prompting:
    """How questions become prompts.

    Attributes:
        system_instruction: put before everything.
        fewshot_as_multiturn: examples are turns of the conversation.
        chat: writes a conversation as text, by the model's template; None for plain prompts.
    """

    system_instruction: str | None
    fewshot_as_multiturn: bool
    chat: Callable[..., str] | None


@dataclass(frozen=True, slots=True)
class Asked:
    """One document of one candidate, with requests that nobody has answered yet."""

    doc_id: int
    doc: Any
    instances: list[Instance]


class Requests:
    """The requests of some documents of each task.

    Args:
        suite: the tasks.
        documents: task name to positions of its documents. Which examples a question gets depends
            on these, because the harness draws them question by question; so all documents of a
            split are built together, and any of them can be asked alone.
        prompting: how questions become prompts.
        fewshot_seed: seeds the choice of the examples.
    """

    def __init__(
        self,
        suite: Suite,
        documents: Mapping[str, Iterable[int]],
        prompting: Prompting,
        fewshot_seed: int,
    ) -> None:
        self._built: dict[str, dict[int, list[Instance]]] = {}
        # The harness draws a progress bar on standard error that cannot be turned off.
        with hushed(), as_seeded(), templates_kept(), contextlib.redirect_stderr(io.StringIO()):
            for name, doc_ids in documents.items():
                self._built[name] = _build(
                    suite.tasks[name], sorted(doc_ids), prompting, fewshot_seed
                )

    def ask(self, documents: Mapping[str, Iterable[int]]) -> dict[str, list[Asked]]:
        """Return fresh requests of some documents, in order.

        Filters and metrics write into requests, and a task's own code may write into documents:
        both are copies, so that nothing passes from one candidate to the next.
        """
        return {
            name: [_fresh(doc_id, self._built[name][doc_id]) for doc_id in sorted(doc_ids)]
            for name, doc_ids in documents.items()
        }


def _build(
    task: Any, doc_ids: Sequence[int], prompting: Prompting, fewshot_seed: int
) -> dict[int, list[Instance]]:
    task.set_fewshot_seed(fewshot_seed)
    task.build_all_requests(
        samples=list(doc_ids),
        system_instruction=prompting.system_instruction,
        apply_chat_template=prompting.chat is not None,
        fewshot_as_multiturn=prompting.fewshot_as_multiturn,
        chat_template=prompting.chat,
    )
    by_document: dict[int, list[Instance]] = defaultdict(list)
    for instance in task.instances:  # numbered within the samples
        by_document[doc_ids[instance.doc_id]].append(instance)
    return dict(by_document)


def _fresh(doc_id: int, instances: Sequence[Instance]) -> Asked:
    doc = copy.deepcopy(instances[0].doc)
    copies = [
        Instance(one.request_type, doc, one.arguments, one.idx, one.metadata) for one in instances
    ]
    return Asked(doc_id, doc, copies)


def answer(model: Any, asked: Iterable[Sequence[Asked]]) -> None:
    """Have a model answer the requests, all of a kind at once, as `lm_eval.evaluate` does.

    Args:
        model: a `lm_eval.api.model.LM`.
        asked: fresh requests of each task; the answers are put into them.
    """
    kinds: dict[str, list[Instance]] = defaultdict(list)
    for documents in asked:
        for document in documents:
            for instance in document.instances:
                kinds[instance.request_type] += [instance] * (instance.repeats or 1)
    for kind, instances in kinds.items():
        for instance, response in zip(
            instances, getattr(model, kind)(instances, disable_tqdm=True), strict=True
        ):
            instance.resps.append(response)
