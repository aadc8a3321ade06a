"""Drives searches of several seeds side by side and keeps the best model of each.

Every search asks for `batch` individuals at a time; those of all seeds are scored together, so that
even searches that go one by one fill the batches of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from digits import Floats, Images, Network
from searches import Arm, Result, Task, in_layout


@dataclass
class Course:
    """What became of a search.

    Attributes:
        accuracy: of the best model so far on the training images; the first of equals.
        weights: of that model.
        evaluations: after how many it was found, founders included.
        curve: (evaluations without founders, accuracy on the test images) of the best model.
    """

    accuracy: float = -1.0
    weights: Floats | None = None
    evaluations: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)


def drive(
    arm: Arm,
    founders: Sequence[Sequence[Floats]],
    seeds: Sequence[int],
    budget: int,
    train: Images,
    test: Images,
    *,
    batch: int = 1,
    marks: Sequence[int] = (),
) -> list[Course]:
    """Search once for each seed.

    Args:
        arm: how.
        founders: of each seed, in storage order.
        seeds: of the searches.
        budget: evaluations of each beside those of its founders.
        train: the images that searches learn from.
        test: those that the best model is reported on, which no search sees.
        batch: individuals that a search asks for before it learns what became of them.
        marks: evaluations at which the best model is read off; the end always is.
    """
    network, reported = Network(train, arm.layout), Network(test, arm.layout)
    searches = [
        arm.start([in_layout(one, arm.layout) for one in ours], Task(seed, budget, train.labels))
        for ours, seed in zip(founders, seeds, strict=True)
    ]
    courses = [Course() for _ in searches]
    stops = sorted({budget, *(mark for mark in marks if mark < budget)})
    done = -len(founders[0])
    while done < budget:
        n = -done if done < 0 else min(batch, stops[0] - done)
        asked = [search.ask(n) for search in searches]
        results = scored(network, np.concatenate(asked), arm)
        for number, (search, course) in enumerate(zip(searches, courses, strict=True)):
            ours = results[number * n : (number + 1) * n]
            search.tell(ours)
            _remember(course, asked[number], ours, done + len(founders[0]))
        done += n
        if done == stops[0]:
            stops.pop(0)
            best = np.stack([course.weights for course in courses if course.weights is not None])
            for course, accuracy in zip(courses, reported.accuracy(best), strict=True):
                course.curve.append((done, float(accuracy)))
    return courses


def scored(network: Network, individuals: Floats, arm: Arm) -> list[Result]:
    """Score individuals of shape (n, N_WEIGHTS) together."""
    if arm.score == "solved":
        solved = network.solved(individuals)
        rows = list(solved)
        pairs = zip(rows, rows, strict=True)
    else:
        scores, solved = network.confidence(individuals)
        pairs = zip(scores, solved, strict=True)
    finite = np.isfinite(individuals.sum(axis=1)).tolist()
    return [Result.of(*pair, fine) for pair, fine in zip(pairs, finite, strict=True)]


def _remember(
    course: Course, individuals: Sequence[Floats], results: Sequence[Result], before: int
) -> None:
    for place, (weights, result) in enumerate(zip(individuals, results, strict=True)):
        if result.accuracy > course.accuracy:
            course.accuracy, course.weights = result.accuracy, weights
            course.evaluations = before + place + 1
