"""What a worker keeps from candidate to candidate changes no score."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import wraps

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lm_eval.api.task import Task
from tokenizers.processors import TemplateProcessing

from evomerge.errors import FitnessError
from evomerge.fitness.lm_eval import LmEval
from evomerge.fitness.lm_eval.views import _VIEWS

ALL = {"docs": [0, None]}
KINDS = [
    ("nested", "acc,none"),
    ("continued", "acc,none"),
    ("rolling", "byte_perplexity,none"),
    ("sorted", "exact_match,whole"),
    ("voted", "exact_match,vote"),
]


@pytest.mark.parametrize(("name", "metric"), KINDS)
def test_the_second_candidate_scores_as_in_a_fresh_worker(merges, tasks, name, metric):
    n_shown = 0 if name in {"sorted", "voted"} else 1  # these models cannot answer after examples
    kept = LmEval(name, metric, include_path=tasks, num_fewshot=n_shown)
    items = kept.list_items(ALL)
    first, second, again = (merges[k].scored(kept, items) for k in (0, 1, 0))
    _VIEWS.clear()
    fresh = LmEval(name, metric, include_path=tasks, num_fewshot=n_shown)
    assert second == merges[1].scored(fresh, fresh.list_items(ALL))
    assert first == again != second


def test_drafts_change_no_score_and_save_forward_passes(merges, tasks, monkeypatch):
    passes = []
    kind = type(merges[0].module)
    own = kind.forward

    def counted(*args, **options):
        passes.append(args)
        return own(*args, **options)

    monkeypatch.setattr(kind, "forward", wraps(own)(counted))
    plain, drafting = (
        LmEval("sorted", "exact_match,whole", include_path=tasks, num_fewshot=0, drafts=drafts)
        for drafts in (False, True)
    )
    taken = {}
    for fitness in (plain, drafting):
        items = fitness.list_items(ALL)
        found = []
        for number in (0, 1, 0, 1):
            before = len(passes)
            found.append((merges[number].scored(fitness, items), len(passes) - before))
        taken[fitness] = found
    assert [score for score, _ in taken[plain]] == [score for score, _ in taken[drafting]]
    slow, fast = ([spent for _, spent in taken[one]] for one in (plain, drafting))
    assert fast[0] == slow[0]  # nobody has answered yet
    assert fast[1] <= slow[1]
    assert fast[2] < slow[2] / 2  # its own answers, and those of another after them
    assert fast[3] < slow[3] / 2


def test_requests_are_built_and_tokenized_once(merges, tasks, monkeypatch):
    built, tokenized = [], []
    build = Task.build_all_requests
    monkeypatch.setattr(
        Task,
        "build_all_requests",
        lambda task, **options: (built.append(task), build(task, **options)),
    )
    fitness = LmEval("nested", "acc", include_path=tasks)
    items = fitness.list_items(ALL)
    merge = merges[0]
    encode = type(merge.tokenizer)._encode_plus
    monkeypatch.setattr(
        type(merge.tokenizer),
        "_encode_plus",
        lambda *args, **options: (tokenized.append(args), encode(*args, **options))[1],
    )
    first = merge.scored(fitness, items)
    once = len(built), len(tokenized)
    assert once[0] == 3
    assert once[1] > 0
    assert merge.scored(fitness, items) == first
    assert (len(built), len(tokenized)) == once


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_part_of_the_items_scores_as_in_the_whole(merges, tasks, data):
    name, metric = data.draw(st.sampled_from([KINDS[0], KINDS[1], KINDS[3]]))
    fitness = LmEval(name, metric, include_path=tasks, num_fewshot=1)
    items = fitness.list_items(ALL)
    whole = merges[1].scored(fitness, items)
    chosen = data.draw(st.sets(st.sampled_from(range(len(items))), min_size=1))
    part = merges[1].scored(fitness, [items[k] for k in sorted(chosen)])
    ids = [items[k]["id"] for k in sorted(chosen)]
    assert part.examples == {key: whole.examples[key] for key in part.examples}
    assert set(part.examples) == set(ids)
    assert part.metrics[metric] == pytest.approx(sum(part.examples.values()) / len(ids))


def test_another_tokenizer_is_noticed(merges, tasks):
    fitness = LmEval("continued", "perplexity", include_path=tasks)
    items = fitness.list_items(ALL)
    first = merges[0].scored(fitness, items)
    kept = fitness._view
    again = replace(merges[0], tokenizer=copy.deepcopy(merges[0].tokenizer))
    assert again.scored(fitness, items) == first
    assert fitness._view is kept
    # One that puts nothing before a text: other tokens, other scores.
    other = replace(merges[0], tokenizer=copy.deepcopy(merges[0].tokenizer))
    other.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A")
    assert other.scored(fitness, items) != first
    assert merges[0].scored(fitness, items) == first


def test_items_of_others_are_refused(merges, tasks):
    fitness = LmEval("sorted", "exact_match,whole", include_path=tasks)
    fitness.list_items({"docs": [0, 5]})
    with pytest.raises(FitnessError, match="was given other items; name them in the objective"):
        merges[0].scored(fitness, [{"id": "sorted/7", "doc": {}}])
