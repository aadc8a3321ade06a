"""The resident model as lm-evaluation-harness sees it: its Hugging Face model, without the waste.

`ResidentLM` gives what `lm_eval.models.huggingface.HFLM` gives on the exported checkpoint with the
same batch size: the forward passes have the same rows in the same order under the same padding, so
that log-likelihoods agree to the last bit. What it saves is what does not depend on the weights
(tokens are kept from candidate to candidate) and what nobody reads (probabilities are taken where a
continuation is scored, not at every position; answers end where they are complete).
"""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, TypeAlias

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    has_bos_prefix,
    normalize_gen_kwargs,
    postprocess_generated_text,
)

from evomerge.errors import FitnessError
from evomerge.fitness.decoding import decode
from evomerge.fitness.drafts import Drafts
from evomerge.fitness.lm_eval.shared_contexts import choice_log_probabilities, context_batches

Encoded: TypeAlias = tuple[Any, list[int], list[int]]
"""A request's text, its context's tokens, and those of the scored continuation."""

ROWS = 64
MOST_NUMBERS = 2**30
"""Logits, or cached keys and values, of a batch whose size nobody has chosen: 2 GB in 16 bits."""

_GREEDY = frozenset({"until", "max_gen_toks", "do_sample", "temperature", "top_k", "top_p"})
# What a generation configuration may say without changing what greedy decoding gives.
_HARMLESS = frozenset(
    {
        *("bos_token_id", "eos_token_id", "pad_token_id", "do_sample", "temperature", "top_k"),
        *("top_p", "max_length", "use_cache", "transformers_version", "_from_model_config"),
        *("output_attentions", "output_hidden_states"),
    }
)


