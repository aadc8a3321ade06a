"""Evaluation items: every source, and every way in which one is wrong."""

import json
import sys
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import DataError, MissingExtra, PluginError
from evomerge.fitness import load_items


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_jsonl(tmp_path):
    write(tmp_path, "sums.jsonl", '\ufeff{"id": "a", "prompt": "1+1="}\n\n{"id": 7}\n{"x": [1]}\n')
    assert load_items("sums.jsonl", folder=tmp_path) == (
        {"id": "a", "prompt": "1+1="},
        {"id": "7"},
        {"id": "sums-3", "x": [1]},
    )


@pytest.mark.parametrize(("name", "mark"), [("q.csv", ","), ("q.tsv", "\t")])
def test_csv(tmp_path, name, mark):
    write(tmp_path, name, f'id{mark}prompt\na{mark}"two\nlines"\n{mark}c\n')
    assert load_items(name, folder=tmp_path) == (
        {"id": "a", "prompt": "two\nlines"},
        {"id": "q-2", "prompt": "c"},
    )


rows = st.lists(
    st.dictionaries(
        st.text(min_size=1).filter(lambda name: name != "id"),
        st.none() | st.integers() | st.text() | st.lists(st.booleans()),
    ),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(rows=rows)
def test_jsonl_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("items") / "r.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    expected = [{**row, "id": f"r-{number}"} for number, row in enumerate(rows, start=1)]
    assert list(load_items(path, folder=path.parent)) == expected


def test_limit_reads_the_first_and_no_further(tmp_path):
    write(tmp_path, "a.jsonl", '{"p": 1}\n{"p": 2}\nnot json\n')
    assert [item["p"] for item in load_items("a.jsonl", folder=tmp_path, limit=2)] == [1, 2]
    with pytest.raises(DataError, match="limit must be at least 1, got 0"):
        load_items("a.jsonl", folder=tmp_path, limit=0)


def test_python_function_and_iterable(tmp_path):
    write(
        tmp_path,
        "mine.py",
        "import itertools\n"
        "def endless():\n    return ({'n': n} for n in itertools.count())\n"
        "FIXED = [{'id': 'x', 'n': 1}]\n",
    )
    made = load_items("./mine.py:endless", folder=tmp_path, limit=2)
    assert made == ({"id": "mine-endless-1", "n": 0}, {"id": "mine-endless-2", "n": 1})
    assert load_items("./mine.py:FIXED", folder=tmp_path) == ({"id": "x", "n": 1},)


def test_python_module(tmp_path, monkeypatch):
    module = types.ModuleType("package_of_mine.items")
    module.ROWS = ({"n": 1},)
    monkeypatch.setitem(sys.modules, "package_of_mine", types.ModuleType("package_of_mine"))
    monkeypatch.setitem(sys.modules, "package_of_mine.items", module)
    loaded = load_items("package_of_mine.items:ROWS", folder=tmp_path)
    assert loaded == ({"id": "items-ROWS-1", "n": 1},)


def test_zoo_names_come_with_the_package(tmp_path, monkeypatch):
    zoo = types.ModuleType("evomerge.zoo")
    zoo.path = lambda: tmp_path
    monkeypatch.setitem(sys.modules, "evomerge.zoo", zoo)
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", "sums.jsonl", '{"prompt": "1+1="}\n')
    loaded = load_items("zoo:sums.jsonl", folder=tmp_path / "elsewhere")
    assert loaded == ({"id": "sums-1", "prompt": "1+1="},)
    with pytest.raises(DataError, match="does not exist"):
        load_items("zoo:suns.jsonl", folder=tmp_path)
    with pytest.raises(DataError, match=r"format is unknown; valid: \.jsonl, \.csv, \.tsv"):
        load_items("zoo:sums", folder=tmp_path)


@pytest.fixture
def datasets():
    return pytest.importorskip("datasets")


def test_dataset_saved_to_disk(tmp_path, datasets):
    train = datasets.Dataset.from_list([{"q": "a"}, {"q": "b"}])
    datasets.DatasetDict({"train": train}).save_to_disk(tmp_path / "both")
    train.save_to_disk(tmp_path / "one")
    for name in ("both", "one"):
        loaded = load_items({"dataset": name, "split": "train"}, folder=tmp_path)
        assert loaded == ({"id": f"{name}-train-1", "q": "a"}, {"id": f"{name}-train-2", "q": "b"})


def test_dataset_from_a_local_folder(tmp_path, datasets, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "qa").mkdir()
    write(tmp_path / "qa", "test.jsonl", '{"q": "a", "id": "x"}\n{"q": "b", "id": "y"}\n')
    loaded = load_items({"dataset": "qa", "split": "test[1:]"}, folder=tmp_path)
    assert loaded == ({"id": "y", "q": "b"},)
    with pytest.raises(DataError, match="dataset 'qa', split 'tset'"):
        load_items({"dataset": "qa", "split": "tset"}, folder=tmp_path)


def test_dataset_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"pip install 'evomerge\[datasets\]'"):
        load_items({"dataset": "gsm8k", "split": "test"}, folder=tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"dataset": "x", "spilt": "test"}, "key 'spilt' is unknown; did you mean 'split'"),
        ({"dataset": "x"}, "needs its name and split"),
        ("none.jsonl", r"none\.jsonl does not exist"),
        ("items.parquet", "format is unknown"),
    ],
)
def test_sources_that_cannot_be(tmp_path, source, message):
    with pytest.raises(DataError, match=message):
        load_items(source, folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "", "are empty"),
        ("a.jsonl", "\n\n", "are empty"),
        ("a.csv", "", "are empty"),
        ("a.csv", "id,prompt\n", "are empty"),
        ("a.jsonl", '{"p": 1}\n{"p": \n', r"a\.jsonl:2: not JSON: .* at column 6"),
        ("a.jsonl", '{"p": 1}\n\n[1]\n', r"a\.jsonl:3: an item is a mapping.*got \[1\]"),
        ("a.jsonl", '{"id": "x", "p": 1}\n{"id": "x", "p": 1}\n', r":2: id 'x' was used at .*:1 "),
        ("a.jsonl", '{"id": "a-2", "p": 1}\n{"p": 1}\n', r":2: id 'a-2' was used at .*:1 already"),
        ("a.jsonl", '{"id": true, "p": 1}\n', r":1: an id must be text or an integer, got True"),
        ("a.jsonl", '{"id": 1.5, "p": 1}\n', r":1: an id must be text or an integer, got 1\.5"),
        ("a.jsonl", '{"p": 1}\n{"q": 1}\n', r":2: field 'p' is missing; the item has q"),
        ("a.csv", "id,id\na,b\n", r"a\.csv:1: two columns have the same name"),
        ("a.csv", "id,p\na,b\nc\n", r"a\.csv:3: 1 cells under 2 columns \(id, p\)"),
        ("a.csv", 'id,p\na,"b\n', r"a\.csv:2: not CSV"),
    ],
)
def test_damaged_files(tmp_path, name, text, message):
    write(tmp_path, name, text)
    with pytest.raises(DataError, match=message) as caught:
        load_items(name, folder=tmp_path, fields=("p",))
    assert "\n" not in str(caught.value)


def test_not_utf8(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"p": "\xff"}\n')
    with pytest.raises(DataError, match="is not UTF-8"):
        load_items("a.jsonl", folder=tmp_path)


@pytest.mark.parametrize("made", ["5", "'text'", "{'id': 'a'}", "lambda: None"])
def test_python_that_yields_no_items(tmp_path, made):
    write(tmp_path, "mine.py", f"THING = {made}\n")
    with pytest.raises(DataError, match=r"'\./mine\.py:THING' must be an iterable of mappings"):
        load_items("./mine.py:THING", folder=tmp_path)


def test_python_rows_are_checked(tmp_path):
    write(tmp_path, "mine.py", "THING = [{'a': 1}, 'b', {1: 2}]\n")
    with pytest.raises(DataError, match=r"mine\.py:THING\[1\]: an item is a mapping"):
        load_items("./mine.py:THING", folder=tmp_path)
    with pytest.raises(PluginError, match="did you mean 'THING'"):
        load_items("./mine.py:THINGS", folder=tmp_path)
