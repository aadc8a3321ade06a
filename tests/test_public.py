"""The public surface, what importing costs, and what ships."""

import ast
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import evomerge
from evomerge import zoo
from evomerge.fitness import check_fitness
from evomerge.spaces import OperatorsSpec, PopulationSpec, SpaceSpec
from evomerge.spaces.paths.spec import DepthwiseSpec
from evomerge.study import load_study
from evomerge.study.config import StudyConfig

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


def readme_blocks(language):
    blocks = (ROOT / "README.md").read_text().split(f"```{language}\n")[1:]
    return [block.split("```")[0] for block in blocks]


SMALL_STUDY = {
    "name": "small",
    "models": {"base": "./base", "donors": {"a": "./a"}},
    "space": "task_arithmetic",
    "objectives": {"a": {"fitness": "exact_match", "search": "a.jsonl"}},
    "budget": {"trials": 10},
}


def test_the_studies_and_spaces_of_the_readme_are_valid():
    blocks = readme_blocks("yaml")
    assert blocks
    for block in blocks:
        data = yaml.safe_load(block)
        keys = {
            "operators": OperatorsSpec,
            "genes": SpaceSpec,
            "path": DepthwiseSpec,
            "population": PopulationSpec,
        }
        schema = next((keys[key] for key in keys if key in data), StudyConfig)
        if schema is StudyConfig and "name" not in data:  # a part of a study
            study = StudyConfig.model_validate({**SMALL_STUDY, **data})
            assert data.keys() <= study.model_dump().keys()
            continue
        assert schema.model_validate(data).model_dump(exclude_unset=True).keys() == data.keys()


def test_the_fitness_of_the_readme_is_bound_and_scores(tmp_path):
    (block,) = [block for block in readme_blocks("python") if "def passes" in block]
    (tmp_path / "my_fitness.py").write_text(block)
    spec = check_fitness("./my_fitness.py:passes", {}, folder=tmp_path)
    items = [{"prompt": "a", "expected": "x"}, {"prompt": "b", "expected": "y"}]
    model = SimpleNamespace(items=items, generate=lambda prompts, max_new_tokens: ["x!", "z"])
    assert spec.target(model) == 0.5
    (block,) = [block for block in readme_blocks("python") if "class Passes" in block]
    (tmp_path / "scored.py").write_text(block)
    model.items = [{"id": str(i), **item} for i, item in enumerate(items)]
    spec = check_fitness("./scored.py:Passes", {"max_new_tokens": 3}, folder=tmp_path)
    result = spec.target(**spec.arguments)(model)
    assert (result.metrics, result.examples) == ({"passes": 0.5}, {"0": 1.0, "1": 0.0})