class ResidentLM(HFLM):  # type: ignore[misc]  # the harness is untyped
    """A language model of the harness whose weights change in place.

    Greedy answers of decoder models are decoded by `evomerge.fitness.decoding`; sampling, beams,
    penalties and encoder-decoder models go through transformers' own generation, as in `HFLM`. An
    answer is that of `HFLM` at batch size 1 and, save one case, at any other: where a row says an
    end-of-text token that the model's generation configuration does not name, `HFLM` lets it go on
    while others of its batch are unfinished. Here it ends.

    Args:
        tokenizer: of the model; it is copied, since the harness adds a padding token to it.
        module: the transformers model; `load` puts another in its place.
        batch_size: rows of a forward pass; None for `ROWS`, in our own loops fewer where these
            would not fit.
        chat_template: which of several templates of the tokenizer writes conversations.
        share_contexts: compute a context once for all of its continuations; log-likelihoods are
            then not `HFLM`'s to the last bit.
        drafts: check earlier candidates' answers at once (`evomerge.fitness.drafts`); answers are
            then `HFLM`'s but for near ties.
    """

    def __init__(
        self,
        module: Any,
        tokenizer: Any,
        *,
        batch_size: int | None = None,
        chat_template: str | None = None,
        share_contexts: bool = False,
        drafts: bool = False,
    ) -> None:
        super().__init__(
            pretrained=module,
            tokenizer=copy.deepcopy(tokenizer),
            batch_size=batch_size or ROWS,
            chat_template_args={"chat_template": chat_template} if chat_template else None,
        )
        self._fits = batch_size is None
        self._share_contexts = share_contexts
        self._drafts = Drafts() if drafts else None
        self._texts: dict[tuple[str, bool | None], list[int]] = {}
        self._pairs: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
        self._prompts: dict[str, list[int]] = {}
        self._stopping: dict[tuple[str, ...], Callable[[list[int]], bool]] = {}
        self._generation: Any = None
        self._declared: frozenset[str] = frozenset()
        self.load(module)

    def load(self, module: Any) -> None:
        """Answer by another module from now on, or by the same with other weights."""
        self._model = module
        self._config = module.config
        self._device = module.device
        declared = getattr(module, "generation_config", None)
        if declared is not self._generation:  # comparing it with the defaults takes a millisecond
            self._generation = declared
            self._declared = frozenset(() if declared is None else declared.to_diff_dict())

    def tok_encode(
        self,
        string: str,
        add_special_tokens: bool | None = None,
        left_truncate_len: int | None = None,
        **kwargs: Any,
    ) -> list[int]:
        """Tokenize a text, once."""
        if left_truncate_len is not None or kwargs:
            return list(super().tok_encode(string, add_special_tokens, left_truncate_len, **kwargs))
        key = (string, add_special_tokens)
        if key not in self._texts:
            self._texts[key] = list(super().tok_encode(string, add_special_tokens))
        return self._texts[key]

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        key = (context, continuation)
        if key not in self._pairs:
            self._pairs[key] = super()._encode_pair(context, continuation)
        return self._pairs[key]

    def _loglikelihood_tokens(
        self,
        requests: Sequence[Encoded],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        """Score continuations; those that differ in their last token only share a row."""
        if self.backend != "causal":
            found: list[tuple[float, bool]] = super()._loglikelihood_tokens(
                list(requests), disable_tqdm=disable_tqdm, override_bs=override_bs
            )
            return found
        results: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        alone: Sequence[int] = range(len(requests))
        if self._share_contexts:
            alone = self._score_choices(requests, results)
        rows: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for number in alone:
            _, context, continuation = requests[number]
            self._check_pair(context, continuation)
            rows[(*context, *continuation[:-1])].append(number)
        ordered = sorted(rows, key=lambda row: (-len(row), row))
        while ordered:
            most = self._rows(logits=min(len(ordered[0]), self.max_length))
            batch, ordered = ordered[:most], ordered[most:]
            targets = [[(number, requests[number][2]) for number in rows[row]] for row in batch]
            inputs = [row[-self.max_length :] for row in batch]
            for number, result in self._score_rows(inputs, targets):
                results[number] = result
        return results

    def _rows(self, *, logits: int = 0, cached: int = 0) -> int:
        """Return how many rows a batch has.

        Args:
            logits: positions of a row that have logits.
            cached: tokens of a row whose keys and values are kept.
        """
        if not self._fits:
            return int(self.batch_size)
        text = self._config.get_text_config()
        heads = getattr(text, "num_attention_heads", 1)
        size = getattr(text, "head_dim", None) or text.hidden_size // heads
        width = 2 * size * (getattr(text, "num_key_value_heads", None) or heads)
        most: int = MOST_NUMBERS // max(
            logits * text.vocab_size, cached * width * text.num_hidden_layers, 1
        )
        return max(1, min(ROWS, most))

    def _score_choices(
        self, requests: Sequence[Encoded], results: list[tuple[float, bool]]
    ) -> Sequence[int]:
        """Score continuations whose context is another's too; return those that are left."""
        by_context: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for number, (_, context, continuation) in enumerate(requests):
            self._check_pair(context, continuation)
            if len(context) + len(continuation) <= self.max_length:  # no context is cut
                by_context[tuple(context)].append(number)
        shared = {key: numbers for key, numbers in by_context.items() if len(numbers) > 1}
        contexts = sorted(shared, key=lambda context: (-len(context), context))
        sizes = [len(shared[context]) for context in contexts]
        lengths = [
            len(requests[number][1]) + len(requests[number][2])
            for number in chain.from_iterable(shared.values())
        ]
        longest = max(lengths, default=0)
        for batch in context_batches(sizes, self._rows(logits=longest, cached=longest)):
            questions = [
                (contexts[k], [requests[number][2] for number in shared[contexts[k]]])
                for k in batch
            ]
            with torch.inference_mode():
                found = choice_log_probabilities(self.model, questions, self.device)
            numbers = [number for k in batch for number in shared[contexts[k]]]
            for number, scores in zip(numbers, found, strict=True):
                wanted = torch.tensor(requests[number][2], device=self.device)
                chosen = scores.gather(-1, wanted[:, None]).sum()
                is_greedy = bool((scores.argmax(-1) == wanted).all())
                results[number] = (float(chosen), is_greedy)
        done = {number for numbers in shared.values() for number in numbers}
        return [number for number in range(len(requests)) if number not in done]

    def _score_rows(
        self,
        inputs: Sequence[Sequence[int]],
        targets: Sequence[Sequence[tuple[int, Sequence[int]]]],
    ) -> list[tuple[int, tuple[float, bool]]]:
        """Score the continuations that end where each row's next token would be.

        The sum over a continuation is taken by itself, in the logits' dtype, as `HFLM` does: in 16
        bits any other order of summation would be another result.
        """
        width = max(map(len, inputs))
        ids = torch.tensor([[*row, *([0] * (width - len(row)))] for row in inputs])
        logits = self._model_call(ids.to(self.device))
        place: list[tuple[int, int]] = []  # scored positions, row by row
        read: list[int] = []
        tokens: list[int] = []
        spans: list[tuple[int, int, int]] = []
        for row, (own, answered) in enumerate(zip(inputs, targets, strict=True)):
            longest = max(len(continuation) for _, continuation in answered)
            place += [(row, column) for column in range(len(own) - longest, len(own))]
            for number, continuation in answered:
                spans.append((number, len(read), len(read) + len(continuation)))
                read += range(len(place) - len(continuation), len(place))
                tokens += continuation
        at = torch.tensor(place, device=self.device).T
        log_probabilities = torch.log_softmax(logits[at[0], at[1]], -1, dtype=self.softmax_dtype)
        index = torch.tensor(read, device=self.device)
        wanted = torch.tensor(tokens, device=self.device)
        chosen = log_probabilities[index, wanted]
        hits = (log_probabilities.argmax(-1)[index] == wanted).tolist()
        totals = torch.stack([chosen[first:last].sum() for _, first, last in spans]).tolist()
        return [
            (number, (total, all(hits[first:last])))
            for (number, first, last), total in zip(spans, totals, strict=True)
        ]

    def _check_pair(self, context: Sequence[int], continuation: Sequence[int]) -> None:
        if not context or not continuation:
            raise FitnessError(
                "a request has a context or a continuation without tokens, which has no likelihood"
            )
        if len(continuation) > self.max_length:
            raise FitnessError(
                f"a continuation takes {len(continuation)} tokens and the model has "
                f"{self.max_length} positions; leave the document out"
            )

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Continue prompts until a stop text, the end of the text or the most tokens allowed.

        Raises:
            FitnessError: the answers alone fill all positions of the model.
        """
        groups: dict[str, list[int]] = defaultdict(list)
        for number, request in enumerate(requests):
            groups[json.dumps(request.args[1], sort_keys=True, default=str)].append(number)
        found = [""] * len(requests)
        greedy: list[list[int]] = []
        others: list[list[int]] = []
        for numbers in groups.values():
            (greedy if self._is_greedy(requests[numbers[0]].args[1]) else others).append(numbers)
        if others:
            kept = sorted(chain.from_iterable(others))
            answers = super().generate_until([requests[n] for n in kept], disable_tqdm=disable_tqdm)
            for number, text in zip(kept, answers, strict=True):
                found[number] = text
        for numbers in greedy:
            # In the harness's order, so that its batches are ours.
            ordered = sorted(
                numbers,
                key=lambda number: (
                    -len(self.tok_encode(requests[number].args[0])),
                    requests[number].args[0],
                ),
            )
            texts = self._decode_greedily(
                [requests[number].args[0] for number in ordered], requests[ordered[0]].args[1]
            )
            for number, text in zip(ordered, texts, strict=True):
                found[number] = text
        return found

    def _decode_greedily(self, prompts: Sequence[str], gen_kwargs: Mapping[str, Any]) -> list[str]:
        kwargs: Mapping[str, Any] = normalize_gen_kwargs(dict(gen_kwargs), self.max_gen_toks)
        eos = self.tok_decode(self.eot_token_id, skip_special_tokens=False)
        until = handle_stop_sequences(kwargs["until"], eos=eos)
        room = self.max_length - kwargs["max_gen_toks"]
        if room <= 0:
            raise FitnessError(
                f"answers of up to {kwargs['max_gen_toks']} tokens leave no room for a prompt in "
                f"the model's {self.max_length} positions; set gen_kwargs: {{max_gen_toks: ...}}"
            )
        encoded = [self._encode_prompt(prompt)[-room:] for prompt in prompts]
        if not all(encoded):
            raise FitnessError("a prompt has no tokens; give the task a description or a question")
        answers = decode(
            self.model,
            encoded,
            max_new_tokens=kwargs["max_gen_toks"],
            batch_size=self._rows(cached=max(map(len, encoded)) + kwargs["max_gen_toks"]),
            eos=self._end_tokens(),
            device=torch.device(self.device),
            stops=self._stops(until),
            shrink=self.model.dtype.itemsize > 2,
            drafts=self._drafts,
        )
        return [
            postprocess_generated_text(self.tok_decode(tokens), until, None) for tokens in answers
        ]

    def _encode_prompt(self, prompt: str) -> list[int]:
        if prompt not in self._prompts:
            written = has_bos_prefix(prompt, getattr(self.tokenizer, "bos_token", None))
            options = {"add_special_tokens": False} if written else {}
            self._prompts[prompt] = self.tokenizer(prompt, **options)["input_ids"]
        return self._prompts[prompt]

    def _is_greedy(self, gen_kwargs: Mapping[str, Any]) -> bool:
        """Say whether our own loop gives what transformers' generation would."""
        kwargs: Mapping[str, Any] = normalize_gen_kwargs(dict(gen_kwargs), self.max_gen_toks)
        special = set(self.tokenizer.all_special_ids)
        return (
            self.backend == "causal"
            and not kwargs["do_sample"]
            and set(kwargs) <= _GREEDY
            and self._declared <= _HARMLESS
            and self._end_tokens() <= special  # others would show in the text
        )

    def _end_tokens(self) -> frozenset[int]:
        declared = getattr(self.model, "generation_config", None)
        ends = getattr(declared, "eos_token_id", None)
        ends = [ends] if isinstance(ends, int) else list(ends or ())
        return frozenset(end for end in (*ends, self.eot_token_id) if end is not None)

    def _stops(self, until: Sequence[str]) -> Callable[[list[int]], bool]:
        """Return what says whether a row's new tokens hold a stop text; special tokens count."""
        texts = tuple(text for text in until if text)
        if texts not in self._stopping:
            # A token shows at least a byte, and a decoder may trim the first one's space.
            window = max(len(text.encode()) for text in texts) + 1 if texts else 0

            decode_tokens = self.tokenizer.decode  # and not `self`, which would hold the module

            @lru_cache(maxsize=1 << 16)  # one candidate after another says the same
            def ends(tokens: tuple[int, ...]) -> bool:
                tail = decode_tokens(tokens, skip_special_tokens=False)
                return any(text in tail for text in texts)

            self._stopping[texts] = lambda tokens: ends(tuple(tokens[-window:]))
        return self._stopping[texts]
