"""What the tests put in the place of the fitness lm_eval: its arguments, and scores of weights."""

from __future__ import annotations

from evomerge.types import FitnessResult

ARGUMENTS: list[dict] = []


class LmEval:
    """Two metrics under the harness's names, functions of the merged weights."""

    def __init__(
        self,
        tasks: list[str],
        num_fewshot: int | None = None,
        apply_chat_template: bool = False,
        fewshot_as_multiturn: bool = False,
        include_path: str | None = None,
        batch_size: int = 1,
    ):
        ARGUMENTS.append(dict(locals()))
        self.task = tasks[0]

    def __call__(self, model):
        size = sum(float(one.float().abs().mean()) for one in model.module.parameters())
        target = 0.4 if self.task == "qa" else 0.6
        return FitnessResult({"acc,none": -abs(size - target), "word_perplexity,none": size})
