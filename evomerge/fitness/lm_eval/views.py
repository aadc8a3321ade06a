"""How a model is asked, and the harness's view of it, which objectives that ask alike share."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakValueDictionary

from evomerge.errors import FitnessError
from evomerge.fitness.lm_eval.tokenizers import same_tokenizer, template_name
from evomerge.fitness.model import MergedModel


@dataclass(eq=False)
class View:
    """The harness's view of a model, a `lm_eval.api.model.LM`, and the tokenizer it reads by."""

    model: Any
    tokenizer: Any


@dataclass(frozen=True, slots=True)
class Asking:
    """How a model is asked.

    Attributes:
        batch_size: rows of a forward pass; None for as many as fit, up to 64.
        chat: as `LmEval.apply_chat_template`.
        share_contexts: likewise.
        drafts: likewise.
        engine: likewise.
        engine_args: likewise, as JSON.
    """

    batch_size: int | None
    chat: bool | str
    share_contexts: bool
    drafts: bool
    engine: Literal["transformers", "vllm"]
    engine_args: str

    def view(self, model: MergedModel, kept: View | None) -> View:
        """Return the view of a model, made anew only when it reads texts otherwise.

        Objectives of a worker that ask alike have one, whenever each is asked.

        Args:
            model: to be asked next.
            kept: what this returned before, which the caller holds.

        Raises:
            FitnessError: the model has no tokenizer, or vLLM would need another one.
        """
        from evomerge.fitness.lm_eval.tasks import hushed  # noqa: PLC0415  # takes seconds

        known = kept or _VIEWS.get(self)
        if known is None or not same_tokenizer(model.tokenizer, known.tokenizer):
            if self.engine == "vllm" and known is not None:
                raise FitnessError(
                    "engine 'vllm' cannot change its tokenizer from candidate to candidate; "
                    "give the study one tokenizer, or remove the engine"
                )
            with hushed():
                known = View(self._language_model(model), model.tokenizer)
            _VIEWS[self] = known
        known.tokenizer = model.tokenizer
        known.model.load(model.module)
        return known

    def _language_model(self, model: MergedModel) -> Any:
        if model.tokenizer is None:
            raise FitnessError(
                "the model has no tokenizer, and lm_eval's tasks are texts; "
                "put the tokenizer's files (tokenizer.json) into the base model's folder"
            )
        template = template_name(model.tokenizer, self.chat)
        if self.engine == "vllm":
            from evomerge.fitness.lm_eval.vllm_engine import VllmLM  # noqa: PLC0415

            return VllmLM(model.path(), chat_template=template, **json.loads(self.engine_args))
        from evomerge.fitness.lm_eval.resident import ResidentLM  # noqa: PLC0415

        return ResidentLM(
            model.module,
            model.tokenizer,
            batch_size=self.batch_size,
            chat_template=template,
            share_contexts=self.share_contexts,
            drafts=self.drafts,
        )


_VIEWS: MutableMapping[Asking, View] = WeakValueDictionary()
"""Of this process; a view lasts as long as an objective holds it."""
