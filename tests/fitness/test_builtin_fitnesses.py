"""Built-in fitnesses against transformers, log-softmax by hand, and closed forms."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import DataError, FitnessError
from evomerge.fitness import FITNESSES, build_fitness
from evomerge.types import DeltaStatistics

from .tiny import DELTA, merged_model

HERE = Path()
PROMPTS = ["1+1=", "what is 22 * 3?", "a", "12-7=", "Say: ", "b"]


def fitness(name, metric=None, **args):
    return build_fitness(name, args, metric=metric, folder=HERE)


def answers_of(model, prompts, n):
    return model.generate(prompts, max_new_tokens=n, batch_size=1)


def log_probability(module, context, rest):
    logits = module(torch.tensor([[*context, *rest]])).logits[0].log_softmax(-1)
    return sum(logits[len(context) - 1 + i, token].item() for i, token in enumerate(rest))


def characters(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_every_builtin_loads_and_has_a_goal():
    built = {name: fitness(name) for name in FITNESSES.names() if name != "lm_eval"}
    goals = {name: one.goal for name, one in built.items()}
    assert goals == {
        "exact_match": "maximize",
        "negative_log_likelihood": "minimize",
        "multiple_choice": "maximize",
        "program_test": "maximize",
        "l1_distance": "minimize",
        "l2_distance": "minimize",
        "delta_sparsity": "maximize",
    }
    needy = {name for name, one in built.items() if one.needs_items}
    assert needy == {
        "exact_match",
        "negative_log_likelihood",
        "multiple_choice",
        "program_test",
    }


def test_exact_match_of_samples_is_the_share_of_them(llama, tokenizer):
    options = {"temperature": 1.5, "top_p": 0.95}
    samples = merged_model(llama, tokenizer).sample(
        PROMPTS, n=6, seed=3, max_new_tokens=3, **options
    )
    wanted = [max(set(texts), key=texts.count) for texts in samples]
    items = [
        {"id": str(i), "prompt": p, "answer": a}
        for i, (p, a) in enumerate(zip(PROMPTS, wanted, strict=True))
    ]
    model = merged_model(llama, tokenizer, items=items)
    bound = fitness(
        "exact_match", max_new_tokens=3, samples=6, sample_seed=3, strip=False, **options
    )
    value, examples, _ = bound.score(model)
    shares = [texts.count(a) / 6 for texts, a in zip(samples, wanted, strict=True)]
    assert list(examples.values()) == pytest.approx(shares)
    assert value == pytest.approx(sum(shares) / len(shares))
    assert 0 < value < 1


def test_exact_match_scores_item_by_item(llama, tokenizer):
    said = answers_of(merged_model(llama, tokenizer), PROMPTS, 6)
    items = [
        {"id": p, "q": p, "a": said[i] if i % 3 else "something else"}
        for i, p in enumerate(PROMPTS)
    ]
    model = merged_model(llama, tokenizer, items=items)
    bound = fitness("exact_match", prompt_field="q", answer_field="a", max_new_tokens=6)
    value, examples, notes = bound.score(model)
    assert bound.fields == ("q", "a")
    assert examples == {p: float(i % 3 != 0) for i, p in enumerate(PROMPTS)}
    assert value == pytest.approx(4 / 6)
    assert notes == {}


def test_exact_match_looks_one_token_beyond_the_longest_answer(llama, tokenizer):
    said = max(answers_of(merged_model(llama, tokenizer), PROMPTS, 12), key=len)
    prompt = PROMPTS[answers_of(merged_model(llama, tokenizer), PROMPTS, 12).index(said)]
    for wanted, hit in [(said, len(said) < 12), (said[:4], False)]:
        model = merged_model(
            llama, tokenizer, items=[{"id": "x", "prompt": prompt, "answer": wanted}]
        )
        assert fitness("exact_match", strip=False).score(model)[0] == hit


class Says:
    """A merged model that answers from a table."""

    split = "search"

    def __init__(self, items, said):
        self.items = tuple(items)
        self.item_ids = tuple(item["id"] for item in items)
        self.said = said
        self.asked = {}

    def encode(self, texts, *, special_tokens):
        return [tuple(text) for text in texts]

    def chat(self, prompts):
        return [f"<user>{prompt}" for prompt in prompts]

    def generate(self, prompts, **options):
        self.asked = {"prompts": prompts, **options}
        return list(self.said)


@pytest.mark.parametrize(
    ("said", "answer", "args", "hit"),
    [
        (" Paris\n", "Paris", {}, True),
        (" Paris\n", "Paris", {"strip": False}, False),
        ("paris", "Paris", {}, False),
        ("STRASSE", "straße", {"casefold": True}, True),
        ("4", 4, {}, True),
        ("no", ["yes", "yeah"], {}, False),
        ("yeah", ["yes", "yeah"], {}, True),
    ],
)
def test_exact_match_normalises(said, answer, args, hit):
    model = Says([{"id": "x", "prompt": "?", "answer": answer}], [said])
    assert fitness("exact_match", **args).score(model)[0] == hit


def test_exact_match_passes_its_options_on():
    model = Says([{"id": "x", "prompt": "?", "answer": ["ab", "abcd"]}], [""])
    fitness("exact_match", chat=True, stop=["\n"], batch_size=3).score(model)
    assert model.asked == {
        "prompts": ["<user>?"],
        "max_new_tokens": 5,
        "batch_size": 3,
        "stop": ("\n",),
        "special_tokens": False,
    }


@pytest.mark.parametrize("batch_size", [1, 4])
def test_negative_log_likelihood_by_hand(llama, tokenizer, batch_size):
    rows = [("1+1=", "2"), ("a", "bcdef"), ("", "xyz")]
    items = [{"id": str(i), "prompt": p, "answer": a} for i, (p, a) in enumerate(rows)]
    value, examples, notes = fitness("negative_log_likelihood", batch_size=batch_size).score(
        merged_model(llama, tokenizer, items=items)
    )
    totals = [
        -log_probability(llama, [1, *characters(tokenizer, p)], characters(tokenizer, a))
        for p, a in rows
    ]
    expected = [total / len(answer) for total, (_, answer) in zip(totals, rows, strict=True)]
    assert list(examples.values()) == pytest.approx(expected)
    assert value == pytest.approx(sum(expected) / 3)
    assert notes == pytest.approx({"per_token": sum(totals) / 9})


def test_negative_log_likelihood_of_whole_texts_and_with_a_separator(llama, tokenizer):
    texts = merged_model(llama, tokenizer, items=[{"id": "x", "t": "ab c"}])
    whole = fitness("negative_log_likelihood", text_field="t")
    ids = characters(tokenizer, "ab c")
    assert whole.fields == ("t",)
    assert whole.score(texts)[0] == pytest.approx(-log_probability(llama, [1], ids) / 4)
    pair = merged_model(llama, tokenizer, items=[{"id": "x", "prompt": "ab", "answer": "c"}])
    spaced = fitness("negative_log_likelihood", separator=" ").score(pair)[0]
    truth = -log_probability(llama, [1, *ids[:2]], ids[2:]) / 2
    assert spaced == pytest.approx(truth)


def test_multiple_choice_by_hand(llama, tokenizer):
    questions = [
        ("1+1=", ["2", "three", "11"]),
        ("a", ["b", "bcdefgh"]),
        ("c?", ["xx", "yyy", "z"]),
    ]
    best, best_norm = [], []
    for prompt, choices in questions:
        context = [1, *characters(tokenizer, prompt)]
        sums = [
            log_probability(llama, context, characters(tokenizer, " " + choice))
            for choice in choices
        ]
        norms = [total / len(choice) for total, choice in zip(sums, choices, strict=True)]
        best.append(sums.index(max(sums)))
        best_norm.append(norms.index(max(norms)))
    assert best != best_norm
    items = [
        {"id": str(i), "prompt": p, "choices": c, "answer": c[k] if i else k}
        for i, ((p, c), k) in enumerate(zip(questions, best, strict=True))
    ]
    model = merged_model(llama, tokenizer, items=items)
    same = [float(a == b) for a, b in zip(best, best_norm, strict=True)]
    value, examples, notes = fitness("multiple_choice", separator=" ").score(model)
    assert (value, list(examples.values())) == (1.0, [1.0, 1.0, 1.0])
    assert notes == {"accuracy_norm": pytest.approx(sum(same) / 3)}
    value, examples, notes = fitness(
        "multiple_choice", metric="accuracy_norm", separator=" "
    ).score(model)
    assert (value, list(examples.values())) == (pytest.approx(sum(same) / 3), same)
    assert notes == {"accuracy": 1.0}


finite = st.floats(min_value=1e-3, max_value=1e6)


@settings(deadline=None)
@given(l1=finite, l2=finite, base_l1=finite, base_l2=finite, zeros=st.integers(0, 50))
def test_distances_are_closed_forms(l1, l2, base_l1, base_l2, zeros):
    delta = DeltaStatistics(l1, l2, base_l1, base_l2, zeros, 50)
    model = merged_model(delta=lambda: delta)
    assert fitness("l1_distance").score(model) == (l1 / base_l1, {}, {})
    assert fitness("l2_distance").score(model) == (l2 / base_l2, {}, {})
    assert fitness("l1_distance", relative=False).score(model)[0] == l1
    assert fitness("l2_distance", relative=False).score(model)[0] == l2
    assert fitness("delta_sparsity").score(model)[0] == zeros / 50


def test_distances_without_a_scale_are_said():
    zero = DeltaStatistics(l1=1.0, l2=1.0, base_l1=0.0, base_l2=0.0, zeros=0, elements=0)
    model = merged_model(delta=lambda: zero)
    for name, message in [
        ("l1_distance", "relative: false"),
        ("l2_distance", "relative: false"),
        ("delta_sparsity", "shares no tensor"),
    ]:
        with pytest.raises(FitnessError, match=message):
            fitness(name).score(model)
    assert fitness("l1_distance", relative=False).score(model)[0] == 1.0
    assert DELTA.l1 / DELTA.base_l1 == fitness("l1_distance").score(merged_model())[0]


@pytest.mark.parametrize("name", ["exact_match", "negative_log_likelihood", "multiple_choice"])
def test_no_items_is_said(name):
    with pytest.raises(FitnessError, match="none for the holdout split"):
        fitness(name).score(merged_model(split="holdout"))


@pytest.mark.parametrize(
    ("name", "item", "message"),
    [
        ("exact_match", {"question": "?"}, "item 'x': field 'prompt' is missing; it has question"),
        ("exact_match", {"prompt": 5, "answer": "a"}, "field 'prompt' must be text, got 5"),
        ("exact_match", {"prompt": "?", "answer": []}, "field 'answer' must be text, a number"),
        ("exact_match", {"prompt": "?", "answer": True}, "field 'answer' must be text, a number"),
        ("negative_log_likelihood", {"prompt": "?", "answer": 4}, "'answer' must be text, got 4"),
        ("negative_log_likelihood", {"prompt": "?", "answer": ""}, "'answer' has no token"),
        ("multiple_choice", {"prompt": "?", "choices": "ab", "answer": 0}, "list of two or more"),
        ("multiple_choice", {"prompt": "?", "choices": ["a"], "answer": 0}, "list of two or more"),
        ("multiple_choice", {"prompt": "?", "choices": ["a", ""], "answer": 0}, "list of two"),
        (
            "multiple_choice",
            {"prompt": "?", "choices": ["a", "b"], "answer": 2},
            "from 0 to 1, got",
        ),
        ("multiple_choice", {"prompt": "?", "choices": ["a", "b"], "answer": "c"}, "got 'c'"),
        ("multiple_choice", {"prompt": "?", "choices": ["a", "b"], "answer": True}, "got True"),
    ],
)
def test_items_that_do_not_fit(llama, tokenizer, name, item, message):
    with pytest.raises(DataError, match=message):
        fitness(name).score(merged_model(llama, tokenizer, items=[{"id": "x", **item}]))
