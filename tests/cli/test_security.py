"""At the command line: no code of models without trust, no secrets in what a run writes."""

import json
import shutil

import pytest

from evomerge.journal import read_events
from tests.merging.own_code import keep_apart, make_odd

KEY = "sk-" + "0123456789abcdef" * 2


@pytest.fixture
def odd(world, monkeypatch):
    """The base as a model with its own code; returns the mark that its code makes."""
    keep_apart(world.folder / "modules", monkeypatch)
    mark = world.folder / "mark"
    for name in ("base", "first", "second"):
        folder = shutil.copytree(world.models / name, world.folder / name)
        make_odd(folder, mark)
    world.study["models"] = {"base": "./base", "donors": {"first": "./first", "second": "./second"}}
    world.study["budget"] = {"trials": 6}
    return mark


def test_a_models_own_code_runs_only_where_the_study_says_so(world, odd):
    code, out, err = world.run()
    assert (code, out) == (2, "")
    assert "models.trust_remote_code" in err
    assert len(err.splitlines()) == 1
    assert not odd.exists()

    world.study["models"]["trust_remote_code"] = ["base"]
    code, out, err = world.run()
    assert code == 0, err
    assert odd.exists()
    said = "Python code that came with model 'base' may run with your rights"
    assert said in err
    opening = read_events(world.folder / "run")[0].payload
    assert opening["study"]["models"]["trust_remote_code"] == ["base"]
    assert said in opening["warnings"][0]
    assert world("report", world.folder / "run", "--format", "md", "--out", "told")[0] == 0
    assert said in (world.folder / "told" / "report.md").read_text()

    code, _, err = world("export", "home", "--trial", "1", "--run", world.folder / "run")
    assert code == 2
    assert "runs code of its own" in err

    (world.folder / "base" / "modeling_odd.py").write_text("import sys\n")
    code, _, err = world("resume", world.folder / "run", "--add", "trials=6")
    assert code == 2
    assert "the code of model 'base' changed since" in err


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["bse"], "there is no 'bse'; did you mean 'base'?"),
        (["first"], "'first': no code in"),
    ],
)
def test_trust_names_models_that_have_code(world, names, words):
    world.study["models"]["trust_remote_code"] = names
    code, out, err = world("check", world.write())
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"objectives": {"j": {"fitness": "./j.py:f", "api_key": KEY}}}, "objectives.j.api_key"),
        (
            {"callbacks": [{"callback": "mlflow", "tracking_uri": "http://me:word@127.0.0.1:9"}]},
            "callbacks[0].tracking_uri",
        ),
    ],
)
def test_a_secret_in_a_study_is_refused_and_not_repeated(world, change, place):
    world.study |= change
    code, out, err = world.run()
    assert (code, out) == (2, "")
    assert f"{place}: a secret, and every run records its study" in err
    assert "word" not in err
    assert KEY not in err
    assert len(err.splitlines()) == 1
    assert not (world.folder / "run").exists()


def test_a_secret_that_a_fitness_blurts_out_is_nowhere_in_the_run(world, monkeypatch):
    monkeypatch.setenv("JUDGE_API_KEY", "a-secret-of-ours")
    (world.folder / "judge.py").write_text(
        "import os\n\n\ndef score(model):\n"
        "    if model.split == 'search' and len(model.items) > 2:\n"
        f"        raise RuntimeError('401 from https://me:pass-word@host/?key={KEY} with '\n"
        "                           + os.environ['JUDGE_API_KEY'])\n"
        "    return 0.5\n"
    )
    world.study["objectives"]["likely"]["fitness"] = "./judge.py:score"
    world.run()
    failed = [event for event in read_events(world.folder / "run") if event.kind == "finished"]
    assert "401 from https://[hidden]@host/?key=[hidden] with [hidden]" in json.dumps(
        [event.payload for event in failed]
    )
    world("report", world.folder / "run", "--out", world.folder / "told")
    for path in (*(world.folder / "run").rglob("*"), *(world.folder / "told").rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            for secret in (KEY, "pass-word", "a-secret-of-ours"):
                assert secret.encode() not in content, path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 300 + "]" * 300, "nested deeper than 200 levels"),
        ("a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{one}: &{one} [{','.join([f'*{before}'] * 9)}]\n"
            for before, one in zip("abcdefghi", "bcdefghij", strict=True)
        ), "values, aliases expanded"),
        ("a: !!python/object/apply:os.system ['touch mark']", "is not supported; remove it"),
    ],
)  # fmt: skip
def test_a_study_file_runs_nothing_and_stays_within_limits(world, text, words):
    (world.folder / "study.yaml").write_text(text)
    code, out, err = world("check", world.folder / "study.yaml")
    assert (code, out) == (2, "")
    assert words in err
    assert not (world.folder / "mark").exists()
    code, _, err = world("check", world.write(), "--set", f"name={'[' * 300}{']' * 300}")
    assert code == 2
    assert "nested deeper than 200 levels" in err
