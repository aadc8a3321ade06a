"""What `evomerge init` writes: a study that runs as it is, and a fitness to change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evomerge import zoo
from evomerge.errors import RunDirectoryError

_STUDY = """\
# A study: which models, which merges of them, judged by what, for how long.
# Check it with 'evomerge check', run it with 'evomerge run'.
name: my-study
seed: 1

models:
  base: {base}
  donors:
{donors}

# Which merges are searched: a shipped space, a file, or the mapping itself.
space: {space}

# What recipes are scored by. 'search' items guide the search; 'holdout' items, which must be
# different, are only used for the report.
objectives:
{objectives}

search:
  optimizer: nsga2      # one objective: cma_es; also random, sobol, optuna
  population: 12

budget:
  trials: 48            # and/or hours: 9

workers:
  count: 1              # processes; each holds one merged model

dtype: float32
"""

_ZOO_OBJECTIVE = """\
  {task}:
    fitness: exact_match
    search: zoo:{task}.search.jsonl
    holdout: zoo:{task}.holdout.jsonl
    limit: 64
"""

_OWN_OBJECTIVES = """\
  # accuracy: {fitness: exact_match, search: items.jsonl, holdout: other_items.jsonl}
  #   (items: one JSON object a line with "prompt" and "answer")
"""

_OWN_FITNESS = """\
  brevity: {fitness: ./my_fitness.py:brevity, goal: maximize}
  closeness: {fitness: l2_distance, goal: minimize}
"""

_FITNESS = '''\
"""A fitness of your own: a function of the merged model."""


def brevity(model):
    """Reward short answers; `model.module` and `model.tokenizer` are the usual objects."""
    prompts = [item["prompt"] for item in model.items] or ["Hello"]
    texts = model.generate(prompts, max_new_tokens=16)
    return -sum(len(text) for text in texts) / len(texts)
'''


def write_first_study(folder: Path, base: str, donors: Mapping[str, str], space: str) -> Path:
    """Write study.yaml and my_fitness.py into a folder.

    Without donors the study merges the shipped zoo models, so that it runs as it is.

    Raises:
        RunDirectoryError: one of the files exists already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study, fitness = folder / "study.yaml", folder / "my_fitness.py"
    for path in (study, fitness):
        if path.exists():
            raise RunDirectoryError(
                f"{path} exists already; name another folder: evomerge init DIR"
            )
    if donors:
        objectives = _OWN_OBJECTIVES + _OWN_FITNESS
    else:
        tasks = zoo.tasks()[:3]
        donors = {name: f"zoo:{name}" for name in zoo.donors()}
        objectives = "".join(_ZOO_OBJECTIVE.format(task=task) for task in tasks)
        objectives += "  # brevity: {fitness: ./my_fitness.py:brevity, goal: maximize}\n"
    lines = "\n".join(f"    {name}: {model}" for name, model in donors.items())
    study.write_text(
        _STUDY.format(base=base, donors=lines, space=space, objectives=objectives.rstrip()),
        encoding="utf-8",
    )
    fitness.write_text(_FITNESS, encoding="utf-8")
    return study
