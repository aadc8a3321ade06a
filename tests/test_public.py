"""The public surface, what importing costs, and what ships."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import evomerge
from evomerge import zoo
from evomerge.study import load_study

ROOT = Path(evomerge.__file__).parents[1]
HEAVY = {"torch", "transformers", "pymoo", "cma", "optuna", "matplotlib", "plotly", "scipy"}


def test_every_public_name_is_there():
    for name in evomerge.__all__:
        assert getattr(evomerge, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        _ = evomerge.serach


@pytest.mark.parametrize(
    "statement",
    [
        "import evomerge",
        "import evomerge.cli.app",
        "import evomerge.recipe, evomerge.spaces, evomerge.journal, evomerge.pareto",
        "import evomerge.estimators",
        "import evomerge.fitness, evomerge.optimizers, evomerge.workers",
    ],
)
def test_importing_loads_nothing_heavy(statement):
    script = f"import sys; {statement}; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ast.literal_eval(done.stdout) == []


def test_the_zoo_is_complete_and_small():
    assert len(zoo.donors()) >= 6
    assert len(zoo.tasks()) >= 5
    size = sum(path.stat().st_size for path in zoo.path().rglob("*") if path.is_file())
    assert size <= 12 * 2**20
    study = load_study(zoo.path() / "study.yaml")
    assert len(study.objectives) >= 3
    assert study.budget.trials is not None
    assert study.budget.trials >= 200
