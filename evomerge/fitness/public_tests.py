"""Benchmarks whose test sets are public: searching on them is reported, since it is cheating.

A model that was chosen by a benchmark's test questions has a score on that benchmark that means
nothing. Such a search is a user's right, and its report must say what it did.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A family of benchmarks and where its scores come from.

    Attributes:
        name: as papers call it.
        datasets: what the dataset's name on the hub holds, after the owner, in lower case.
        splits: the splits of the dataset that its published scores are taken on.
    """

    name: str
    datasets: tuple[str, ...]
    splits: tuple[str, ...] = ("test",)


BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark("AGIEval", ("agieval",)),
    Benchmark("AIME", ("aime",), ("train", "test")),
    Benchmark("ANLI", ("anli",), ("test_r1", "test_r2", "test_r3")),
    Benchmark("ARC", ("ai2_arc",)),
    Benchmark("BBH", ("bbh", "big-bench-hard")),
    Benchmark("BoolQ, COPA, RTE, WiC, WSC, MultiRC and ReCoRD", ("super_glue",), ("validation",)),
    Benchmark("C-Eval", ("ceval-exam",), ("val", "test")),
    Benchmark("CMMLU", ("cmmlu",)),
    Benchmark("CommonsenseQA", ("commonsense_qa",), ("validation",)),
    Benchmark("DROP", ("drop",), ("validation",)),
    Benchmark("GLUE", ("glue",), ("validation", "validation_matched", "validation_mismatched")),
    Benchmark("GPQA", ("gpqa",), ("train",)),
    Benchmark("GSM8K", ("gsm8k", "gsm-plus")),
    Benchmark("HellaSwag", ("hellaswag",), ("validation",)),
    Benchmark("HumanEval", ("openai_humaneval", "humanevalplus")),
    Benchmark("IFEval", ("ifeval",), ("train", "test")),
    Benchmark("LAMBADA", ("lambada", "lambada_openai")),
    Benchmark("LogiQA", ("logiqa",)),
    Benchmark("MATH", ("hendrycks_math", "math-500", "competition_math")),
    Benchmark("MathQA", ("math_qa",)),
    Benchmark("MBPP", ("mbpp", "mbppplus")),
    Benchmark("MGSM", ("mgsm",)),
    Benchmark("MMLU", ("mmlu", "mmlu-pro", "mmlu-redux", "mmmlu", "global-mmlu", "hendrycks_test")),
    Benchmark("Natural Questions", ("nq_open",), ("validation",)),
    Benchmark("OpenBookQA", ("openbookqa",)),
    Benchmark("PIQA", ("piqa",), ("validation",)),
    Benchmark("RACE", ("race",)),
    Benchmark("SciQ", ("sciq",)),
    Benchmark("SIQA", ("siqa", "social_i_qa"), ("validation",)),
    Benchmark("SQuAD", ("squad", "squad_v2"), ("validation",)),
    Benchmark("SWAG", ("swag",), ("validation",)),
    Benchmark(
        "tinyBenchmarks",
        (
            *("tinyai2_arc", "tinyalpacaeval", "tinygsm8k", "tinyhellaswag", "tinymmlu"),
            *("tinytruthfulqa", "tinywinogrande"),
        ),
        ("test", "validation"),
    ),
    Benchmark("TriviaQA", ("trivia_qa",), ("validation",)),
    Benchmark("TruthfulQA", ("truthful_qa",), ("validation",)),
    Benchmark("WikiText", ("wikitext", "wikitext_document_level")),
    Benchmark("WinoGrande", ("winogrande",), ("validation",)),
    Benchmark("XCOPA", ("xcopa",)),
    Benchmark("XNLI", ("xnli",), ("validation", "test")),
)


def public_test(dataset: str, split: str) -> str | None:
    """Return a warning if a split of a dataset is what a benchmark's scores are taken on.

    Args:
        dataset: its name on the hub, 'openai/gsm8k', or a folder with such a name.
        split: as the dataset calls it; a slice like 'test[:100]' is part of its split.
    """
    name = dataset.rstrip("/").rpartition("/")[2].lower()
    part = split.partition("[")[0]
    for benchmark in BENCHMARKS:
        if name in benchmark.datasets and part in benchmark.splits:
            return (
                f"the search scores the public {part} set of {benchmark.name}; what it finds is "
                f"fitted to that set, so do not report {benchmark.name} scores of it"
            )
    return None


def public_test_of(source: object) -> Iterable[str]:
    """Yield the warning for a `datasets` mapping of a study file, if there is one."""
    if isinstance(source, dict) and "dataset" in source:
        found = public_test(str(source["dataset"]), str(source.get("split", "")))
        if found is not None:
            yield found
