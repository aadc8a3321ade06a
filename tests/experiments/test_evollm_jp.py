"""The fitness and the data of the EvoLLM-JP studies, with a model that answers from a list."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from evomerge.errors import DataError, FitnessError
from evomerge.fitness import build_fitness
from evomerge.located_yaml import load_located
from evomerge.merging import open_checkpoint
from evomerge.recipe.model import ModelRef
from evomerge.study import load_study
from evomerge.study.config import BatchesConfig
from tests.fitness.tiny import character_tokenizer, tiny_module

FOLDER = Path(__file__).parents[2] / "experiments" / "data_flow"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


evollm_jp = load("evollm_jp")
evollm_jp_data = load("evollm_jp_data")


class FakeModel:
    """Gives prepared answers and notes how it was asked."""

    def __init__(self, items, answers):
        self.items = tuple(items)
        self.split = "search"
        self.item_ids = tuple(item["id"] for item in items)
        self._answers = answers

    def generate(self, prompts, **options):
        self.prompts, self.options = prompts, options
        return self._answers


@pytest.fixture
def language_model(tmp_path, monkeypatch):
    """A fastText that takes text with kana for Japanese."""

    class Identifier:
        def predict(self, text, k):
            assert k == -1
            assert "\n" not in text
            share = sum("ぁ" <= c <= "ヿ" for c in text) / max(1, len(text))
            return ("__label__ja", "__label__en"), (share, 1 - share)

    fake = SimpleNamespace(load_model=lambda file: Identifier())
    monkeypatch.setitem(sys.modules, "fasttext", fake)
    (tmp_path / "lid.176.ftz").write_bytes(b"model")
    return tmp_path / "lid.176.ftz"


@pytest.mark.parametrize(
    ("text", "number", "grouped"),
    [
        ("答えは18です。", 18, 18),
        ("3+4=7、よって7.5円", 7.5, 7.5),
        ("半分は.5", 0.5, 0.5),
        ("合計は1,080円", 80, 1080),
        ("１２個", 12, 12),
        ("-3度", 3, 3),
        ("わかりません", None, None),
        ("", None, None),
    ],
)
def test_the_last_number_is_the_answer(text, number, grouped):
    assert evollm_jp.last_number(text) == number
    assert evollm_jp.last_number(text, grouped=True) == grouped


def test_an_item_counts_when_it_is_right_and_japanese(language_model):
    fitness = build_fitness(
        "./evollm_jp.py:JapaneseMaths",
        {"language_model": str(language_model), "batch_size": 3},
        folder=FOLDER,
    )
    items = [
        {"id": str(n), "question": f"質問{n}", "answer_number": answer}
        for n, answer in enumerate([18, 18, 7, "2.5"])
    ]
    answers = ["こたえは\n18", "The answer is 18", "こたえは8", "こたえは2.5"]
    model = FakeModel(items, answers)
    metric, examples, notes = fitness.score(model)
    assert examples == {"0": 1.0, "1": 0.0, "2": 0.0, "3": 1.0}
    assert (metric, notes) == (0.5, {"accuracy": 0.75})
    assert model.options == {
        "max_new_tokens": 1024,
        "batch_size": 3,
        "stop": ("Instruction", "Response"),
    }
    assert model.prompts[0].endswith("### 指示:\n質問0\n\n### 応答:")


def test_the_language_check_says_what_it_needs(tmp_path, monkeypatch, language_model):
    with pytest.raises(FitnessError, match=r"nowhere.ftz does not exist; download lid.176.ftz"):
        evollm_jp.JapaneseMaths(tmp_path / "nowhere.ftz")
    monkeypatch.setitem(sys.modules, "fasttext", None)
    with pytest.raises(FitnessError, match="pip install fasttext-predict"):
        evollm_jp.JapaneseMaths(language_model)


def test_an_answer_that_is_no_number_is_named(language_model):
    fitness = evollm_jp.JapaneseMaths(language_model)
    model = FakeModel([{"id": "a", "question": "q", "answer_number": "many"}], ["1"])
    with pytest.raises(DataError, match=r"item 'a': field 'answer_number' must be a number"):
        fitness(model)


def sources(tmp_path):
    search = [{"question": f"問{n}", "answer": f"{n}+0={n} #### {n:,}"} for n in range(1069)]
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, search)), "utf-8")
    (tmp_path / "m.tsv").write_text("".join(f"試験{n}\t{n:,}\n" for n in range(250)), "utf-8")
    read = evollm_jp_data
    return read.read_jsonl(tmp_path / "s.jsonl"), read.read_tsv(tmp_path / "m.tsv")


def test_the_data_are_those_of_the_paper(tmp_path):
    search, mgsm = sources(tmp_path)
    items = evollm_jp_data.prepare(search, mgsm)
    evollm_jp_data.write(items, tmp_path / "out")
    counts = {
        file.stem: len(file.read_text().splitlines()) for file in (tmp_path / "out").iterdir()
    }
    assert counts == {"search": 1069, "holdout": 250}
    last = items["search"][-1]
    assert last == {"id": "gsm8k-1069", "question": "問1068", "answer_number": 1068}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, m: s.pop(), "search: expected 1069 items, got 1068"),
        (lambda s, m: s[3].update(question=" 試験 ７"), "1 search items are in MGSM too"),
        (lambda s, m: s[0].update(answer="none"), "row 1 of gsm8k has no number"),
        (lambda s, m: m[1].pop("question"), "row 2 of mgsm has no 'question'"),
    ],
)
def test_data_of_another_shape_are_refused(tmp_path, change, message):
    search, mgsm = sources(tmp_path)
    change(search, mgsm)
    with pytest.raises(ValueError, match=message):
        evollm_jp_data.prepare(search, mgsm)


@pytest.mark.parametrize(
    ("answer", "number"), [(18, 18), ("18", 18), (2.5, 2.5), ("#### -1,200", -1200), ("１２", 12)]
)
def test_answers_are_read_in_all_their_spellings(answer, number):
    assert evollm_jp_data.answer_number(answer, "here") == number


@pytest.mark.parametrize("name", ["evollm-jp", "evollm-jp-ps", "evollm-jp-dfs"])
def test_the_studies_hold_the_papers_figures(name):
    config = load_study(FOLDER / f"{name}.yaml")
    plan = {stage.space if isinstance(stage.space, str) else "path": stage for stage in config.plan}
    if name != "evollm-jp-dfs":
        assert plan["sakana_ps"].trials == 1000
        assert plan["sakana_ps"].search.arguments["sigma0"] == pytest.approx(1 / 6)
    if name != "evollm-jp-ps":
        stage = plan["path"]
        assert (stage.trials, stage.search.arguments["population"]) == (128 * 100, 128)
        shipped = FOLDER.parents[1] / "search_spaces" / "sakana_dfs.yaml"
        content, _ = load_located(shipped.read_text("utf-8"), str(shipped))
        theirs = {key: value for key, value in stage.space.items() if key != "limits"}
        assert theirs == {key: content[key] for key in theirs}
        assert stage.batches == BatchesConfig(items=200, trials=128, keep=1)
    part = config.objectives["mgsm_ja"]
    assert part.validation == (None if name == "evollm-jp-ps" else 200)
    assert part.search == "./evollm-jp-data/search.jsonl"
    assert part.arguments["max_new_tokens"] == 1024
    assert part.holdout == "./evollm-jp-data/holdout.jsonl"


def test_rows_beyond_the_bases_vocabulary_are_cut(tmp_path):
    first = tiny_module("llama", dtype=torch.bfloat16)
    first.save_pretrained(tmp_path / "wide")
    character_tokenizer().save_pretrained(tmp_path / "wide")
    rows = first.config.vocab_size - 3
    load("evollm_jp_models").cut(str(tmp_path / "wide"), rows, tmp_path / "cut")
    ref = ModelRef(path=str(tmp_path / "cut"))
    made = open_checkpoint(ref)
    assert made.config["vocab_size"] == rows
    for name, weight in first.state_dict().items():
        wanted = (
            weight[:rows] if name in {"model.embed_tokens.weight", "lm_head.weight"} else weight
        )
        assert torch.equal(made.tensor(name), wanted)
