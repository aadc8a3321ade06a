"""A run's populations on the command line: while it runs, and afterwards."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from evomerge.journal import Journal
from tests.report.populations import GRIDS, M2N2, write_population


@pytest.fixture
def breeding(world):
    """A study of two objectives whose items are scored one by one."""
    nll = {"fitness": "negative_log_likelihood"}
    for name, digits in (("low", "123"), ("high", "456")):
        rows = [{"prompt": f"say {d}:", "answer": d} for d in digits]
        (world.folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    world.study["objectives"] = {
        "low": nll | {"search": "low.jsonl", "holdout": "holdout.jsonl"},
        "high": nll | {"search": "high.jsonl", "holdout": "holdout.jsonl"},
    }
    world.study["front"] = {"lambdas": [0.5], "size": 3, "baselines": ["base", "donors"]}
    return world


def status_of(world):
    return json.loads(world("status", "run", "--json")[1])


def lineage_of(world, folder="report"):
    (found,) = json.loads((world.folder / folder / "lineage.json").read_text())["populations"]
    return found


def test_m2n2_from_run_to_report(breeding):
    breeding.study |= {"space": "m2n2", "search": {"optimizer": "m2n2"}, "budget": {"trials": 12}}
    code, _, err = breeding.run()
    assert code == 0, err
    code, out, err = breeding("status", "run")
    assert (code, err) == (0, "")
    (population,) = status_of(breeding)["populations"]
    (niches,) = population["maps"]
    line = f"  niches    {len(niches['niches'])} members hold {niches['filled']} of 6 examples"
    assert line in out
    assert f"best trial {niches['champion']}" in out
    assert sum(sum(held.values()) for held in population["holdings"].values()) == niches["filled"]

    code, out, err = breeding("report", "run")
    assert (code, err) == (0, "")
    assert out.startswith("wrote report/report.html and ")
    assert {"progress.png", "coverage.png", "niches.png"} <= {
        path.name for path in (breeding.folder / "report").iterdir()
    }
    found = lineage_of(breeding)
    assert found["founders"] == ["first", "second"]
    assert found["champions"] == {"": niches["champion"]}
    assert len(found["individuals"]) == 12
    front = [row["trial"] for row in json.loads(breeding("front", "run", "--json")[1])["front"]]
    assert sorted(found["front"]) == sorted(front)


def test_cycle_qd_from_run_to_report(breeding):
    search = {"optimizer": "cycle_qd", "bins": 3}
    breeding.study |= {"space": "cycleqd", "search": search, "budget": {"trials": 12}}
    code, _, err = breeding.run()
    assert code == 0, err
    code, out, _ = breeding("status", "run")
    assert code == 0
    (population,) = status_of(breeding)["populations"]
    assert [one["name"] for one in population["maps"]] == ["low", "high"]
    for one in population["maps"]:
        assert f" {one['name']}: {one['filled']} of 3 cells, " in out
        assert one["filled"] == len(one["niches"]) > 0
    code, out, err = breeding("report", "run", "--out", "deep/drawn", "--json")
    assert (code, err) == (0, "")
    written = json.loads(out)
    assert (written["run"], written["out"]) == ("run", "deep/drawn")
    here = sorted(path.name for path in (breeding.folder / "deep/drawn").iterdir())
    assert written["files"] == here
    assert {"report.html", "niches.png"} <= set(here)
    assert all(one["mutated"] for one in lineage_of(breeding, "deep/drawn")["individuals"][2:-1])


def test_status_shows_niches_while_the_run_is_running(world):
    done = write_population(world.folder / "run", M2N2, 20)
    with Journal(world.folder / "run"):
        status = status_of(world)
    assert status["state"] == "running"
    (niches,) = status["populations"][0]["maps"]
    assert [niche["trial"] for niche in niches["niches"]] == done.optimizer.archive.numbers
    assert status["populations_unknown"] is None


def test_status_says_why_niches_are_unknown_and_shows_the_rest(world, monkeypatch):
    write_population(world.folder / "run", GRIDS, 8)
    monkeypatch.delattr("tests.report.populations.Grids")
    code, out, err = world("status", "run")
    assert (code, err) == (0, "")
    assert "  niches    unknown: " in out
    assert "'Grids' is not defined there" in out
    assert "trials    8 finished" in out
    assert status_of(world)["populations"] == []
    code, _, err = world("report", "run")
    assert code == 2
    assert "Grids" in err


def test_a_search_of_coefficients_has_a_report_without_populations(world):
    assert world.run()[0] == 0
    status = status_of(world)
    assert (status["populations"], status["populations_unknown"]) == ([], None)
    code, out, err = world("report")
    assert (code, err) == (0, "")
    found = sorted(path.name for path in (world.folder / "report").iterdir())
    assert out == f"wrote report/report.html and {len(found) - 1} other files beside it\n"
    pictures = {"front.png", "genes.png", "progress.png", "report.html"}  # 12 trials: no importance
    assert {name for name in found if not name.startswith("weights-")} == pictures
    assert sum(name.startswith("weights-") for name in found) == 3
    code, _, err = world("report")
    assert (code, err) == (2, "evomerge: report exists already; name a new folder\n")


def test_status_of_a_search_of_coefficients_imports_no_archive(world):
    assert world.run()[0] == 0
    code = (
        "import sys; sys.argv = ['evomerge', 'status', 'run']\n"
        "from evomerge.cli.app import main\n"
        "try:\n    main()\nfinally:\n    print([m for m in sys.modules if 'optimizers' in m])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("started", [True, False])
def test_a_run_without_finished_trials_has_no_report(world, started):
    with Journal(world.folder / "run", create=True) as journal:
        if started:
            journal.append("opened", {"study": {"name": "x"}})
    code, _, err = world("report", "run")
    assert (code, err) == (2, "evomerge: run: no trial is finished yet\n")
