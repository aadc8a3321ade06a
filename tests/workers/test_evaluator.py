"""A worker with real tiny models: candidates that mix weights and candidates with a path."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import evomerge.zoo
from evomerge.fitness import MergedModel, build_fitness, load_items
from evomerge.merging import MergeEngine, PathExecutor
from evomerge.recipe.model import ModelRef, Recipe
from evomerge.types import Completed, Failed, Objective
from evomerge.workers.evaluator import Evaluator
from evomerge.workers.inline import InlineExecutor
from evomerge.workers.protocol import Job
from evomerge.workers.spec import EvaluatorSpec, ObjectiveSpec, items_digest

ZOO = Path(evomerge.zoo.__file__).parent / "models"
BASE, FLIP = str(ZOO / "base"), str(ZOO / "flip")
SURPRISE = Objective("surprise", "minimize")
ITEMS = '{"prompt": "flip 0110", "answer": "1001"}\n{"prompt": "flip 10", "answer": "01"}\n'


def spec(folder, fitness="negative_log_likelihood", **changes):
    (folder / "items.jsonl").write_text(ITEMS)
    objective = ObjectiveSpec(SURPRISE, fitness)
    if fitness == "negative_log_likelihood":
        digest = items_digest(load_items("items.jsonl", folder=folder))
        objective = ObjectiveSpec(
            SURPRISE, fitness, search="items.jsonl", digests={"search": digest}
        )
    return EvaluatorSpec(
        path([(0, 0)]), ModelRef(path=BASE), (objective,), folder, device="cpu", **changes
    )


def path(hops, models=(BASE, FLIP)):
    return Recipe.model_validate(
        {
            "merge_method": "passthrough",
            "models": [{"model": model} for model in models],
            "path": {"hops": hops},
            "dtype": "float32",
        }
    )


def whole(model):
    return Recipe.model_validate(
        {"merge_method": "passthrough", "models": [{"model": model}], "dtype": "float32"}
    )


def run(executor, *recipes):
    results = []
    for number, recipe in enumerate(recipes):
        executor.submit(Job(f"trial-{number:06d}", recipe))
        results += executor.wait()
    return results


def test_paths_and_merges_take_turns(tmp_path):
    of_flip = path([(1, layer) for layer in range(4)], (FLIP, FLIP))
    mixed = path([(0, 0), (1, 1), (1, 2, 0.9), (0, 3)])
    recipes = [whole(FLIP), of_flip, mixed, whole(BASE), mixed, whole(FLIP)]
    results = run(InlineExecutor(spec(tmp_path)), *recipes)
    scores = [result.outcome.metrics["surprise"] for result in results]
    assert all(isinstance(result.outcome, Completed) for result in results)
    assert scores[0] == scores[1] == scores[5]
    assert scores[2] == scores[4]
    assert len(set(scores)) == 3


def test_results_say_how_many_hops_were_reused(tmp_path):
    recipes = [path([(0, 0), (1, 1), (0, 3)]), path([(0, 0), (1, 1), (1, 2), (0, 3)]), whole(BASE)]
    first, second, merged = run(InlineExecutor(spec(tmp_path)), *recipes)
    tokens = first.hops // 3
    assert tokens > 0
    assert (first.hops, first.hops_reused) == (3 * tokens, 0)
    assert (second.hops, second.hops_reused) == (4 * tokens, 2 * tokens)
    assert second.timing["hops_reused"] == 2 * tokens
    assert (merged.hops, merged.hops_reused) == (0, 0)
    assert "hops" not in merged.timing
    *_, again = run(InlineExecutor(spec(tmp_path, path_cache_bytes=0)), *recipes[:2])
    assert again.outcome == second.outcome
    assert again.hops_reused == 0


@pytest.mark.parametrize("fitness", ["l1_distance", "l2_distance", "delta_sparsity"])
def test_a_path_has_no_distance_from_the_base(fitness, tmp_path):
    merged, candidate = run(InlineExecutor(spec(tmp_path, fitness)), whole(FLIP), path([(0, 0)]))
    assert isinstance(merged.outcome, Completed)
    assert isinstance(candidate.outcome, Failed)
    assert candidate.outcome.kind == "error"
    assert "'surprise': the distance from the base is not defined for a path" in str(
        candidate.outcome.message
    )


def test_an_impossible_path_is_a_failed_trial(tmp_path):
    executor = InlineExecutor(spec(tmp_path))
    missing, possible = run(executor, path([(0, 0), (1, 9)]), path([(0, 0)]))
    assert isinstance(missing.outcome, Failed)
    assert "hop 1: model" in missing.outcome.message
    assert "has no layer 9" in missing.outcome.message
    assert isinstance(possible.outcome, Completed)


WRITE = """
import torch
from transformers import AutoModelForCausalLM

