"""Fronts from few real evaluations: MAP, MM-MO and others on the zoo, at equal budgets.

    python experiments/pareto/compare.py run --out runs/pareto       # hours on one core
    python experiments/pareto/compare.py score --out runs/pareto
    python experiments/pareto/compare.py report --out runs/pareto

`run` carries every arm (see `arms.py`) through every seed, with 2 to 5 donors and as many
objectives; every evaluation is kept at once, and an interrupted run continues. A recipe that any
arm has scored is not scored again. `score` scores on held-out items whatever was on a run's front
(by search items) after 40, 60, ... evaluations. `report` writes the tables into the README.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from arms import ARMS, FEW, Arm, write_items

from evomerge.pareto import non_dominated
from evomerge.recipe import Recipe
from evomerge.recipe.fingerprint import fingerprint
from evomerge.study import Prepared, prepare
from evomerge.study.scoring import baseline_recipes
from evomerge.testing.readme import publish
from evomerge.types import Completed, Genotype, Split, Trial
from evomerge.workers import Job
from evomerge.workers.inline import InlineExecutor

STEP = 20
"""Fronts are judged after every so many evaluations, from FEW on."""
Scores = Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """An evaluation of a run: what was proposed, and its scores on the search items."""

    number: int
    origin: str
    genotype: Genotype
    recipe: str
    scores: Scores


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    run = steps.add_parser("run", help="carry out the searches")
    run.add_argument("--arms", nargs="*", choices=ARMS, default=list(ARMS))
    run.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3, 4, 5])
    scored = steps.add_parser("score", help="score fronts on held-out items")
    for step in (run, scored):
        step.add_argument("--objectives", nargs="*", type=int, default=[2, 3, 4, 5])
    report = steps.add_parser("report", help="write the tables into the README")
    for step in (run, scored, report):
        step.add_argument("--out", type=Path, required=True, help="where runs are kept")
    options = parser.parse_args()
    if options.step == "report":
        from tables import report_lines  # noqa: PLC0415  # imports this module

        publish(__file__, "compare", report_lines(options.out))
        return
    items = write_items(options.out.resolve() / "items")
    for count in options.objectives:
        with closing(Scorer(options.out, items, count)) as scorer:
            if options.step == "score":
                scorer.score_fronts()
                continue
            for seed in options.seeds:
                for name in options.arms:
                    if seed == 1 or name != "grid":
                        run_one(scorer, name, ARMS[name], seed)


class Scorer:
    """Scores recipes with one number of objectives, each once for each split.

    Args:
        out: where everything is kept.
        items: the folder with the items.
        count: of objectives, and of donors.
    """

    def __init__(self, out: Path, items: Path, count: int) -> None:
        self.out, self.items, self.count = out, items, count
        self.study = self.prepared(ARMS["random"], 0)
        self._workers = InlineExecutor(self.study.evaluator)
        self._files: dict[Split, Path] = {
            "search": out / f"scores-{count}.search.jsonl",
            "holdout": out / f"scores-{count}.holdout.jsonl",
        }
        self._known: dict[Split, dict[str, Scores]] = {
            split: {row["recipe"]: row["scores"] for row in read(file)}
            for split, file in self._files.items()
        }

    def prepared(self, arm: Arm, seed: int) -> Prepared:
        """Return the study of an arm."""
        return prepare(arm.study(self.items, self.count, seed), Path())

    def close(self) -> None:
        """End the worker."""
        self._workers.close()

    def score(self, recipe: Recipe, split: Split) -> Scores:
        """Return the scores of a recipe on the items of a split."""
        key = key_of(recipe)
        known = self._known[split]
        if key not in known:
            self._workers.submit(Job("one", recipe, split))
            (result,) = self._workers.wait()
            if not isinstance(result.outcome, Completed):
                raise SystemExit(f"a recipe cannot be scored: {result.outcome.message}")
            known[key] = dict(result.outcome.metrics)
            append(self._files[split], {"recipe": key, "scores": known[key]})
        return known[key]

    def score_fronts(self) -> None:
        """Score held-out items of every front of every run, and of what needs no search."""
        for name, recipe in baseline_recipes(self.study).items():
            file = self.out / f"baselines-{self.count}.jsonl"
            if name not in {row["name"] for row in read(file)}:
                row = {"name": name} | {
                    split: self.score(recipe, split) for split in ("search", "holdout")
                }
                append(file, row)
        spaces: dict[tuple[float, float], Prepared] = {}
        for file in sorted(self.out.glob(f"run-{self.count}-*.jsonl")):
            arm = ARMS[file.stem.split("-", 2)[2].rpartition("-")[0]]
            if arm.bounds not in spaces:
                spaces[arm.bounds] = self.prepared(arm, 0)
            rows = rows_of(file)
            for number in sorted({one for front in fronts(rows).values() for one in front}):
                recipe = spaces[arm.bounds].space.decode(rows[number].genotype)
                self.score(recipe, "holdout")
            print(f"{time.strftime('%H:%M:%S')} {file.stem} scored", flush=True)


def key_of(recipe: Recipe) -> str:
    """Identify a merge of any run: task arithmetic draws nothing from the study's seed."""
    return fingerprint(recipe.model_copy(update={"seed": 0}))


