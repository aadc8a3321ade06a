import pytest

from evomerge.errors import RecipeError
from evomerge.recipe import COMPAT, load, native


def test_tells_the_formats_apart(tmp_path):
    path = tmp_path / "r.yml"
    path.write_text("merge_method: linear\nmodels: [{model: org/a}]\n", encoding="utf-8")
    recipe = load(path)
    assert recipe.compat == COMPAT
    path.write_text(native.dumps(recipe.model_copy(update={"compat": None})), encoding="utf-8")
    assert load(path).compat is None


def test_folders_beside_the_file_are_meant(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    for folder in ("models/a", "lora"):
        (tmp_path / folder).mkdir(parents=True)
    path = tmp_path / "r.yml"
    path.write_text(
        "merge_method: ties\n"
        "base_model: ./models/a\n"
        "models: [{model: org/hub+lora}, {model: models/b}]\n"
        "tokenizer_source: models/a\n",
        encoding="utf-8",
    )
    recipe = load(path)
    assert recipe.base_model.path == str(tmp_path / "models" / "a")
    assert recipe.tokenizer_source == str(tmp_path / "models" / "a")
    hub, absent = (source.model for source in recipe.models)
    assert (hub.path, hub.adapter) == ("org/hub", str(tmp_path / "lora"))
    assert absent.path == "models/b"


def test_errors_name_the_file(tmp_path):
    path = tmp_path / "r.yml"
    with pytest.raises(RecipeError, match="cannot be read: No such file"):
        load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="not UTF-8"):
        load(path)
    path.write_text("merge_method: ties\nmodel: []\n", encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:2: model: unknown key; did you mean 'models'?"
