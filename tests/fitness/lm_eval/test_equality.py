"""Scores are lm-evaluation-harness's own on the exported checkpoint, to the last bit."""

from __future__ import annotations

import pytest

from evomerge.errors import FitnessError
from evomerge.fitness.lm_eval import LmEval

from .conftest import RESAMPLES, make_merge

ALL = {"docs": [0, None]}
TEMPLATE = (
    "{% for message in messages %}{{ message.role[:1] + ' ' + message.content + ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}a {% endif %}"
)


def by_our_names(results, main):
    """Return the harness's results as ours are named: those of `main` without a prefix."""
    return {
        key if name == main else f"{name}/{key}": value
        for name, metrics in results.items()
        for key, value in metrics.items()
        if "," in key and value != "N/A"
    }


def by_item(samples, metric):
    """Return the harness's scores of single documents, named as our items are."""
    name, _, wanted = metric.partition(",")
    return {
        f"{task}/{sample['doc_id']}": float(sample[name])
        for task, of_task in samples.items()
        for sample in of_task
        if sample["filter"] == wanted
    }


def compare(merge, tasks, name, metric, *, dtype="float32", batch_size=4, **options):
    """Score one task both ways and require the same, then return our result."""
    fitness = LmEval(
        name,
        metric,
        include_path=tasks,
        batch_size=batch_size,
        bootstrap_iters=RESAMPLES,
        **options,
    )
    ours = merge.scored(fitness, fitness.list_items(ALL))
    if "fewshot_seed" in options:
        options["fewshot_random_seed"] = options.pop("fewshot_seed")
    theirs = merge.harness(tasks, [name], dtype=dtype, batch_size=batch_size, **options)
    assert ours.metrics == by_our_names(theirs["results"], name)
    if ours.examples:
        assert ours.examples == by_item(theirs["samples"], metric)
    return ours


@pytest.mark.parametrize(
    ("name", "metric", "per_example"),
    [
        ("pick_flip", "acc,none", True),
        ("continued", "acc,none", True),
        ("continued", "perplexity,none", False),
        ("rolling", "bits_per_byte,none", False),
        ("sorted", "exact_match,whole", True),
        ("sorted", "exact_match,first", True),
        ("translated", "chrf,none", False),
    ],
)
def test_tasks(merges, tasks, name, metric, per_example):
    ours = compare(merges[1], tasks, name, metric)
    assert bool(ours.examples) is per_example
    if per_example:
        scores = ours.examples.values()
        assert 0 < sum(scores) < len(scores)  # some right, some wrong: there is something to miss
        assert ours.metrics[metric] == sum(scores) / len(scores)
        stderr = metric.replace(",", "_stderr,")
        assert ours.metrics[stderr] > 0


@pytest.mark.parametrize(
    ("name", "per_example"), [("by_size", True), ("equally", False), ("nested", True)]
)
def test_groups(merges, tasks, name, per_example):
    ours = compare(merges[1], tasks, name, "acc,none")
    assert bool(ours.examples) is per_example
    assert {"pick_sort_up/acc,none", "pick_sort_down/acc_norm_stderr,none"} <= set(ours.metrics)


def test_batch_sizes_that_leave_a_rest(merges, tasks):
    found = [
        compare(merges[0], tasks, "continued", "perplexity,none", batch_size=batch_size)
        for batch_size in (1, 7)
    ]
    one, seven = (ours.metrics["perplexity,none"] for ours in found)
    assert one == pytest.approx(seven, rel=1e-4)


def test_examples_before_the_question(merges, tasks):
    plain = compare(merges[0], tasks, "continued", "perplexity,none")
    shown = compare(merges[0], tasks, "continued", "perplexity,none", num_fewshot=1)
    other = compare(
        merges[0],
        tasks,
        "continued",
        "perplexity,none",
        num_fewshot=1,
        fewshot_seed=7,
    )
    values = [one.metrics["perplexity,none"] for one in (plain, shown, other)]
    assert len(set(values)) == 3


@pytest.mark.parametrize("source", [{"docs": [3, 9]}, {"half": "search"}])
def test_some_documents(merges, tasks, source):
    fitness = LmEval(
        "nested", "acc,none", include_path=tasks, num_fewshot=1, bootstrap_iters=RESAMPLES
    )
    items = fitness.list_items(source)
    ours = merges[1].scored(fitness, items)
    chosen = {}
    for item in items:
        task, _, number = item["id"].partition("/")
        chosen.setdefault(task, []).append(int(number))
    samples = {task: sorted(numbers) for task, numbers in chosen.items()}
    theirs = merges[1].harness(tasks, ["nested"], num_fewshot=1, samples=samples)
    assert ours.metrics == by_our_names(theirs["results"], "nested")
    assert ours.examples == by_item(theirs["samples"], "acc,none")
    assert set(ours.examples) == {item["id"] for item in items}


