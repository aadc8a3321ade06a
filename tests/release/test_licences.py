"""Licences are those that owners wrote down, and unknown where nobody did."""

from __future__ import annotations

import json
import runpy
import tomllib
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from evomerge import zoo
from evomerge.recipe.model import ModelRef
from evomerge.release.licences import inherited

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path):
    """Return (name, card metadata, configuration, files) -> a model that says this of itself."""

    def make(name, card=None, config=None, files=None):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config or {"model_type": "llama"}))
        if card is not None:
            (folder / "README.md").write_text(f"---\n{card}\n---\n\n# {name}\n")
        for file, text in (files or {}).items():
            (folder / file).write_text(text)
        return ModelRef(path=str(folder))

    return make


def test_one_licence_of_all_is_passed_on(model):
    found = inherited(
        {
            "base": model("base", "license: apache-2.0"),
            "donor": model("donor", config={"license": "apache-2.0"}),
        }
    )
    assert found.metadata == {"license": "apache-2.0"}
    assert found.file() is None
    assert found.unknown == ()
    assert [one.read_from for one in found.licences] == [("README.md",), ("config.json",)]


def test_differing_licences_are_listed(model):
    found = inherited(
        {
            "base": model("base", "license: llama3.1"),
            "math": model("math", "license: apache-2.0"),
            "code": model("code", "license: [apache-2.0, mit]"),
        }
    )
    assert found.metadata == {
        "license": "other",
        "license_name": "apache-2.0-and-llama3.1-and-mit",
        "license_link": "LICENSE",
    }
    for line in ("base: llama3.1", "math: apache-2.0", "code: apache-2.0 and mit"):
        assert f"- {line} (from README.md)" in found.file()
    assert "all of them hold" in found.summary


def test_what_nobody_names_is_unknown_and_told(model):
    found = inherited({"base": model("base", "license: mit"), "donor": model("donor")})
    assert found.unknown == ("donor",)
    assert found.metadata["license"] == "other"
    assert found.metadata["license_name"] == "mit-and-unknown"
    assert found.summary == "mit; unknown for donor: find out before you publish it"
    nobody = inherited({"one": model("one"), "two": model("two", "tags: [a]")})
    assert nobody.metadata == {"license": "unknown"}
    assert nobody.summary.startswith("unknown: none of the models names one")


def test_a_text_is_no_name_but_comes_along(model):
    text = "Apache License\nVersion 2.0, January 2004\n"
    found = inherited({"base": model("base", files={"LICENSE.txt": text, "NOTICE": "By us\n"})})
    assert found.licences[0].called is None
    assert found.metadata == {"license": "unknown"}
    assert text in found.file()
    assert "NOTICE of base" in found.file()


def test_a_licence_of_ones_own_keeps_its_name_and_link(model):
    own = "license: other\nlicense_name: house-rules\nlicense_link: https://example.org/rules"
    found = inherited({"base": model("base", own), "donor": model("donor", own)})
    assert found.metadata == {
        "license": "other",
        "license_name": "house-rules",
        "license_link": "https://example.org/rules",
    }
    mixed = inherited({"base": model("b", own), "donor": model("d", "license: mit")})
    assert mixed.metadata["license_name"] == "house-rules-and-mit"
    assert mixed.metadata["license_link"] == "LICENSE"
    assert "https://example.org/rules" in mixed.file()


def test_an_adapter_speaks_for_itself(model, tmp_path):
    base = model("base", "license: mit")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "README.md").write_text("---\nbase_model: x/y\nlicense: cc-by-nc-4.0\n---\n")
    ref = base.model_copy(update={"adapter": str(adapter)})
    found = inherited({"base": base, "donor": ref})
    assert [one.called for one in found.licences] == ["mit", "cc-by-nc-4.0"]


@pytest.mark.parametrize("card", ["license: [", "- a list", "license: 3", "license: ''"])
def test_a_damaged_card_names_nothing(card, model):
    assert inherited({"base": model("base", card)}).metadata == {"license": "unknown"}


def test_a_model_of_the_hub_without_its_card_is_unknown_for_a_stated_reason(tmp_path, monkeypatch):
    """As after an earlier run, which downloaded weights and configuration only."""
    from huggingface_hub import constants  # noqa: PLC0415

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "a" * 40
    cached = tmp_path / "models--owner--model"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(commit)
    snapshot = cached / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (licence,) = inherited({"base": ModelRef(path="owner/model")}).licences
    assert licence.called is None
    assert licence.unread == "its card is not in the local cache and HF_HUB_OFFLINE is set"
    (snapshot / "README.md").write_text("---\nlicense: mit\n---\n")
    (licence,) = inherited({"base": ModelRef(path="owner/model")}).licences
    assert licence.called == "mit"


def test_metadata_are_read_back_by_the_hubs_own_reader(model):
    found = inherited({"base": model("base", "license: mit"), "donor": model("donor")})
    lines = "\n".join(f"{key}: {value}" for key, value in found.metadata.items())
    card = ModelCard(f"---\n{lines}\n---\n")
    assert card.data.license_name == "mit-and-unknown"
    assert card.data.license_link == "LICENSE"


def test_the_shipped_models_have_the_projects_licence(tmp_path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    folders = sorted((zoo.path() / "models").iterdir())
    found = inherited({folder.name: ModelRef(path=str(folder)) for folder in folders})
    assert found.metadata == {"license": project["license"].lower()}
    assert (found.unknown, found.file()) == ((), None)
    for folder in folders:
        (tmp_path / folder.name).mkdir()
    runpy.run_path(str(ROOT / "experiments" / "zoo" / "cards.py"))["write_cards"](tmp_path)
    for folder in folders:  # training writes the same
        written = (tmp_path / folder.name / "README.md").read_text(encoding="utf-8")
        assert written == (folder / "README.md").read_text(encoding="utf-8")
