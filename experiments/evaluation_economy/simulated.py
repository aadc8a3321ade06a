"""The searches of `economy.py` where no model answers and the worth of a merge is known.

    python experiments/evaluation_economy/simulated.py alike --out runs/simulated   # some minutes
    python experiments/evaluation_economy/simulated.py run --out runs/simulated     # an hour or two
    python experiments/evaluation_economy/simulated.py report --out runs/simulated

Everything is as there, but for who answers: the problem `three` of the test-bed says how likely
each of 64 items is answered by a merge of the same donors. Each of a task's 500 items is one of
these, drawn for the seed, with a threshold of its own: it is answered where it is likelier than
that. So merges of like weights answer alike, and what a merge is worth is the mean of the
probabilities. `alike` measures on the real models how many answers differ, for comparison.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from economy import carry_out
from economy_arms import ARMS, DONORS, SEARCH_ITEMS, study, write_items
from economy_tables import report_lines
from numpy.typing import NDArray

from evomerge.journal import read_events
from evomerge.recipe import Recipe
from evomerge.study import Prepared, prepare
from evomerge.testing.problems import merge_problem
from evomerge.testing.readme import publish
from evomerge.types import Completed, Split
from evomerge.workers import Job
from evomerge.workers.inline import InlineExecutor
from evomerge.workers.protocol import Held, JobResult

SEEDS = range(9, 29)
"""Those before were used to settle what a model takes for noise."""
NAMED: Mapping[Split, int] = {"search": SEARCH_ITEMS, "holdout": 1}
"""Items of a task; a study asks for some that no search sees."""
PROBLEM = merge_problem("three")
CENTRE = (0.4, 1.0, 0.64)
"""Weights of a good merge, around which answers are compared."""
DISTANCES = (0.005, 0.02, 0.05, 0.1, 0.2)
DIRECTIONS = 5
NEAR = 0.15
"""Weights so far apart are a tenth of the box apart."""


class Answering:
    """An executor that merges nothing and knows the answers.

    Args:
        study: says which source of a recipe is which donor.
        seed: of the items.
    """

    capacity = 1

    def __init__(self, study: Prepared, seed: int) -> None:
        self._refs = [study.context.donors[name] for name in DONORS]
        self._jobs: list[Job] = []
        random = np.random.default_rng([seed, SEARCH_ITEMS])
        shape = (len(DONORS), SEARCH_ITEMS)
        self._items = random.integers(PROBLEM.data.surrogate.n_items, size=shape)
        self._thresholds = random.random(shape)

    def weights(self, recipe: Recipe) -> tuple[float, ...]:
        """Return the weight of each donor."""
        found = {source.model: float(source.parameters["weight"]) for source in recipe.models or ()}
        return tuple(found.get(ref, 0.0) for ref in self._refs)

    def answers(self, weights: Sequence[float]) -> NDArray[np.bool_]:
        """Return whether each item of each task is answered, (n_tasks, n_items)."""
        point = np.array(PROBLEM.domain.to_unit(tuple(weights)))
        chances = PROBLEM.data.surrogate.probabilities(point)
        return np.asarray(self._thresholds < np.take_along_axis(chances, self._items, axis=1))

    def submit(self, job: Job) -> None:
        """Keep a job until it is waited for."""
        self._jobs.append(job)

    def wait(self, timeout_s: float | None = None) -> list[JobResult]:  # noqa: ARG002
        """Answer the items of the oldest job."""
        if not self._jobs:
            return []
        job = self._jobs.pop(0)
        examples = {}
        for task, row in zip(DONORS.values(), self.answers(self.weights(job.recipe)), strict=True):
            wanted = (job.batch or {}).get(task, range(NAMED[job.split]))[: job.limit]
            examples[task] = {item_id(task, job.split, n): float(row[n]) for n in wanted}
        means = {task: float(np.mean([*own.values()])) for task, own in examples.items()}
        return [JobResult(job, Completed(means, examples))]

    def held(self) -> Held:
        """Say that nothing is held."""
        return Held()

    def close(self) -> None:
        """Forget what was not answered."""
        self._jobs.clear()


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    steps.add_parser("alike", help="compare answers of like merges with those of real models")
    run = steps.add_parser("run", help="carry out the searches")
    run.add_argument("--arms", nargs="*", choices=ARMS, default=list(ARMS))
    run.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    steps.add_parser("report", help="write the tables into the README")
    for step in steps.choices.values():
        step.add_argument("--out", type=Path, required=True, help="where runs are kept")
    options = parser.parse_args()
    if options.step == "report":
        publish(__file__, "alike", alike_lines(options.out))
        publish(__file__, "errors", error_lines(options.out))
        publish(__file__, "simulated", report_lines(options.out))
    elif options.step == "alike":
        compare(options.out)
    else:
        items = named_items(options.out.resolve() / "items")
        for seed in options.seeds:
            for name in options.arms:
                search(name, seed, items, options.out)


def search(name: str, seed: int, items: Path, out: Path) -> None:
    """Carry one run to its end and write what its best are worth."""
    known = Answering(prepare(study(ARMS[name], items, seed), Path()), seed)

    def worth(recipe: Recipe) -> float:
        return -float(np.mean(PROBLEM.expected_costs(known.weights(recipe))))

    carry_out(
        name, seed, items, out, executor=lambda prepared: Answering(prepared, seed), judge=worth
    )


def item_id(task: str, split: Split, number: int) -> str:
    """Name an item as `named_items` does."""
    return f"{task}-{split}-{number}"


def named_items(folder: Path) -> Path:
    """Write items that have names and no content; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in DONORS.values():
        for split, count in NAMED.items():
            names = [item_id(task, split, number) for number in range(count)]
            rows = [{"id": name, "prompt": name, "answer": ""} for name in names]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{task}.{split}.jsonl").write_text(text, encoding="utf-8")
    return folder