def test_prompts_that_are_too_long_lose_their_beginning(merges, tasks):
    few, more = (
        compare(merges[0], tasks, "continued", "perplexity,none", num_fewshot=n) for n in (1, 4)
    )
    assert few.metrics["perplexity,none"] != more.metrics["perplexity,none"]
    cut = compare(merges[0], tasks, "sorted", "exact_match,whole", num_fewshot=3)
    assert cut.examples


def test_generation_arguments(merges, tasks):
    plain = compare(merges[0], tasks, "sorted", "exact_match,whole")
    cut = (
        {"max_gen_toks": 4},
        {"until": ["8"]},
        {"until": ["2 ", "0"], "max_gen_toks": 20},
    )
    for arguments in (*cut, {"num_beams": 2}, {"repetition_penalty": 1.3}):
        ours = compare(merges[0], tasks, "sorted", "exact_match,whole", gen_kwargs=arguments)
        assert set(ours.examples) == set(plain.examples)


def test_sampled_answers_and_votes(merges, tasks):
    ours = compare(merges[1], tasks, "voted", "exact_match,vote")
    assert 0 < ours.metrics["exact_match,vote"] < 1


def test_what_the_generation_configuration_says(tasks, tmp_path):
    merge = make_merge(tmp_path / "merge", sort_up=0.6)
    plain = compare(merge, tasks, "sorted", "exact_match,whole")
    # It is read from the exported folder there, so write it where both see it.
    merge.module.generation_config.update(repetition_penalty=1.5, eos_token_id=[2, 21])
    merge.module.generation_config.save_pretrained(merge.folder)
    merge.exported = None
    changed = compare(merge, tasks, "sorted", "exact_match,whole")
    assert changed.metrics != plain.metrics


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(tasks, tmp_path, dtype):
    merge = make_merge(tmp_path / "merge", dtype, sort_down=0.4, flip=0.3)
    for name, metric in (
        ("pick_flip", "acc,none"),
        ("continued", "perplexity,none"),
        ("rolling", "bits_per_byte,none"),
        ("sorted", "exact_match,whole"),
    ):
        ours = compare(merge, tasks, name, metric, dtype=dtype)
        assert metric in ours.metrics


def test_chat_templates(tasks, tmp_path):
    merge = make_merge(tmp_path / "merge", sort_up=0.6, flip=0.3)
    with pytest.raises(FitnessError, match="has no chat template; set apply_chat_template: false"):
        compare(merge, tasks, "sorted", "exact_match,whole", apply_chat_template=True)
    merge.tokenizer.chat_template = TEMPLATE
    merge.tokenizer.save_pretrained(merge.folder)
    merge.exported = None
    found = [
        compare(merge, tasks, "continued", "perplexity,none", **options).metrics["perplexity,none"]
        for options in (
            {},
            {"apply_chat_template": True},
            {"apply_chat_template": True, "system_instruction": "sort"},
            {"apply_chat_template": True, "num_fewshot": 1},
            {"apply_chat_template": True, "num_fewshot": 1, "fewshot_as_multiturn": False},
        )
    ]
    assert len(set(found)) == len(found)
    with pytest.raises(FitnessError, match="one chat template, without a name; write 'true'"):
        compare(merge, tasks, "continued", "acc,none", apply_chat_template="default")


def test_a_template_by_its_name(tasks, tmp_path):
    merge = make_merge(tmp_path / "merge", sort_up=0.6)
    merge.tokenizer.chat_template = {"default": TEMPLATE, "short": "{{ messages[-1].content }}"}
    found = {}
    for name in (True, "default", "short"):
        fitness = LmEval("continued", "perplexity", include_path=tasks, apply_chat_template=name)
        scored = merge.scored(fitness, fitness.list_items(ALL))
        found[name] = scored.metrics["perplexity"]
    plain = LmEval("continued", "perplexity", include_path=tasks)
    without = merge.scored(plain, plain.list_items(ALL)).metrics["perplexity"]
    assert found[True] == found["default"] != found["short"] == without
    fitness = LmEval("continued", "acc", include_path=tasks, apply_chat_template="shirt")
    with pytest.raises(FitnessError, match="no chat template 'shirt'; did you mean 'short'"):
        merge.scored(fitness, fitness.list_items(ALL))
