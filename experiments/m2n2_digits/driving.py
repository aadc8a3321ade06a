"""Drives searches of several seeds side by side and keeps the best model of each.

Every search asks for `batch` individuals at a time; those of all seeds are scored together, so that
even searches that go one by one fill the batches of the network.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from digits import N_WEIGHTS, Floats, Images, Network
from searches import Arm, Result, Task, in_layout

_ONES = np.ones(N_WEIGHTS, dtype=np.float32)


@dataclass
class Course:
    """What became of a search.

    Attributes:
        accuracy: of the best model so far on the training images.
        score: its mean score, which decides between equal accuracies; of equals the first is best.
        weights: of that model.
        evaluations: after how many it was found, founders included.
        curve: (evaluations without founders, accuracy on the test images) of the best model.
    """

    accuracy: float = -1.0
    score: float = -1.0
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
    ahead: bool = False,
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
        ahead: score in a thread of its own, and ask for a batch while the last is being scored.
    """
    network, reported = Network(train, arm.layout), Network(test, arm.layout)
    searches = [
        arm.start([in_layout(one, arm.layout) for one in ours], Task(seed, budget, train.labels))
        for ours, seed in zip(founders, seeds, strict=True)
    ]
    courses = [Course() for _ in searches]
    stops = sorted({budget, *(mark for mark in marks if mark < budget)})
    n_founders = len(founders[0])
    waiting: deque[tuple[list[list[Floats]], Future[list[Result]]]] = deque()
    asked = told = -n_founders
    with _scorer(ahead) as submit:
        while told < budget:
            while asked < budget and len(waiting) < (2 if ahead and told >= 0 else 1):
                stop = next(stop for stop in stops if stop > asked)
                n = n_founders if asked < 0 else min(batch, stop - asked)
                individuals = [search.ask(n) for search in searches]
                waiting.append((individuals, submit(scored, network, individuals, arm)))
                asked += n
            individuals, future = waiting.popleft()
            results = future.result()
            n = len(individuals[0])
            for number, (search, course) in enumerate(zip(searches, courses, strict=True)):
                ours = results[number * n : (number + 1) * n]
                search.tell(ours)
                _remember(course, individuals[number], ours, told + n_founders)
            told += n
            if told in stops:
                _read_off(courses, reported, told)
    return courses


@contextmanager
def _scorer(ahead: bool) -> Iterator[Callable[..., Future[list[Result]]]]:
    """Give something that calls a function, at once or in a thread."""
    if ahead:
        with ThreadPoolExecutor(1) as pool:
            yield pool.submit
    else:
        yield _call


def _call(function: Callable[..., list[Result]], *arguments: object) -> Future[list[Result]]:
    future: Future[list[Result]] = Future()
    future.set_result(function(*arguments))
    return future


def _read_off(courses: Sequence[Course], reported: Network, done: int) -> None:
    best = np.stack([course.weights for course in courses if course.weights is not None])
    for course, accuracy in zip(courses, reported.accuracy(best), strict=True):
        course.curve.append((done, float(accuracy)))


def scored(network: Network, asked: Sequence[Sequence[Floats]], arm: Arm) -> list[Result]:
    """Score what the searches asked for together, search by search."""
    individuals = [one for ours in asked for one in ours]
    if arm.score == "solved":
        solved = network.solved(individuals)
        rows = list(solved)
        pairs = zip(rows, rows, strict=True)
    else:
        scores, solved = network.confidence(individuals)
        pairs = zip(scores, solved, strict=True)
    return [
        Result.of(*pair, finite=math.isfinite(one @ _ONES))
        for pair, one in zip(pairs, individuals, strict=True)
    ]


def _remember(
    course: Course, individuals: Sequence[Floats], results: Sequence[Result], before: int
) -> None:
    for place, (weights, result) in enumerate(zip(individuals, results, strict=True)):
        if (result.accuracy, result.score) > (course.accuracy, course.score):
            course.accuracy, course.score, course.weights = result.accuracy, result.score, weights
            course.evaluations = before + place + 1