def compare(out: Path) -> None:
    """Measure how many answers of real and simulated merges differ at some distances."""
    items = write_items(out.resolve() / "real-items")
    prepared = prepare(study(ARMS["whole"], items, 1), Path())
    workers = InlineExecutor(prepared.evaluator)

    def answered(weights: Sequence[float]) -> NDArray[np.bool_]:
        workers.submit(Job("alike", prepared.space.decode(tuple(weights))))
        outcome = workers.wait()[0].outcome
        if not isinstance(outcome, Completed):
            raise SystemExit(f"a merge cannot be scored: {outcome.message}")
        return np.array([list(outcome.examples[task].values()) for task in DONORS.values()]) > 0

    random = np.random.default_rng(0)
    directions = random.normal(size=(DIRECTIONS, len(CENTRE)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rows = {}
    for name, answers in (("real", answered), ("simulated", Answering(prepared, 1).answers)):
        at = answers(CENTRE)
        rows[name] = [
            [float((answers(np.array(CENTRE) + by * one) != at).mean()) for one in directions]
            for by in DISTANCES
        ]
    (out / "alike.txt").write_text(json.dumps(rows), encoding="utf-8")


def alike_lines(out: Path) -> Iterator[str]:
    """Yield the table of answers that differ."""
    rows = json.loads((out / "alike.txt").read_text(encoding="utf-8"))
    yield f"Share of answers that differ, mean and range over {DIRECTIONS} directions."
    yield ""
    yield "| distance of the weights | " + " | ".join(f"{by:g}" for by in DISTANCES) + " |"
    yield "|---|" + "---:|" * len(DISTANCES)
    for name, shares in rows.items():
        cells = [f"{np.mean(own):.1%} ({min(own):.1%} to {max(own):.1%})" for own in shares]
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""


def error_lines(out: Path) -> Iterator[str]:
    """Yield how far estimates by regression are off the scores on all items, from the journals."""
    sizes, alike = [], []
    items = named_items(out.resolve() / "items")
    for run in sorted(out.glob("mobo-rungs-*/")):
        seed = int(run.name.rpartition("-")[2])
        answering = Answering(prepare(study(ARMS["mobo-rungs"], items, seed), Path()), seed)
        events = read_events(run)
        weights = {e.trial: e.payload["genotype"] for e in events if e.kind == "asked"}
        points, errors = [], []
        for event in events:
            if event.kind == "finished" and event.payload.get("errors"):
                told = [event.payload["metrics"][task] for task in DONORS.values()]
                error = [event.payload["errors"][task] for task in DONORS.values()]
                true = answering.answers(weights[event.trial]).mean(axis=1)
                points.append(weights[event.trial])
                errors.append((np.array(told) - true) / np.array(error))
        off, at = np.array(errors), np.array(points)
        sizes.append(np.sqrt((off**2).mean()))
        one, other = np.triu_indices(len(at), 1)
        near = np.linalg.norm(at[one] - at[other], axis=1) < NEAR
        alike.append((off[one[near]] * off[other[near]]).mean() / (off**2).mean())
    yield f"Errors of estimates by regression in {len(sizes)} searches, median and range over them:"
    yield ""
    for what, values in (
        ("root mean square, in standard errors", sizes),
        (f"correlation of two whose weights are less than {NEAR:g} apart", alike),
    ):
        yield f"- {what}: {np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
    yield ""


if __name__ == "__main__":
    main()
