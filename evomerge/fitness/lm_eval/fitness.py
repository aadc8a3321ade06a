"""`fitness: lm_eval`: tasks and groups of lm-evaluation-harness as an objective."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveInt

from evomerge.errors import DataError, FitnessError, MissingExtra
from evomerge.fitness.lm_eval.bounds import BOUNDS
from evomerge.fitness.lm_eval.documents import DatasetSplit, Source, interleaved
from evomerge.fitness.lm_eval.tokenizers import template_name
from evomerge.fitness.lm_eval.views import Asking, View
from evomerge.fitness.model import MergedModel
from evomerge.fitness.protocol import Item
from evomerge.fitness.public_tests import public_test
from evomerge.types import Bounds, FitnessResult, Goal

if TYPE_CHECKING:  # the harness and torch take seconds to import
    from evomerge.fitness.lm_eval.requests import Asked, Prompting, Requests
    from evomerge.fitness.lm_eval.tasks import Suite

_UNSEEDED = 1234  # lm-eval's default seed of few-shot examples


@dataclass
class _Listing:
    """The documents of one source: their places by item id, and their requests once built."""

    split: DatasetSplit | None
    places: dict[str, tuple[str, int]]
    requests: Requests | None = field(default=None, repr=False)
    written_for: Any = None  # the tokenizer whose template wrote the requests

    def documents(self, item_ids: Iterable[str]) -> dict[str, list[int]]:
        """Group items by task, tasks in the order of the source."""
        found: dict[str, list[int]] = {task: [] for task, _ in self.places.values()}
        for item_id in item_ids:
            task, doc_id = self.places[item_id]
            found[task].append(doc_id)
        return {task: doc_ids for task, doc_ids in found.items() if doc_ids}


class LmEval:
    """A metric of lm-evaluation-harness on the resident model.

    Scores equal those of `lm_eval.simple_evaluate(samples=...)` on the exported checkpoint with
    the same options, documents and batch size, to the last bit unless `share_contexts` or `drafts`.
    Objectives that ask the model alike are scored at once, as one call with all their tasks does.
    Tasks, examples and requests are built once per worker and texts tokenized once; a candidate
    costs its forward passes and the scoring.

    Documents are named by the objective's `search` and `holdout`, each `{docs: [first, last]}` (of
    every task, last null for the end) or `{half: search}` and `{half: holdout}`, either with
    `split: train | validation | test` of the dataset. Without both keys each half is taken; which
    half a document belongs to follows from its content. Items are named 'task/position'.

    Metrics beside the optimised one, standard errors ('acc_stderr,none') and those of the tasks of
    a group ('mmlu_anatomy/acc,none') are kept as secondary metrics. Single documents have scores
    where the metric is their mean.

    Args:
        tasks: names of tasks, groups or tags, or whole task configurations. A group that
            aggregates is scored as it says; several names are pooled, weighted by size.
        metric: 'exact_match,strict-match' (metric and filter), or the metric alone where it has
            one filter; may be left out where there is only one.
        num_fewshot: examples before each question.
        apply_chat_template: write prompts by the tokenizer's chat template; a name chooses one of
            several templates.
        fewshot_as_multiturn: with a template: examples are turns, not one long question.
        system_instruction: put before everything.
        include_path: a folder of YAML files with tasks of your own.
        batch_size: rows of a forward pass; by default 64, fewer where the logits of
            log-likelihoods, or the keys and values of greedy answers, would take more than 2 GB in
            16 bits.
        metadata: passed to the tasks, as lm-eval's --metadata.
        gen_kwargs: changes to generation arguments, such as {max_gen_toks: 64}.
        fewshot_seed: seeds the choice of examples.
        confirm_run_unsafe_code: allow tasks that run code which the model writes, unprotected.
        bootstrap_iters: resamples for standard errors that have no formula (perplexities, BLEU);
            lm-eval's default is 100000, which takes long for every candidate. 0 leaves them out.
        share_contexts: compute a context once for all of its choices. It saves up to as many times
            as there are choices; in return log-likelihoods differ from lm-eval's in their last
            digits, which decides a choice only where two are all but equal.
        drafts: check what earlier candidates answered at once, instead of writing greedy answers
            token by token. Answers stay the model's own, but a near tie between two tokens may be
            decided the other way, and by which candidates a worker scored before.
        engine: 'transformers' scores the resident model; 'vllm' hands its weights to a live engine.
        engine_args: arguments of vLLM's `LLM`, such as {gpu_memory_utilization: 0.4}.

    Raises:
        MissingExtra: lm-eval is not installed.
        FitnessError: a task is unknown or cannot be run, the metric is unknown or ambiguous.
    """

    goal: Goal = "maximize"
    bounds: Bounds = (None, None)
    needs_items: ClassVar[bool] = True
    default_sources: ClassVar[Mapping[str, Any]] = {
        "search": {"half": "search"},
        "holdout": {"half": "holdout"},
    }

    def __init__(
        self,
        tasks: str | list[str | dict[str, Any]],
        metric: str | None = None,
        num_fewshot: NonNegativeInt | None = None,
        apply_chat_template: bool | str = False,
        fewshot_as_multiturn: bool = True,
        system_instruction: str | None = None,
        include_path: Path | None = None,
        batch_size: PositiveInt | None = None,
        metadata: dict[str, Any] | None = None,
        gen_kwargs: dict[str, Any] | None = None,
        fewshot_seed: int = _UNSEEDED,
        confirm_run_unsafe_code: bool = False,
        bootstrap_iters: NonNegativeInt = 0,
        share_contexts: bool = False,
        drafts: bool = False,
        engine: Literal["transformers", "vllm"] = "transformers",
        engine_args: dict[str, Any] | None = None,
    ) -> None:
        if importlib.util.find_spec("lm_eval") is None:
            raise MissingExtra("fitness 'lm_eval'", "lm-eval")
        from evomerge.fitness.lm_eval.tasks import Overrides  # noqa: PLC0415

        self.metric = metric
        self._specs = [tasks] if isinstance(tasks, str) else list(tasks)
        if not self._specs:
            raise FitnessError("fitness 'lm_eval': tasks is empty; name a task or a group")
        self._include_path = include_path
        self._metadata = metadata or {}
        self._overrides = Overrides(
            num_fewshot, fewshot_seed, gen_kwargs or {}, confirm_run_unsafe_code
        )
        self._multiturn = fewshot_as_multiturn
        self._system = system_instruction
        self._bootstrap_iters = bootstrap_iters
        if engine != "vllm" and engine_args:
            raise FitnessError("fitness 'lm_eval': engine_args are vLLM's; add 'engine: vllm'")
        if engine == "vllm" and (share_contexts or drafts):
            option = "share_contexts" if share_contexts else "drafts"
            raise FitnessError(
                f"fitness 'lm_eval': {option} is for the transformers engine; vLLM shares prefixes "
                "and drafts by engine_args. Remove it"
            )
        if engine == "vllm" and importlib.util.find_spec("vllm") is None:
            raise MissingExtra("engine 'vllm'", "vllm")
        self._asking = Asking(
            batch_size,
            apply_chat_template,
            share_contexts,
            drafts,
            engine,
            json.dumps(engine_args or {}, sort_keys=True, default=str),
        )
        self._suites: dict[DatasetSplit | None, Suite] = {}
        self._listings: dict[tuple[Source, int | None], _Listing] = {}
        self._view: View | None = None

    def list_items(self, source: Any, limit: int | None = None) -> tuple[Item, ...]:
        """List the documents of a source as items 'task/position' with the content as 'doc'.

        Args:
            source: as the study file has it, see the class.
            limit: the first so many; those of several tasks take turns in proportion.

        Raises:
            DataError: the source is malformed, or a task has no document there.
            FitnessError: see the class.
        """
        chosen = Source.parse(source)
        suite = self._suite(chosen.split)
        documents = {name: list(task.eval_docs) for name, task in suite.tasks.items()}
        places = {name: chosen.choose(docs) for name, docs in documents.items()}
        for name, own in places.items():
            if not own:
                raise DataError(
                    f"task '{name}' has {len(documents[name])} documents, none of them in {source}"
                )
        names = list(places)
        order = interleaved([len(own) for own in places.values()])[:limit]
        middle = f"{chosen.split}/" if chosen.split else ""
        listing = _Listing(chosen.split, {})
        items = []
        for number, position in order:
            name = names[number]
            doc_id = places[name][position]
            item_id = f"{name}/{middle}{doc_id}"
            listing.places[item_id] = (name, doc_id)
            items.append({"id": item_id, "doc": documents[name][doc_id]})
        self._listings.setdefault((chosen, limit), listing)
        return tuple(items)

    def warnings(self, source: Any) -> list[str]:
        """Say which public test sets a source of search items is part of."""
        split = Source.parse(source).split
        found = []
        for name, task in self._suite(split).tasks.items():
            config = task.config
            scored = config.test_split or config.validation_split
            warning = public_test(str(config.dataset_path), str(scored))
            if warning is not None:
                found.append((warning, name))
        families = dict.fromkeys(warning for warning, _ in found)
        return [
            f"{', '.join(name for other, name in found if other == family)}: {family}"
            for family in families
        ]

    def fingerprint(self) -> dict[str, str]:
        """Identify the tasks by their configuration, see `evomerge.fitness.lm_eval.fingerprint`."""
        from evomerge.fitness.lm_eval.fingerprint import fingerprint  # noqa: PLC0415
        from evomerge.fitness.lm_eval.tasks import as_seeded, hushed  # noqa: PLC0415

        # Suites differ by the scored documents alone.
        suite = next(iter(self._suites.values()), None) or self._suite(None)
        with hushed(), as_seeded():
            return fingerprint(suite)

    def check_tokenizer(self, tokenizer: Any) -> None:
        """Find out whether prompts can be written for a tokenizer.

        Raises:
            FitnessError: it lacks the chat template that is asked for.
        """
        template_name(tokenizer, self._asking.chat)

    def __call__(self, model: MergedModel) -> FitnessResult:
        """Score the model's items."""
        (result,) = self.score_together([self], [model])
        return result

    def together(self) -> Hashable:
        """Return what objectives share that are scored at once: how the model is asked.

        Sampled answers depend on what is drawn before them: such an objective is scored alone.
        """
        samples = any(suite.samples for suite in self._suites.values())
        return (self._asking, id(self) if samples else None)

    @classmethod
    def score_together(
        cls, fitnesses: Sequence[LmEval], models: Sequence[MergedModel]
    ) -> list[FitnessResult]:
        """Score several objectives at once, as `lm_eval.simple_evaluate` does with their tasks."""
        from evomerge.fitness.lm_eval.requests import answer  # noqa: PLC0415
        from evomerge.fitness.lm_eval.tasks import (  # noqa: PLC0415
            as_seeded,
            hushed,
            templates_kept,
        )

        first = fitnesses[0]
        first._view = first._asking.view(models[0], first._view)
        language_model = first._view.model
        asked = [
            fitness._asked(model, language_model)
            for fitness, model in zip(fitnesses, models, strict=True)
        ]
        with hushed(), as_seeded(language_model.device), templates_kept():
            answer(language_model, chain.from_iterable(of_one.values() for of_one in asked))
            return [
                fitness._result(model, answered)
                for fitness, model, answered in zip(fitnesses, models, asked, strict=True)
            ]

    def _asked(self, model: MergedModel, language_model: Any) -> dict[str, list[Asked]]:
        """Return fresh requests of the model's items."""
        listing = self._listing(model)
        requests = self._requests(listing, self._suite(listing.split), language_model)
        return requests.ask(listing.documents(model.item_ids))

    def _result(self, model: MergedModel, answered: Mapping[str, list[Asked]]) -> FitnessResult:
        """Score answered requests."""
        from evomerge.fitness.lm_eval.scoring import chosen, examples, others, score  # noqa: PLC0415

        split = self._listing(model).split
        suite = self._suite(split)
        scores = score(suite, answered, self._bootstrap_iters)
        name, key = chosen(suite, scores, self.metric)
        metrics = {name: scores.metrics[suite.main][",".join(key)]} | others(suite, scores, key)
        middle = f"{split}/" if split else ""
        by_item = {
            f"{task}/{middle}{doc_id}": value
            for task, values in examples(suite, scores, key).items()
            for doc_id, value in values.items()
        }
        return FitnessResult(metrics, by_item)

    def _suite(self, split: DatasetSplit | None) -> Suite:
        """Load the tasks, once for each split of the dataset that is scored."""
        from evomerge.fitness.lm_eval.tasks import load_suite  # noqa: PLC0415

        if split not in self._suites:
            suite = load_suite(
                self._specs,
                include_path=self._include_path,
                metadata=self._metadata,
                overrides=self._overrides,
                split=split,
            )
            self._describe(suite)
            self._suites[split] = suite
        return self._suites[split]

    def _describe(self, suite: Suite) -> None:
        """Learn the metric where it is the only one, its direction and bounds where declared."""
        declared = dict.fromkeys(
            metric for task in suite.tasks.values() for metric in task.higher_is_better()
        )
        filters = dict.fromkeys(one.name for task in suite.tasks.values() for one in task._filters)
        if self.metric is None:
            listed = [f"{metric},{name}" for metric in declared for name in filters]
            if len(listed) > 1:
                raise FitnessError(
                    f"{suite.main} has several metrics: {'; '.join(listed)}; name one with 'metric'"
                )
            self.metric = next(iter(listed), None)
        metric = (self.metric or "").split(",")[0]
        upward = {
            task.higher_is_better()[metric]
            for task in suite.tasks.values()
            if metric in task.higher_is_better()
        }
        self.goal = "minimize" if upward == {False} else "maximize"
        self.bounds = BOUNDS.get(metric, (None, None))

    def _listing(self, model: MergedModel) -> _Listing:
        wanted = set(model.item_ids)
        for listing in self._listings.values():
            if wanted <= listing.places.keys():
                return listing
        raise FitnessError(
            "fitness 'lm_eval' scores documents of its tasks and was given other items; "
            "name them in the objective: search: {docs: [0, 200]}"
        )

    def _requests(self, listing: _Listing, suite: Suite, language_model: Any) -> Requests:
        from evomerge.fitness.lm_eval.requests import Prompting, Requests  # noqa: PLC0415

        # Without a template prompts are the same for every tokenizer.
        written_for = language_model if self._asking.chat else None
        if listing.requests is None or listing.written_for is not written_for:
            prompting: Prompting = Prompting(
                self._system,
                self._multiturn,
                language_model.apply_chat_template if self._asking.chat else None,
            )
            listing.requests = Requests(
                suite, listing.documents(listing.places), prompting, self._overrides.fewshot_seed
            )
            listing.written_for = written_for
        return listing.requests
