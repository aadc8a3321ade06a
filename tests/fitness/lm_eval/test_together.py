"""Objectives that ask the model alike are scored at once, as the harness scores their tasks."""

from __future__ import annotations

from contextlib import suppress
from functools import wraps

import pytest
from lm_eval.models.huggingface import HFLM

from evomerge.errors import FitnessError
from evomerge.fitness import build_fitness, score_together
from evomerge.fitness.lm_eval import LmEval
from evomerge.fitness.lm_eval.resident import MOST_NUMBERS, ROWS, ResidentLM

from .test_equality import ALL, by_item, by_our_names

TASKS = {
    "continued": "perplexity,none",
    "pick_flip": "acc,none",
    "sorted": "exact_match,whole",
    "translated": "chrf,none",
}


@pytest.fixture
def passes(merges, monkeypatch):
    """The rows of each forward pass."""
    found = []
    kind = type(merges[0].module)
    own = kind.forward

    def counted(module, *args, **options):
        found.append(len(options["input_ids"] if "input_ids" in options else args[0]))
        return own(module, *args, **options)

    monkeypatch.setattr(kind, "forward", wraps(own)(counted))
    return found


def bound(tasks, name, **options):
    args = {"tasks": [name], "include_path": str(tasks), "batch_size": 32, **options}
    return build_fitness("lm_eval", args, metric=TASKS[name], folder=tasks)


def models(merge, fitnesses):
    return [merge.view(one.load_items(ALL, folder=merge.folder)) for one in fitnesses]


def test_several_objectives_score_as_the_harness_scores_their_tasks(merges, tasks, passes):
    fitnesses = [bound(tasks, name) for name in TASKS]
    assert len({one.group for one in fitnesses}) == 1
    theirs = merges[1].harness(tasks, list(TASKS), batch_size=32)
    taken = []
    for merge in (merges[0], merges[1]):  # the second time everything is built
        passes.clear()
        found = score_together(fitnesses, models(merge, fitnesses))
        taken.append(len(passes))
    for (name, metric), (value, examples, notes) in zip(TASKS.items(), found, strict=True):
        expected = by_our_names({name: theirs["results"][name]}, name)
        known = {key for key in expected if "_stderr," not in key}
        assert {key: (notes | {metric: value})[key] for key in known} == {
            key: expected[key] for key in known
        }
        assert bool(examples) is (metric.split(",")[0] in ("acc", "exact_match"))
        if examples:
            assert examples == by_item({name: theirs["samples"][name]}, metric)
    passes.clear()
    for fitness in fitnesses:
        fitness.score(models(merges[1], [fitness])[0])
    assert taken[1] < len(passes)


def test_what_is_asked_otherwise_is_scored_apart(tasks):
    plain = bound(tasks, "sorted")
    assert plain.group == bound(tasks, "pick_flip", num_fewshot=1).group
    for changed in ({"batch_size": 4}, {"drafts": True}, {"share_contexts": True}):
        assert plain.group != bound(tasks, "sorted", **changed).group
    assert build_fitness("exact_match", {}, folder=tasks).group is None


def test_objectives_that_ask_alike_have_one_view_of_the_model(merges, tasks):
    first, second = (
        LmEval(name, TASKS[name], include_path=tasks) for name in ("sorted", "continued")
    )
    merges[0].scored(first, first.list_items(ALL))  # a rung that asks the one alone
    merges[0].scored(second, second.list_items(ALL))
    assert first._view is second._view
    apart = LmEval("sorted", TASKS["sorted"], include_path=tasks, batch_size=4)
    merges[0].scored(apart, apart.list_items(ALL))
    assert apart._view is not first._view


def test_whose_answers_are_sampled_is_scored_alone(tasks):
    found = []
    for name, metric in 2 * [("voted", "exact_match,vote"), ("sorted", "exact_match,whole")]:
        args = {"tasks": [name], "include_path": str(tasks)}
        found.append(build_fitness("lm_eval", args, metric=metric, folder=tasks))
        found[-1].load_items(ALL, folder=tasks)
    sampled, greedy, again, other = (one.group for one in found)
    assert greedy == other
    assert len({sampled, again, greedy}) == 3


def test_greedy_answers_stay_ours_beside_sampled_ones(merges, tasks, monkeypatch):
    merge = merges[0]
    fitness = LmEval(["sorted", "voted"], "exact_match", include_path=tasks)
    alone = LmEval("sorted", "exact_match,whole", include_path=tasks)
    handed = []
    own = HFLM.generate_until

    def counted(self, requests, **options):
        handed.append(len(requests))
        return own(self, requests, **options)

    monkeypatch.setattr(HFLM, "generate_until", counted)
    merge.scored(alone, alone.list_items(ALL))
    assert handed == []
    with suppress(FitnessError):  # the two tasks have no metric in common
        merge.scored(fitness, fitness.list_items(ALL))
    assert handed == [3 * 15]  # the sampled task's alone


def test_a_batch_that_nobody_chose_fits(merges, tasks, monkeypatch):
    merge = merges[0]
    free, chosen = (
        ResidentLM(merge.module, merge.tokenizer, batch_size=size) for size in (None, 512)
    )
    config = merge.module.config
    assert free._rows(logits=30) == free._rows(cached=30) == ROWS
    assert chosen._rows(logits=10**6) == chosen._rows(cached=10**6) == 512
    long = MOST_NUMBERS // config.vocab_size // 10
    assert free._rows(logits=long) == 10
    heads = config.num_attention_heads // config.num_key_value_heads
    a_token = 2 * config.num_hidden_layers * config.hidden_size // heads
    assert free._rows(cached=MOST_NUMBERS // a_token // 7) == 7
    assert free._rows(logits=10**12) == 1


@pytest.mark.parametrize("name", ["continued", "sorted"])
def test_rows_that_do_not_fit_are_scored_in_smaller_batches(
    merges, tasks, passes, monkeypatch, name
):
    whole = LmEval(name, TASKS[name], include_path=tasks, num_fewshot=0)
    wide = merges[1].scored(whole, whole.list_items(ALL))
    rows = max(passes)
    passes.clear()
    monkeypatch.setattr("evomerge.fitness.lm_eval.resident.MOST_NUMBERS", 10_000)
    narrow = merges[1].scored(whole, whole.list_items(ALL))
    assert max(passes) < rows
    assert narrow.examples == wide.examples
    assert narrow.metrics == pytest.approx(wide.metrics, rel=1e-4)
