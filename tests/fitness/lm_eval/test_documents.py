"""Which documents are searched with and held out, and what is said of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomerge.errors import DataError, FitnessError, MissingExtra
from evomerge.fitness import check_fitness
from evomerge.fitness.lm_eval import LmEval, fitness
from evomerge.fitness.lm_eval.documents import Source, half_of, interleaved
from evomerge.fitness.public_tests import public_test

from .tasks_of_ours import N_DOCS

documents = st.lists(st.fixed_dictionaries({"q": st.text(max_size=5)}), max_size=30)


@given(documents)
def test_halves_are_all_documents_and_follow_from_content(docs):
    halves = {half: Source.parse({"half": half}).choose(docs) for half in ("search", "holdout")}
    assert sorted(halves["search"] + halves["holdout"]) == list(range(len(docs)))
    turned = {half: Source(half=half).choose(docs[::-1]) for half in halves}
    for half, chosen in halves.items():
        assert all(half_of(docs[k]) == half for k in chosen)
        assert [docs[k] for k in chosen] == [docs[::-1][k] for k in turned[half]]


def test_halves_are_about_equal():
    # 1000 fair coins fall within 4 standard deviations (63) of 500; a biased bit would not.
    count = sum(half_of({"n": n}) == "search" for n in range(1000))
    assert abs(count - 500) < 63


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_any_first_part_is_spread_over_the_tasks_in_proportion(counts):
    order = interleaved(counts)
    for task, count in enumerate(counts):
        assert [place for other, place in order if other == task] == list(range(count))
        seen = 0
        for position, (other, _) in enumerate(order, start=1):
            seen += other == task
            assert abs(seen - position * count / sum(counts)) <= len(counts)


def listed(tasks, name, source, limit=None):
    return LmEval(name, "exact_match,whole", include_path=tasks).list_items(source, limit)


def test_items_are_documents_by_position(tasks):
    items = listed(tasks, "sorted", {"docs": [2, 6]})
    assert [item["id"] for item in items] == ["sorted/2", "sorted/3", "sorted/4", "sorted/5"]
    assert items[0]["doc"]["prompt"].startswith("sort")
    assert [item["id"] for item in listed(tasks, "sorted", {"docs": [2, None]}, 1)] == ["sorted/2"]
    trained = listed(tasks, "sorted", {"docs": [0, 2], "split": "train"})
    assert [item["id"] for item in trained] == ["sorted/train/0", "sorted/train/1"]
    assert trained[0]["doc"] != items[0]["doc"]


def test_equal_documents_are_on_one_side(tasks):
    contents = [
        {str(item["doc"]["prompt"]) for item in listed(tasks, "sorted", {"half": half})}
        for half in ("search", "holdout")
    ]
    assert not contents[0] & contents[1]
    assert len(contents[0] | contents[1]) == N_DOCS  # three of the fifteen are there twice


def test_limits_spread_over_the_tasks_of_a_group(tasks):
    items = LmEval("by_size", "acc", include_path=tasks).list_items({"docs": [0, None]}, 6)
    assert [item["id"].split("/")[0] for item in items].count("pick_sort_down") in (2, 3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gsm8k.jsonl", "named by position: {docs: \\[0, 200\\]}, got 'gsm8k.jsonl'"),
        ({"doc": [0, 2]}, "key 'doc' is unknown; did you mean 'docs'"),
        ({"docs": [3, 3]}, "docs must be \\[first, last\\], last null for all, got \\[3, 3\\]"),
        ({"docs": [True, 3]}, "docs must be"),
        ({"half": "first"}, "half must be search or holdout, got 'first'"),
        ({"docs": [0, 2], "split": "dev"}, "split must be train or validation or test"),
        ({"docs": [400, None]}, "task 'sorted' has 15 documents, none of them in"),
        ({"split": "validation"}, "names no validation_split; it has training_split, test_split"),
    ],
)
def test_sources_that_are_none(tasks, source, message):
    with pytest.raises(DataError, match=message):
        listed(tasks, "sorted", source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": "sorte"}, "no task, group or tag 'sorte'; did you mean 'sorted'"),
        ({"tasks": []}, "tasks is empty"),
        ({"tasks": "sorted"}, "metrics: exact_match,first; exact_match,whole; name one"),
        ({"tasks": "sorted", "engine_args": {"seed": 1}}, "engine_args are vLLM's"),
        ({"tasks": "sorted", "include_path": "none"}, "is no folder; it holds YAML files"),
    ],
)
def test_what_is_wrong_is_told_before_the_run(tasks, tmp_path, options, message, monkeypatch):
    from evomerge.fitness.lm_eval import tasks as loading  # noqa: PLC0415

    index = loading._manager  # the harness's own thousands of files are not needed for a typo
    monkeypatch.setattr(loading, "_manager", lambda *args, shipped: index(*args, shipped=False))
    options.setdefault("include_path", str(tasks))
    spec = check_fitness("lm_eval", options, folder=tmp_path)

    def listed():
        return spec.build().load_items({"docs": [0, 2]}, folder=tmp_path)

    with pytest.raises(FitnessError, match=message):
        listed()


def test_unknown_metrics_name_those_there_are(merges, tasks):
    made = LmEval("sorted", "acc", include_path=tasks)
    with pytest.raises(FitnessError, match="no metric 'acc' but exact_match,first; exact_match,w"):
        merges[0].scored(made, made.list_items({"docs": [0, 2]}))
    made = LmEval("sorted", "exact_match", include_path=tasks)
    with pytest.raises(FitnessError, match="has the metrics exact_match,first; exact_match,whole"):
        merges[0].scored(made, made.list_items({"docs": [0, 2]}))


@pytest.mark.parametrize(
    ("name", "metric", "goal", "bounds"),
    [
        ("continued", "perplexity", "minimize", (1.0, None)),
        ("continued", "acc,none", "maximize", (0.0, 1.0)),
        ("rolling", "bits_per_byte", "minimize", (0.0, None)),
    ],
)
def test_the_direction_is_the_tasks_own(tasks, tmp_path, name, metric, goal, bounds):
    options = {"tasks": [name], "include_path": str(tasks)}
    bound = check_fitness("lm_eval", options, metric=metric, folder=tmp_path).build()
    bound.load_items({"docs": [0, 2]}, folder=tmp_path)
    assert (bound.goal, bound.bounds) == (goal, bounds)


def test_several_names_are_pooled_by_size(merges, tasks):
    both = LmEval(["pick_flip", "pick_sort_down"], "acc", include_path=tasks)
    pooled = merges[1].scored(both, both.list_items({"docs": [0, None]}))
    assert pooled.metrics["acc"] == pytest.approx(
        sum(pooled.examples.values()) / len(pooled.examples)
    )
    assert pooled.metrics["acc"] == pytest.approx(
        (10 * pooled.metrics["pick_flip/acc,none"] + 7 * pooled.metrics["pick_sort_down/acc,none"])
        / 17
    )


def test_code_of_the_model_runs_on_request_only(tasks, tmp_path):
    config = (tasks / "sorted.yaml").read_text().replace("task: sorted", "task: run_it", 1)
    (tmp_path / "run_it.yaml").write_text(f"{config}\nunsafe_code: true\n")
    options = {"tasks": "run_it", "metric": "exact_match,whole", "include_path": tmp_path}
    with pytest.raises(FitnessError, match="write 'confirm_run_unsafe_code: true'"):
        LmEval(**options).list_items({"docs": [0, 2]})
    assert LmEval(**options, confirm_run_unsafe_code=True).list_items({"docs": [0, 2]})


def test_without_the_extra(monkeypatch):
    monkeypatch.setattr(fitness.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"pip install 'evomerge\[lm-eval\]'"):
        LmEval("gsm8k")


@pytest.mark.parametrize(
    ("dataset", "split", "family"),
    [
        ("openai/gsm8k", "test", "GSM8K"),
        ("cais/mmlu", "test", "MMLU"),
        ("Rowan/hellaswag", "validation", "HellaSwag"),
        ("allenai/ai2_arc", "test[:200]", "ARC"),
        ("openai/gsm8k", "train", None),
        ("json", "test", None),
    ],
)
def test_public_test_sets_are_known(dataset, split, family):
    found = public_test(dataset, split)
    assert (found is not None and f"public {split.split('[')[0]} set of {family};" in found) or (
        found is None and family is None
    )