def surprise(model):
    written = AutoModelForCausalLM.from_pretrained(model.path())
    assert written.config.num_hidden_layers == len(model.module.model.layers)
    ids = model.tokenizer(["flip 0110"], return_tensors="pt").input_ids
    with torch.no_grad():
        difference = written(ids).logits - model.module(ids).logits
    return float(difference.abs().max())
"""


def test_a_fitness_may_ask_for_the_folded_checkpoint(tmp_path):
    (tmp_path / "fitness.py").write_text(WRITE)
    hops = [(0, 0, 1.1), (1, 1, 0.8), (1, 1, 1.0), (0, 3, 1.3)]
    (result,) = run(InlineExecutor(spec(tmp_path, "./fitness.py:surprise")), path(hops))
    assert isinstance(result.outcome, Completed), result.outcome
    assert result.outcome.metrics["surprise"] < 1e-3


SCALED = [(0, 0), (1, 1, 0.7), (0, 2, 1.3), (1, 2, 0.6), (0, 2, 0.9), (0, 3, 1.4)]


def scored_on(objective, digest):
    return ObjectiveSpec(
        objective,
        "negative_log_likelihood",
        search="items.jsonl",
        holdout="items.jsonl",
        digests=dict.fromkeys(("search", "holdout"), digest),
    )


def test_holdout_scores_are_those_of_the_exported_checkpoint(tmp_path):
    plain = spec(tmp_path)
    digest = plain.objectives[0].digests["search"]
    both = replace(plain, objectives=(scored_on(SURPRISE, digest),))
    recipe = path(SCALED).model_copy(update={"dtype": "bfloat16"})
    executor = InlineExecutor(both)
    found = {}
    for split in ("search", "holdout", "search"):
        executor.submit(Job("trial-000000", recipe, split))
        (result,) = executor.wait()
        found.setdefault(split, []).append(result.outcome.metrics["surprise"])

    engine = MergeEngine()
    engine.write(recipe, tmp_path / "exported")
    fitness = build_fitness("negative_log_likelihood", {}, folder=tmp_path)
    items = load_items("items.jsonl", folder=tmp_path)

    def surprise(module):
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "exported")
        model = MergedModel(
            module,
            tokenizer,
            recipe=recipe,
            split="holdout",
            items=items,
            device="cpu",
            write=lambda folder: None,
            delta=lambda: None,
        )
        with model:
            return fitness.score(model)[0]

    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "exported", dtype=torch.bfloat16)
    assert found["holdout"] == [surprise(exported.eval())]
    assert found["search"] == [surprise(PathExecutor(engine).load(recipe).module)] * 2
    # otherwise the two would not have to be told apart
    assert found["holdout"][0] != found["search"][0]
    assert found["holdout"][0] == pytest.approx(found["search"][0], rel=0.05)


def test_a_merge_frees_what_paths_hold_and_keeps_their_count(tmp_path):
    evaluator = Evaluator(spec(tmp_path))
    first = evaluator.evaluate(Job("trial-000000", path([(0, 0), (1, 1), (0, 3)])))
    donors = [weakref.ref(donor.module) for donor in evaluator._paths._donors.values()]
    assert len(donors) == 2
    merged = evaluator.evaluate(Job("trial-000001", whole(BASE)))
    assert [donor() for donor in donors] == [None, None]
    assert len(evaluator._paths.cache) == 0
    again = evaluator.evaluate(Job("trial-000002", path([(0, 0), (1, 1), (0, 3)])))
    assert (merged.hops, again.hops, again.hops_reused) == (0, first.hops, 0)
    assert again.outcome == first.outcome


CHARGING = """
def charged(model):
    model.charge(0.25)
    model.charge(0.5)
    if model.recipe.models[0].model.path.endswith("flip"):
        raise RuntimeError("the judge hung up")
    return 1.0
