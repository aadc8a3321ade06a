"""Code that comes with a model runs where it is trusted, as it was then, and nowhere else."""

import json
import shutil

import pytest
import torch

from evomerge.errors import CheckpointError
from evomerge.fitness.language_model import LanguageModel
from evomerge.merging import MergeEngine, load_resident
from evomerge.merging.own_code import code_digest
from evomerge.merging.tokenizer import load_tokenizer
from evomerge.recipe.model import Recipe
from tests.merging.own_code import keep_apart, make_odd


@pytest.fixture
def odd(family, tmp_path, monkeypatch):
    """Base and donor as Llamas, and the same weights as models with their own code."""
    keep_apart(tmp_path / "modules", monkeypatch)
    found = []
    for number, plain in enumerate(family("llama")[:2]):
        folder = shutil.copytree(plain, tmp_path / f"odd{number}")
        found.append((plain, make_odd(folder, tmp_path / f"mark{number}")))
    return found


def halfway(base, donor):
    return Recipe.model_validate(
        {
            "merge_method": "task_arithmetic",
            "base_model": str(base),
            "models": [{"model": str(donor), "parameters": {"weight": 0.5}}],
        }
    )


def marks(tmp_path):
    return sorted(path.name for path in tmp_path.glob("mark*"))


def test_nothing_runs_without_trust(odd, tmp_path):
    recipe = halfway(odd[0][1], odd[1][1])
    with pytest.raises(CheckpointError, match=r"'odd' is unknown.*models\.trust_remote_code"):
        load_resident(MergeEngine(), recipe)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        LanguageModel.load(odd[0][1])
    config = odd[0][1] / "tokenizer_config.json"
    content = json.loads(config.read_text())
    content |= {
        "tokenizer_class": "Odd",
        "auto_map": {"AutoTokenizer": ["configuration_odd.O", None]},
    }
    config.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="the tokenizer cannot be loaded"):
        load_tokenizer(odd[0][1])
    assert marks(tmp_path) == []


def test_a_trusted_base_runs_its_code_and_a_donor_is_weights(odd, tmp_path):
    (plain, base), (plain_donor, donor) = odd
    engine = MergeEngine(trusted={base: code_digest(base)})
    found = load_resident(engine, halfway(base, donor)).module
    wanted = load_resident(MergeEngine(), halfway(plain, plain_donor)).module
    assert type(found).__name__ == "OddForCausalLM"
    tokens = torch.tensor([[3, 4, 5, 6]])
    assert torch.equal(found(tokens).logits, wanted(tokens).logits)
    assert marks(tmp_path) == ["mark0"]


def test_trust_in_a_donor_is_no_trust_in_the_base(odd, tmp_path):
    (_, base), (_, donor) = odd
    engine = MergeEngine(trusted={donor: code_digest(donor)})
    with pytest.raises(CheckpointError, match="'odd' is unknown"):
        load_resident(engine, halfway(base, donor))
    assert marks(tmp_path) == []


def test_code_that_changed_since_is_not_run(odd, tmp_path):
    base = odd[0][1]
    engine = MergeEngine(trusted={base: code_digest(base)})
    (base / "modeling_odd.py").write_text("raise SystemExit('never')")
    with pytest.raises(CheckpointError, match="changed since they were trusted"):
        load_resident(engine, halfway(base, odd[1][1]))
    (base / "modeling_odd.py").unlink()
    (base / "more.py").touch()
    with pytest.raises(CheckpointError, match="changed since they were trusted"):
        load_resident(engine, halfway(base, odd[1][1]))
    assert marks(tmp_path) == []


def test_a_tokenizer_takes_no_code_from_elsewhere_either(odd, tmp_path):
    base = odd[0][1]
    content = json.loads((base / "tokenizer_config.json").read_text())
    content["auto_map"] = {"AutoTokenizer": ["other/repo--odd.Slow", None]}
    (base / "tokenizer_config.json").write_text(json.dumps(content))
    engine = MergeEngine(trusted={base: code_digest(base)})
    with pytest.raises(CheckpointError, match="code of another repository"):
        load_resident(engine, halfway(base, odd[1][1]))
    assert marks(tmp_path) == []


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"AutoConfig": "other/repo--configuration_odd.OddConfig"}, "code of another repository"),
        ({"AutoModel": "modeling_odd.OddModel"}, "names no AutoConfig"),
    ],
)
def test_only_code_of_the_folder_itself_is_trusted(odd, tmp_path, table, words):
    base = odd[0][1]
    content = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**content, "auto_map": table}))
    engine = MergeEngine(trusted={base: code_digest(base)})
    with pytest.raises(CheckpointError, match=words):
        load_resident(engine, halfway(base, odd[1][1]))
    assert marks(tmp_path) == []
