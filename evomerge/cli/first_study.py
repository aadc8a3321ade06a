"""What `evomerge init` writes: a study that runs as it is, and a fitness to change."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from evomerge import zoo
from evomerge.errors import RunDirectoryError

_STUDY = """\
# A study: which models, which merges of them, judged by what, for how long.
# Check it with 'evomerge check', run it with 'evomerge run'.
name: {name}
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
  optimizer: auto       # by space, objectives and budget; or nsga2, map, cma_es, random, …

budget:
  trials: 48            # and/or hours: 9, deadline: "07:30", …; whichever comes first

workers:
  count: 1              # processes; each holds one merged model

{dtype}
"""

_ZOO_OBJECTIVE = """\
  {task}:
    fitness: exact_match
    search: zoo:{task}.search.jsonl
    holdout: zoo:{task}.holdout.jsonl
    limit: 64
"""

_OF_ONES_OWN = """\
  # brevity: {{fitness: ./my_fitness.py:brevity, search: zoo:{task}.search.jsonl}}
"""

_OWN_OBJECTIVES = """\
  # Replace the items by your own: one JSON object a line with "prompt" and "answer".
  likelihood:
    fitness: negative_log_likelihood     # of the answers; exact_match compares generated text
    search: search.jsonl
    holdout: holdout.jsonl
  brevity:
    fitness: ./my_fitness.py:brevity
    search: search.jsonl
    holdout: holdout.jsonl
"""

_ITEMS = {
    "search.jsonl": [("2 + 2 =", " 4"), ("7 - 3 =", " 4"), ("The opposite of hot is", " cold")],
    "holdout.jsonl": [("3 + 5 =", " 8"), ("9 - 2 =", " 7"), ("The opposite of up is", " down")],
}

_FITNESS = '''\
"""A fitness of your own: a function of the merged model."""


def brevity(model):
    """Reward short answers; `model.module` and `model.tokenizer` are the usual objects."""
    texts = model.generate([item["prompt"] for item in model.items], max_new_tokens=16)
    return -sum(len(text) for text in texts) / len(texts)
'''


def write_first_study(folder: Path, base: str, donors: Mapping[str, str], space: str) -> Path:
    """Write study.yaml, my_fitness.py and, for own models, first items into a folder.

    Without donors the study merges the shipped zoo models, so that it runs as it is.

    Raises:
        RunDirectoryError: one of the files exists already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study, fitness = folder / "study.yaml", folder / "my_fitness.py"
    files = {fitness: _FITNESS} | {
        folder / name: "".join(
            json.dumps({"prompt": prompt, "answer": answer}) + "\n" for prompt, answer in rows
        )
        for name, rows in (_ITEMS.items() if donors else ())
    }
    for path in (study, *files):
        if path.exists():
            raise RunDirectoryError(
                f"{path} exists already; name another folder: evomerge init DIR"
            )
    if donors:
        objectives = _OWN_OBJECTIVES
        dtype = "# dtype: bfloat16     # of the merged models; the base's own by default"
    else:
        tasks = zoo.tasks()[:3]
        dtype = "dtype: float32        # of the merged models; the base's own by default"
        donors = {name: f"zoo:{name}" for name in zoo.donors()}
        objectives = "".join(_ZOO_OBJECTIVE.format(task=task) for task in tasks)
        objectives += _OF_ONES_OWN.format(task=tasks[0])
    lines = "\n".join(f"    {name}: {_scalar(model)}" for name, model in donors.items())
    study.write_text(
        _STUDY.format(
            name=_name(folder),
            base=_scalar(base),
            donors=lines,
            space=_scalar(space),
            objectives=objectives.rstrip(),
            dtype=dtype,
        ),
        encoding="utf-8",
    )
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return study


def seen_from(folder: Path, model: str) -> str:
    """Rewrite a path typed in the current directory as the study in `folder` must spell it.

    Hub ids, names and absolute paths stay; each part of 'model+adapter' is looked at by itself.
    """
    return "+".join(
        os.path.relpath(part, folder)
        if Path(part).exists() and not Path(part).is_absolute()
        else part
        for part in model.split("+")
    )


def _name(folder: Path) -> str:
    """Name a study after its folder."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.resolve().name).strip("-._")
    return name or "my-study"


def _scalar(text: str) -> str:
    """Write text as a YAML scalar, quoted where it must be."""
    return text if re.fullmatch(r"[\w./][\w./+@-]*(:[\w.-]+)?", text) else json.dumps(text)