def run_one(scorer: Scorer, name: str, arm: Arm, seed: int) -> None:
    """Carry one run to its end, replaying whatever of it exists already."""
    file = scorer.out / f"run-{scorer.count}-{name}-{seed}.jsonl"
    kept = rows_of(file)
    if len(kept) >= arm.trials:
        return
    study = scorer.prepared(arm, seed)
    source = grid(study, arm.trials) if not arm.search else searched(study, arm.trials)
    scores: Scores | None = None
    for number in range(arm.trials):
        origin, genotype = source.send(scores)
        recipe = study.space.decode(genotype)
        if number < len(kept):
            if kept[number].genotype != genotype:
                raise SystemExit(f"{file}: the search proposes something else than is recorded")
            scores = kept[number].scores
            continue
        scores = scorer.score(recipe, "search")
        row = {"number": number, "origin": origin, "genotype": genotype}
        append(file, row | {"recipe": key_of(recipe), "scores": scores})
    print(f"{time.strftime('%H:%M:%S')} {file.stem}", flush=True)


def searched(
    study: Prepared, trials: int
) -> Iterator[Any]:  # a generator: proposals out, scores in
    """Yield what the study's optimizer proposes; it is told what is sent."""
    optimizer = study.optimizer(part_of(study))
    for number in range(trials):
        proposal = optimizer.ask(number)
        if proposal is None:
            raise SystemExit(f"the search waits at trial {number} with nothing in flight")
        scores = yield proposal.origin, proposal.genotype
        costs = tuple(one.cost(scores[one.name]) for one in study.objectives)
        optimizer.tell(Trial(number, proposal.genotype, Completed(scores), costs))


def grid(study: Prepared, trials: int) -> Iterator[Any]:
    """Yield one weight for all donors, from 0 to the most the space allows."""
    genes = study.space.domain.genes
    for weight in np.linspace(genes[0].low, genes[0].high, trials):
        yield "grid", tuple(float(weight) for _ in genes)


def part_of(study: Prepared) -> Any:
    """Return the only part of a study."""
    from evomerge.study.course import Course  # noqa: PLC0415

    return Course(study).parts[0]


def fronts(rows: list[Row]) -> dict[int, list[int]]:
    """Return the numbers on the front, by search items, after each STEP evaluations.

    `-FEW` stands for the last batch of a run of FEW alone: what MAP predicts to be the front.
    """
    costs = np.array([[-value for value in row.scores.values()] for row in rows])
    found = {}
    for size in range(FEW, len(rows) + 1, STEP):
        found[size] = non_dominated(costs[:size], dedupe=True).tolist()
    predicted = [row.number for row in rows if ":front" in row.origin]
    if predicted and len(rows) == FEW:
        found[-FEW] = [predicted[one] for one in non_dominated(costs[predicted], dedupe=True)]
    return found


def rows_of(file: Path) -> list[Row]:
    """Read the evaluations of a run."""
    return [
        Row(row["number"], row["origin"], tuple(row["genotype"]), row["recipe"], row["scores"])
        for row in read(file)
    ]


def read(file: Path) -> Iterable[dict[str, Any]]:
    """Read the whole lines of a file; a line that was cut off by a kill is left out."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def append(file: Path, row: Mapping[str, Any]) -> None:
    """Add a line to a file, and wait until it is on disk."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    if text and not text.endswith("\n"):  # cut off by a kill
        file.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
    with file.open("a", encoding="utf-8") as opened:
        opened.write(json.dumps(row) + "\n")
        opened.flush()


if __name__ == "__main__":
    main()
