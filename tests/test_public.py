"""The public surface, what importing costs, and what ships."""

import ast
import importlib
import inspect
import re
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


def exported():
    """Yield (name, callable, its parameters) of what users and authors of plug-ins call."""
    for package in ("", ".callbacks", ".fitness", ".merging", ".optimizers"):
        module = importlib.import_module(f"evomerge{package}")
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing):
                if not getattr(thing, "_is_protocol", False) and "__init__" in vars(thing):
                    yield name, thing, list(inspect.signature(thing).parameters)
                for method, function in vars(thing).items():
                    if inspect.isfunction(function) and not method.startswith("_"):
                        parameters = list(inspect.signature(function).parameters)
                        yield f"{name}.{method}", function, parameters[1:]
            elif inspect.isfunction(thing):
                yield name, thing, list(inspect.signature(thing).parameters)


@pytest.mark.parametrize(
    ("thing", "parameters"),
    [pytest.param(thing, parameters, id=name) for name, thing, parameters in exported()],
)
def test_docstrings_name_the_parameters(thing, parameters):
    words = set(re.findall(r"\w+", (thing.__doc__ or "").lower()))
    unnamed = [
        name for name in parameters if not {name, f"{name}s", name.removesuffix("s")} & words
    ]
    assert not unnamed
