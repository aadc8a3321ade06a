"""`evomerge compare` on a finished run, and the luck that `front` and `report` state."""

from __future__ import annotations

import json

import numpy as np
import pytest

from evomerge.journal.examples import read_examples


def scores_of(world, name):
    (file,) = (world.folder / "run").glob(f"examples/{name}.holdout*")
    return read_examples(world.folder / "run", f"examples/{file.name}")["likely"]


def test_compare_from_run_to_table(world):
    world.study["search"] = {"optimizer": "random"}
    code, _, err = world.run()
    assert code == 0, err
    front = json.loads(world("front", "run", "--json")[1])
    member = front["front"][0]["trial"]

    code, out, err = world("compare", member, "first", "--run", "run", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert (document["first"], document["second"]) == (f"trial {member}", "donor:first")
    likely, near = document["objectives"]
    ours, theirs = scores_of(world, f"trial-{member:06d}"), scores_of(world, "donor-first")
    differences = [theirs[i] - ours[i] for i in ours]
    assert likely["gain"]["gain"] == pytest.approx(np.mean(differences))
    assert likely["test"]["items"] == 3
    assert likely["test"]["first_better"] == sum(one > 0 for one in differences)
    assert (near["test"], document["mean"]) == (None, None)

    table = world("compare", f"trial {member}", "donor:first", "--run", "run")
    assert (table[0], table[2]) == (0, "")
    assert "sign flips" in table[1]
    assert "of 3 items" in table[1]

    shrinkage = front["shrinkage"]
    assert shrinkage["candidates"] == 12
    assert [one["luck"] is None for one in shrinkage["winners"]] == [False, True]
    assert world("report", "run", "--out", "page")[0] == 0
    assert "best of 12 by search, then hold-out" in (world.folder / "page/report.html").read_text()

    # a recipe file names the model it was exported from
    assert world("export", "out", "--run", "run")[0] == 0
    recipe = world.folder / "out" / f"trial-{member:06d}" / "recipe.yaml"
    by_file = json.loads(world("compare", recipe, "first", "--run", "run", "--json")[1])
    assert by_file["objectives"] == document["objectives"]

    # every wrong name is one line that says what to type
    off_front = next(n for n in range(12) if n not in [row["trial"] for row in front["front"]])
    for arguments, message in [
        (("frist", "base"), "did you mean 'first'? valid: base, donor:first, donor:second, "),
        ((member, 99), "trial 99 is not finished or does not exist"),
        ((member, f"trial {member}"), "are one model"),
        (("nothing.yaml", "base"), "cannot be read"),
        ((member, "base", "--objective", "likly"), "did you mean 'likely'?"),
        ((member, "base", "--on", "validation"), "picked on search items"),
        ((off_front, "base"), f"evomerge compare {off_front} base --run run --on search"),
    ]:
        code, out, err = world("compare", *arguments, "--run", "run")
        assert (code, out) == (2, ""), arguments
        assert message in err
        assert len(err.strip().splitlines()) == 1
    assert world("compare", off_front, "base", "--run", "run", "--on", "search")[0] == 0


def test_a_baseline_is_offered_by_resume_only_where_the_study_plans_it(world, monkeypatch):
    world.study["search"] = {"optimizer": "random"}
    world.study["budget"] = {"trials": 2}
    with monkeypatch.context() as interrupted:
        interrupted.setattr("evomerge.study.scoring.Scoring.run", lambda *_: False)
        world.run()
    code, _, err = world("compare", "first", "base", "--run", "run")
    assert code == 2
    assert "donor:first has no scores in run yet; score it: evomerge resume run" in err
    code, _, err = world("compare", "nobody", "base", "--run", "run")
    assert "valid: base, donor:first, donor:second" in err
    assert "resume" not in err
    assert world("resume", "run")[0] == 0
    assert world("compare", "first", "base", "--run", "run")[0] == 0


def test_a_baseline_that_failed_is_told_with_its_reason(world):
    (world.folder / "picky.py").write_text(
        "from evomerge.fitness import FitnessResult\n"
        "from safetensors.torch import load_file\n"
        "def picky(model):\n"
        f"    first = load_file({str(world.models / 'first' / 'model.safetensors')!r})\n"
        "    own = model.module.get_input_embeddings().weight\n"
        "    if own.float().allclose(first['model.embed_tokens.weight'].float(), atol=1e-3):\n"
        "        raise RuntimeError('not this one')\n"
        "    return FitnessResult({'picky': float(own.sum())})\n"
    )
    world.study["objectives"] = {"picky": {"fitness": "./picky.py:picky"}}
    world.study["search"] = {"optimizer": "random"}
    world.study["budget"] = {"trials": 2}
    world.study["front"] = {"baselines": ["base", "donors"]}
    world.run()
    code, _, err = world("compare", "first", "base", "--run", "run")
    assert code == 2
    assert "donor:first could not be scored: " in err
    assert "not this one" in err


def test_where_a_study_has_no_baselines_none_is_offered(world):
    world.study["search"] = {"optimizer": "random"}
    world.study["budget"] = {"trials": 2}
    world.study["front"] = {"baselines": []}
    assert world.run()[0] == 0
    code, _, err = world("compare", 0, "base", "--run", "run")
    assert code == 2
    assert "'base' is no trial number" in err
    assert "its study has no baselines" in err
    assert "resume" not in err


def test_a_run_without_holdout_items_offers_the_others(world):
    del world.study["objectives"]["likely"]["holdout"]
    world.study["search"] = {"optimizer": "random"}
    world.study["budget"] = {"trials": 3}
    assert world.run()[0] == 0
    code, _, err = world("compare", 0, "uniform", "--run", "run")
    assert code == 2
    assert "the study has no hold-out items" in err
    assert "--on search" in err
