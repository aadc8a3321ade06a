"""The exported folder: complete or absent, exact, and rebuildable."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from evomerge.errors import RunDirectoryError
from evomerge.recipe import native
from evomerge.report import analyse, export_front, to_json
from evomerge.report import export as export_module
from tests.report.fronts import build_front, make_front, make_row, recipe_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("exports") / "deep" / "front"
    assert export_front(build_front(2), place) == ()
    return place


def test_holds_everything_and_nothing_else(folder):
    members = ["trial-000012", "trial-000037", "trial-000041", "trial-000058", "trial-000063"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "front.csv",
        "front.html",
        "front.json",
        "front.png",
        *members,
    ]
    for name in members:
        assert sorted(path.name for path in (folder / name).iterdir()) == [
            "mergekit.yaml",
            "recipe.yaml",
            "scores.json",
        ]
    assert [path.name for path in folder.parent.iterdir()] == ["front"]


def test_recipes_read_back_equal(folder, front):
    for row in front.members:
        text = (folder / f"trial-{row.trial:06d}" / "recipe.yaml").read_text()
        assert native.loads(text) == row.recipe


def test_csv_reads_back_exactly(folder, front):
    with (folder / "front.csv").open(newline="") as file:
        lines = {line["name"]: line for line in csv.DictReader(file)}
    assert len(lines) == len(front.rows)
    for row in analyse(front).rows:
        line = lines[row.row.name]
        assert line["kind"] == row.row.kind
        assert line["trial"] == ("" if row.row.trial is None else str(row.row.trial))
        for name in ("math", "code"):
            for split, estimates in (("search", row.search), ("holdout", row.holdout)):
                assert float(line[f"{name}.{split}"]) == estimates[name].score
                assert float(line[f"{name}.{split}.low"]) == estimates[name].low
                assert float(line[f"{name}.{split}.high"]) == estimates[name].high
                assert line[f"{name}.{split}.items"] == "200"
            if row.row.kind == "front":
                assert float(line[f"{name}.gain"]) == row.gains[name].gain
                assert line[f"{name}.gain_over"] == row.gains[name].against
                assert line[f"{name}.within_noise"] == str(row.gains[name].within_noise).lower()
            else:
                assert line[f"{name}.gain"] == ""


def test_documents_agree(folder, front):
    document = json.loads((folder / "front.json").read_text())
    assert document == to_json(front)
    for row in document["front"]:
        place = folder / f"trial-{row['trial']:06d}" / "scores.json"
        assert json.loads(place.read_text()) == row


def test_readme_rebuilds_each_member(folder, front):
    readme = (folder / "README.md").read_text()
    for row in front.members:
        line = f"evomerge merge front/trial-{row.trial:06d}/recipe.yaml out-trial-{row.trial:06d}/"
        assert line in readme


def test_what_mergekit_cannot_express_is_refused_with_its_reason(tmp_path):
    rows = [
        make_row("trial 1", {"a": 0.5}, recipe=recipe_of(0.5)),
        make_row("trial 2", {"a": 0.5}, recipe=recipe_of(0.5, "no_such_method")),
    ]
    refused = export_front(make_front(*rows), tmp_path / "out")
    assert len(refused) == 1
    assert refused[0].startswith("trial 2: mergekit cannot express it: ")
    place = tmp_path / "out" / "trial-000002"
    assert not (place / "mergekit.yaml").exists()
    assert (place / "mergekit-refused.txt").read_text().strip() in refused[0]
    assert refused[0] in (tmp_path / "out" / "README.md").read_text()
    assert (tmp_path / "out" / "trial-000001" / "mergekit.yaml").exists()


def test_output_dtype_can_be_given(tmp_path):
    silent = recipe_of(0.5).model_copy(update={"out_dtype": None})
    front = make_front(make_row("trial 1", {"a": 0.5}, recipe=silent))
    assert len(export_front(front, tmp_path / "without")) == 1
    assert export_front(front, tmp_path / "with", dtype="bfloat16") == ()


def test_an_existing_place_is_refused_and_left_alone(tmp_path, front):
    for name in ("file", "folder", "dangling"):
        place = tmp_path / name
        if name == "file":
            place.write_text("mine")
        elif name == "folder":
            place.mkdir()
        else:
            place.symlink_to(tmp_path / "nowhere")
        with pytest.raises(RunDirectoryError, match="exists already"):
            export_front(front, place)
    assert (tmp_path / "file").read_text() == "mine"
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_place_that_cannot_be_written_is_the_users_error(tmp_path, front):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunDirectoryError, match="cannot be written"):
        export_front(front, tmp_path / "file" / "out")


def test_a_failure_leaves_nothing_behind(tmp_path, front, monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(export_module, "draw_png", broken)
    with pytest.raises(ZeroDivisionError):
        export_front(front, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_every_number_of_objectives_exports(any_front, tmp_path):
    small = replace(any_front, rows=any_front.rows[:8])
    assert export_front(small, tmp_path / "out") == ()
    assert (tmp_path / "out" / "front.png").stat().st_size > 10_000
