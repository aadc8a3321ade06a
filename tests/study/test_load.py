import pytest

from evomerge.errors import ConfigError
from evomerge.study import load_study

GOOD = """\
name: demo
seed: 7
models:
  base: ./base
  donors: {math: ./math}
space: task_arithmetic
objectives:
  gsm: {fitness: exact_match, search: a.jsonl, prompt_field: question}
search: {optimizer: nsga2, population: 12}
budget: {trials: 10}
"""


def load(tmp_path, text, *overrides):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return load_study(path, overrides)


def problems(tmp_path, text, *overrides):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *overrides)
    return caught.value.problems


def test_a_study_is_read_with_the_plugins_own_keys(tmp_path):
    study = load(tmp_path, GOOD)
    assert study.objectives["gsm"].arguments == {"prompt_field": "question"}
    assert study.search.arguments == {"population": 12}
    assert study.budget.trials == 10


def test_overrides_set_nested_keys_with_yaml_values(tmp_path):
    study = load(tmp_path, GOOD, "budget.trials=3", "workers.count=2", "search.population=5")
    assert (study.budget.trials, study.workers.count) == (3, 2)
    assert study.search.arguments == {"population": 5}


def test_all_errors_at_once_with_file_and_line(tmp_path):
    text = GOOD.replace("seed: 7", "seed: soon").replace("space:", "spaec:")
    text = text.replace("budget: {trials: 10}", "budget: {trials: 0}")
    found = problems(tmp_path, text)
    path = tmp_path / "study.yaml"
    assert any(line.startswith(f"{path}:2: seed:") for line in found)
    assert any("spaec" in line and "did you mean 'space'?" in line for line in found)
    assert any(line.startswith(f"{path}:10: budget.trials:") for line in found)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("budget: {trials: 10}", "budget: {}", "give trials, items, hours"),
        ("  donors: {math: ./math}", "  donors: {}", "donors"),
        ("name: demo", "name: a/b", "name"),
        ("search: {optimizer", "search: {scalarize: average, optimizer", "mean"),
        ("seed: 7", "seed: [7", "study.yaml:"),
    ],
)
def test_one_clear_line(tmp_path, old, new, words):
    found = problems(tmp_path, GOOD.replace(old, new))
    assert len(found) == 1
    assert words in found[0]


def test_missing_file_and_bad_override(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_study(tmp_path / "none.yaml")
    assert "key=value" in problems(tmp_path, GOOD, "budget")[0]
    assert "not a mapping" in problems(tmp_path, GOOD, "seed.x=1")[0]


def test_weights_must_name_every_objective(tmp_path):
    text = GOOD.replace(
        "search: {optimizer: nsga2, population: 12}",
        "search: {optimizer: cma_es, scalarize: {method: weighted, weights: {gms: 1}}}",
    )
    assert "give one for each objective: gsm" in problems(tmp_path, text)[0]
