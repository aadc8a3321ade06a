"""Program test: what the model writes runs and passes the item's tests, or it does not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from pydantic import PositiveFloat, PositiveInt

from evomerge.errors import DataError, FitnessError
from evomerge.fitness.asking import Asking
from evomerge.fitness.data import item_field, text_field
from evomerge.fitness.model import MergedModel
from evomerge.fitness.pass_at_k import pass_at_k
from evomerge.fitness.protocol import Item
from evomerge.fitness.sandbox import Limits, Verdict, check_sandbox, run_program
from evomerge.types import Bounds, FitnessResult, Goal

STOP = ["\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\nassert ", "\n```"]
"""What ends a function that was begun in the prompt (those of HumanEval, and two more)."""

_METRIC = re.compile(r"pass@([1-9]\d*)")
_FIELD = re.compile(r"\{(\w+)\}")
_FENCE = re.compile(r"```[^\n]*\n(.*?)(?:\n```|\Z)", re.DOTALL)


class ProgramTest:
    """Share of items for which the model writes a program that passes the item's tests.

    Programs run in a sandbox; `evomerge.fitness.sandbox` says what it defends and what it does not.
    Where it cannot be had, nothing is run: the study is refused.

    An item of HumanEval goes with `entry_point_field: entry_point`; one of MBPP with
    `prompt_field: text, test_field: test_list, program: "{completion}", fenced: true`.

    With one greedy sample 'pass@1' is what is known as accuracy. With `samples` the answers are
    drawn at random, the same for every candidate as far as the models agree, and pass@k is
    estimated without bias (see `pass_at_k`).

    Args:
        prompt_field: field with the prompt.
        test_field: field with the tests: code, or a list of lines. They run after the program, in
            its namespace; what they raise is a failure.
        entry_point_field: field with the name of a function, which the tests' `check` is called
            with at the end.
        program: the program, with fields of the item and the answer in braces.
        fenced: of an answer with a fenced block take the block alone.
        max_new_tokens: longest answer.
        stop: texts that end an answer; what follows a function by default, none with `fenced`.
        chat: put prompts into the tokenizer's chat template.
        samples: answers to each prompt; the single one is greedy unless there is a temperature.
        temperature: of sampling; 0.8 by default.
        top_p: of sampling.
        sample_seed: of sampling.
        metric: 'pass@1', or another pass@k with k up to `samples`.
        timeout_s: seconds a program may take with its tests; where it is close to what programs
            need, scores depend on how busy the machine is.
        memory_mb: MiB it may take.
        file_mb: MiB a file that it writes may have.
        allow_network: run programs where they cannot be kept from the network.
        allow_files: run programs where they cannot be kept from files.
        processes: how many programs run at once.
        batch_size: prompts answered together.
    """

    goal: ClassVar[Goal] = "maximize"
    bounds: ClassVar[Bounds] = (0.0, 1.0)
    needs_items: ClassVar[bool] = True

    def __init__(
        self,
        prompt_field: str = "prompt",
        test_field: str = "test",
        entry_point_field: str | None = None,
        program: str = "{prompt}{completion}",
        fenced: bool = False,
        max_new_tokens: PositiveInt = 256,
        stop: list[str] | None = None,
        chat: bool = False,
        samples: PositiveInt = 1,
        temperature: PositiveFloat | None = None,
        top_p: PositiveFloat = 0.95,
        sample_seed: int = 0,
        metric: str = "pass@1",
        timeout_s: PositiveFloat = 5.0,
        memory_mb: PositiveInt = 512,
        file_mb: PositiveInt = 16,
        allow_network: bool = False,
        allow_files: bool = False,
        processes: PositiveInt = 2,
        batch_size: PositiveInt = 64,
    ) -> None:
        found = _METRIC.fullmatch(metric)
        if found is None or int(found[1]) > samples:
            raise FitnessError(
                f"metric must be pass@k with k from 1 to samples ({samples}), got '{metric}'"
            )
        if "completion" not in _FIELD.findall(program):
            raise FitnessError(f"program must contain '{{completion}}', got '{program}'")
        entry = [entry_point_field] if entry_point_field is not None else []
        self.fields = (prompt_field, test_field, *entry)
        self.metric = metric
        self._program = program
        self._fenced = fenced
        self._max_new_tokens = max_new_tokens
        self._samples = samples
        if samples > 1 and temperature is None:
            temperature = 0.8
        if stop is None:
            stop = [] if fenced else STOP
        endings = tuple(stop)
        self._asking = Asking(chat, endings, batch_size, samples, temperature, top_p, sample_seed)
        self._processes = processes
        self._limits = Limits(timeout_s, memory_mb, file_mb, allow_network, allow_files)
        check_sandbox(self._limits)

    def __call__(self, model: MergedModel) -> FitnessResult:
        """Score an item by pass@k; notes are the other metrics and how many programs timed out."""
        prompts = [text_field(item, self.fields[0]) for item in model.items]
        tests = [self._tests(item) for item in model.items]
        asked = self._asking.answers(model, prompts, self._max_new_tokens)
        jobs = [
            (self._assembled(item, answer), test)
            for item, answers, test in zip(model.items, asked, tests, strict=True)
            for answer in answers
        ]
        distinct = list(dict.fromkeys(jobs))
        with ThreadPoolExecutor(self._processes) as pool:
            verdicts = dict(zip(distinct, pool.map(self._run, distinct), strict=True))
        return self._result(model.item_ids, [verdicts[job] for job in jobs])

    def _run(self, job: tuple[str, str]) -> Verdict:
        program, tests = job
        return run_program(program, tests, self._limits)

    def _result(self, ids: Sequence[str], verdicts: Sequence[Verdict]) -> FitnessResult:
        n = self._samples
        passed = [
            sum(verdict.passed for verdict in verdicts[start : start + n])
            for start in range(0, len(verdicts), n)
        ]
        metrics, examples = {}, {}
        for name in dict.fromkeys(("pass@1", self.metric)):
            k = int(name.removeprefix("pass@"))
            scores = [pass_at_k(n, c, k) for c in passed]
            metrics[name] = sum(scores) / len(scores)
            examples[name] = dict(zip(ids, scores, strict=True))
        metrics["timed_out"] = sum(verdict.timed_out for verdict in verdicts) / len(verdicts)
        return FitnessResult(metrics, examples[self.metric])

    def _assembled(self, item: Item, answer: str) -> str:
        block = _FENCE.search(answer) if self._fenced else None
        completion = answer if block is None else block[1]

        def filled(match: re.Match[str]) -> str:
            return completion if match[1] == "completion" else text_field(item, match[1])

        return _FIELD.sub(filled, self._program)

    def _tests(self, item: Item) -> str:
        _, test_field, *entry = self.fields
        value = item_field(item, test_field)
        lines = value if isinstance(value, list | tuple) else [value]
        if not lines or not all(isinstance(line, str) and line.strip() for line in lines):
            raise DataError(
                f"item '{item['id']}': field '{test_field}' must be code or a list of lines of "
                f"code, got {value!r:.80}"
            )
        calls = [f"check({text_field(item, name)})" for name in entry]
        return "\n".join([*lines, *calls])