"""


def test_what_a_fitness_charges_counts_when_it_fails_too_and_only_once(tmp_path):
    (tmp_path / "mine.py").write_text(CHARGING)
    evaluator = Evaluator(spec(tmp_path, "./mine.py:charged"))
    jobs = [Job("trial-000000", whole(BASE)), Job("trial-000001", whole(FLIP))]
    done, failed = (evaluator.evaluate(job) for job in jobs)
    assert isinstance(done.outcome, Completed)
    assert isinstance(failed.outcome, Failed)
    assert (done.cost, failed.cost) == (0.75, 0.75)
    assert done.timing["cost"] == 0.75
    plain = Evaluator(spec(tmp_path)).evaluate(jobs[0])
    assert "cost" not in plain.timing


def test_an_inline_worker_holds_its_device(tmp_path):
    held = InlineExecutor(spec(tmp_path)).held()
    assert (held.workers, held.gpus, held.gpu_s) == (1, 0, 0.0)
    assert held.worker_s > 0


class Joint:
    """Objectives of one kind are scored by one call, which notes who was part of it."""

    calls: ClassVar[list[list[tuple[str, str]]]] = []

    def __init__(self, name: str, kind: str):
        self.name, self.kind = name, kind

    def __call__(self, model):
        return self.score_together([self], [model])[0]

    def together(self):
        return [self.kind] if self.name == "unhashable" else self.kind

    @classmethod
    def score_together(cls, fitnesses, models):
        if any(one.name == "broken" for one in fitnesses):
            raise ValueError("no answer")
        cls.calls.append(
            [(one.name, model.items[0]["id"]) for one, model in zip(fitnesses, models, strict=True)]
        )
        for number, model in enumerate(models):
            model.charge(10.0**number)
        scores = [float(number) for number, _ in enumerate(fitnesses)]
        return scores[:1] if any(one.name == "short" for one in fitnesses) else scores


def joint(folder, *names):
    digest = items_digest(load_items("items.jsonl", folder=folder))
    return tuple(
        ObjectiveSpec(
            Objective(name, "minimize"),
            f"{__name__}:Joint",
            args={"name": name, "kind": kind},
            search="items.jsonl",
            digests={"search": digest},
        )
        for name, kind in (one.split("/") for one in names)
    )


def test_objectives_that_belong_together_are_scored_by_one_call(tmp_path):
    plain = spec(tmp_path)
    evaluator = Evaluator(replace(plain, objectives=joint(tmp_path, "a/x", "b/y", "c/x")))
    Joint.calls.clear()
    result = evaluator.evaluate(Job("first", path([(0, 0)])))
    assert Joint.calls == [[("a", "items-1"), ("c", "items-1")], [("b", "items-1")]]
    assert result.outcome.metrics == {"a": 0.0, "b": 0.0, "c": 1.0}
    assert result.cost == 12.0
    Joint.calls.clear()  # a rung: of each objective the items that it asks for
    rung = Job("rung", path([(0, 0)]), batch={"a": (), "b": (0,), "c": (1,)})
    assert evaluator.evaluate(rung).outcome.metrics == {"b": 0.0, "c": 0.0}
    assert Joint.calls == [[("b", "items-1")], [("c", "items-2")]]


def test_who_belongs_together_must_be_comparable(tmp_path):
    plain = spec(tmp_path)
    evaluator = Evaluator(replace(plain, objectives=joint(tmp_path, "a/x", "unhashable/x")))
    outcome = evaluator.evaluate(Job("first", path([(0, 0)]))).outcome
    assert "together() returned ['x'], which has no hash" in outcome.message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "ValueError: no answer"),
        (
            "short",
            f"fitness '{__name__}:Joint': score_together returned [0.0] for 2 objectives; "
            "return a list with a score for each, in order",
        ),
    ],
)
def test_a_failure_names_all_who_were_scored_together(tmp_path, name, message):
    plain = spec(tmp_path)
    evaluator = Evaluator(replace(plain, objectives=joint(tmp_path, "a/x", f"{name}/x")))
    outcome = evaluator.evaluate(Job("first", path([(0, 0)]))).outcome
    assert outcome.message == f"objectives 'a', '{name}': {message}"
