"""Donors whose layers cannot follow one another are found at `check`, not in the night."""

import json

import pytest

from evomerge.errors import ConfigError
from evomerge.study import prepare
from evomerge.study.config import StudyConfig
from tests.merging.tiny_models import llama

PATH = {"path": "depthwise"}
MERGE = {"merge_method": "linear", "genes": {"weight": {"range": [0, 1]}}}


def study(tmp_path, space, **donors):
    (tmp_path / "items.jsonl").write_text(json.dumps({"prompt": "w1", "answer": "w2"}) + "\n")
    return StudyConfig.model_validate(
        {
            "name": "donors",
            "models": {"base": str(tmp_path / "base"), "donors": donors},
            "space": space,
            "objectives": {"right": {"fitness": "exact_match", "search": "items.jsonl"}},
            "search": {"optimizer": "random"},
            "budget": {"trials": 1},
            "dtype": "float32",
        }
    )


@pytest.mark.parametrize("space", [PATH, {"merge": MERGE, "layers": PATH}])
def test_donors_of_another_width_are_refused_naming_both(tmp_path, space):
    base, other = llama(tmp_path / "base", seed=0), llama(tmp_path / "wide", seed=1, hidden=64)
    with pytest.raises(ConfigError) as refused:
        prepare(study(tmp_path, space, a=str(base), b=str(other)), tmp_path)
    (line, *_) = refused.value.problems
    assert str(base) in line
    assert str(other) in line


def test_a_donor_the_first_path_does_not_use_is_checked_too(tmp_path):
    base, other = llama(tmp_path / "base", seed=0), llama(tmp_path / "eps", seed=1)
    config = json.loads((other / "config.json").read_text()) | {"rms_norm_eps": 1e-3}
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"rms_norm_eps 0\.001 and model"):
        prepare(study(tmp_path, PATH, a=str(base), b=str(other)), tmp_path)


def test_donors_of_another_depth_are_sound(tmp_path):
    base, other = llama(tmp_path / "base", seed=0), llama(tmp_path / "deep", seed=1, layers=3)
    prepared = prepare(study(tmp_path, PATH, a=str(base), b=str(other)), tmp_path)
    assert prepared.context.depth("b") == 3
