"""The books of a run with rungs: who was scored on what, who goes on, what the others are worth."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from evomerge.optimizers.known_points import is_known_point
from evomerge.study.picks import Combine
from evomerge.study.rungs.climber import Climber
from evomerge.study.rungs.config import RungsConfig
from evomerge.study.rungs.judging import Judging
from evomerge.study.rungs.ladder import PROXY, Ladder, Positions, own_seed
from evomerge.study.rungs.placing import Placing
from evomerge.study.rungs.promotion import Peers, best_of_cohort
from evomerge.study.rungs.proxies import Proxies
from evomerge.study.rungs.rivals import is_beaten
from evomerge.types import Bounds, Completed, Failed, Objective, Outcome
from evomerge.workers.spec import ProxySpec

Foresee: TypeAlias = Callable[[int], tuple[Sequence[float], Sequence[float]] | None]
"""A trial's number to its expected costs and their standard errors; None where nothing is known."""

Cohort: TypeAlias = tuple[int, int, int]
"""Part, cohort and rung of trials that are compared with one another."""

_LOTS = 1 << 16  # tells these seeds from those of objectives


def bounds_to_keep(rungs: RungsConfig, objectives: Sequence[Objective]) -> dict[str, Bounds]:
    """Return the bounds that scores of items must keep, where racing or an estimator needs them."""
    needed = rungs.race is not None or rungs.needs_endpoints
    return {one.name: one.bounds for one in objectives} if needed else {}


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of trials that were scored at their rung.

    Attributes:
        climb: those that are scored at the next one.
        stop: those that are not.
    """

    climb: Sequence[int] = ()
    stop: Sequence[int] = ()


class Climbing:
    """Which rung each trial of a run is at, and what becomes of it there.

    Known points (the base, donors, ...) are scored on all items at once, unless the study has them
    climb. State and decisions follow from the calls alone.

    Args:
        rungs: of the study.
        objectives: in order.
        items: objective name to the ids of its search items.
        seed: of the study.
        proxies: objective name to its proxy, where it has one.
        folder: where relative paths of the study start.

    Attributes:
        notes: what users should know of how it goes, in the order in which it was found.
    """

    def __init__(
        self,
        rungs: RungsConfig,
        objectives: Sequence[Objective],
        items: Mapping[str, Sequence[str]],
        seed: int,
        proxies: Mapping[str, ProxySpec],
        folder: Path,
    ) -> None:
        self.notes: list[str] = []
        self._rungs = rungs
        self._objectives = objectives
        self._seed = seed
        self._ladder = Ladder(rungs.items, items, seed)
        self._judging = Judging(rungs, objectives, self._ladder, seed, folder)
        self._has_learnt = not rungs.needs_endpoints
        self._has_refitted = False
        self._bounds = bounds_to_keep(rungs, objectives)
        self._proxy_specs = proxies
        self._proxies: Proxies | None = None
        self._climbers: dict[int, Climber] = {}
        self._undecided: dict[int, Climber] = {}
        self._peers: dict[tuple[int, int], Peers] = {}
        self._stopping: list[int] = []
        self._part = -1
        self._foresee: Foresee = lambda _: None
        self._combine: Combine | None = None
        self._placing: Placing | None = None

    def enter(
        self,
        *,
        whole_generations: bool,
        combine: Combine | None,
        foresee: Foresee = lambda _: None,
    ) -> None:
        """Begin the next part of the run, whose trials have no peers yet.

        Args:
            whole_generations: trials of one generation are of one cohort.
            combine: the one cost that its trials are compared by; None compares all their costs.
            foresee: what the optimizer's model says of a trial that it was not told of.
        """
        self._foresee = foresee
        self._part += 1
        self._combine = combine
        self._placing = Placing(self._rungs, self._ladder, whole_generations=whole_generations)
        self._peers = {}
        self._proxies = None
        if self._proxy_specs:
            goals = {name: one.goal for name, one in self._proxy_specs.items()}
            keep, least = self._rungs.keep, self._rungs.least_correlation
            seed = self._seed_of_lots(self._part)
            self._proxies = Proxies(goals, self._objectives, keep, least, seed)

    def place(self, number: int, origin: str) -> dict[str, int]:
        """Note a trial that is asked for; returns what its event says of it."""
        if self._rungs.measure_known and is_known_point(origin):
            top = self._ladder.top
            self._climbers[number] = Climber(self._part, None, top, origin, top)
            return {}
        if self._placing is None:
            raise RuntimeError("no part of the run was entered")
        cohort, bracket = self._placing.place("known" if is_known_point(origin) else origin)
        rung = bracket
        if rung == 0 and self._proxies is not None and self._proxies.of_use:
            self._proxies.place(number)
            rung = PROXY
        self._climbers[number] = Climber(self._part, cohort, bracket, "", rung)
        return {"bracket": bracket} if self._placing.has_brackets else {}

    def must_wait(self, number: int, pending: Collection[int]) -> bool:
        """Say whether a trial cannot be scored yet, since base and donors come first.

        Args:
            number: of the trial.
            pending: the trials that are not finished.
        """
        if self._has_learnt or self._climbers[number].origin:
            return False
        return any(self._climbers[other].origin for other in pending)

    def is_whole(self, number: int) -> bool:
        """Say whether a trial is scored on all items at once."""
        return bool(self._climbers[number].origin)

    def rung_of(self, number: int) -> int:
        """Return the rung a trial is scored at next, or waits at; `PROXY` before the first."""
        return self._climbers[number].rung

    @property
    def stopping(self) -> tuple[int, ...]:
        """Trials that go no further and are not finished yet."""
        return tuple(self._stopping)

    def positions(self, number: int) -> Positions:
        """Return the items a trial is scored on next; none of an objective that is done with.

        Raises:
            EvomergeError: they depend on base and donors, none of which could be scored.
        """
        climber = self._climbers[number]
        if not self._has_learnt and not climber.origin:
            known = {one.origin: one for one in self._climbers.values() if one.origin and one.costs}
            self._judging.learn(known)
            self._has_learnt = True
            for one in known.values():
                one.forget(measured=True)
        new = dict(self._ladder.new_items(climber.scored, max(climber.rung, 0)))
        if climber.rung == PROXY:
            new = {name: items for name, items in new.items() if name in self._proxy_specs}
        for objective in self._objectives:
            if objective.name in self._ladder.order:
                continue
            if objective.name in climber.outcome.metrics:
                new[objective.name] = ()
        return new

    def price(self, number: int) -> float:
        """Return what the items a trial is scored on next count in a budget of items."""
        by_proxies = self._climbers[number].rung == PROXY
        return sum(
            len(items) * (self._proxy_specs[name].cost if by_proxies and items else 1)
            for name, items in self.positions(number).items()
        )

    def add(self, number: int, outcome: Completed) -> Outcome:
        """Note what a trial scored on the items of its rung.

        Returns:
            The outcome; a failed one where the scores of the items are not what a rung needs.
        """
        climber = self._climbers[number]
        if climber.rung == PROXY and self._proxies is not None:
            self._proxies.add(number, outcome)
            climber.outcome = outcome
            self._undecided[number] = climber
            return outcome
        try:
            climber.add(outcome, self._ladder, self._bounds)
        except ValueError as error:
            return Failed("error", str(error))
        costs = self._judging.costs(climber)
        climber.costs[climber.rung] = costs
        if climber.cohort is None and not climber.origin and self._rungs.promote is not None:
            at = (climber.bracket, climber.rung)
            seed = self._seed_of_lots(self._part, *at)
            peers = self._peers.setdefault(at, Peers(self._rungs.promote, seed))
            climber.promising = peers.goes_on(self._compared(self._foretold(number)))
        if climber.rung == 0 and self._proxies is not None:
            n_noted = len(self._proxies.notes)
            self._proxies.add_real(number, outcome)
            self.notes += self._proxies.notes[n_noted:]
        self._undecided[number] = climber
        self._refit()
        return outcome

    def _refit(self) -> None:
        """Fit items anew when enough candidates were scored on all; who waits is judged by that.

        What was compared before is not compared with what comes: peers begin anew.
        """
        due = self._rungs.estimator.refit
        measured = {
            f"trial {number}": one
            for number, one in self._climbers.items()
            if one.scored >= self._ladder.top and not one.origin
        }
        if due is None or self._has_refitted or len(measured) < due:
            return
        self._has_refitted = True
        self._judging.refit(measured)
        self._peers = {}
        for one in self._undecided.values():
            if 0 <= one.scored < self._ladder.top:
                one.costs[one.scored] = self._judging.costs(one)

    def apply(self, decision: Decision) -> None:
        """Send trials to the next rung, or let them go."""
        for number in decision.climb:
            self._undecided.pop(number).rung += 1
        for number in decision.stop:
            del self._undecided[number]
        self._stopping += decision.stop

    def finish(self, number: int) -> None:
        """Note that a trial is finished, wherever it was."""
        if number in self._stopping:
            self._stopping.remove(number)
        climber = self._climbers[number]
        if self._has_learnt or not climber.origin:
            climber.forget(measured=climber.scored >= self._ladder.top)

    def decide(self, pending: Collection[int], *, ended: bool) -> Decision:
        """Say what becomes of the trials that were scored at their rung, in trial order.

        Args:
            pending: the trials that are not finished, without those that wait for the outcome of
                another with the same recipe.
            ended: nothing more is coming: cohorts are compared as they are.
        """
        good: set[int] = set()
        decided: set[int] = set()
        cohorts: dict[Cohort, list[int]] = {}
        for number, climber in sorted(self._undecided.items()):
            if climber.rung >= self._ladder.top:
                decided.add(number)
            elif climber.cohort is not None and climber.rung != PROXY:
                key = (climber.part, climber.cohort, climber.rung)
                cohorts.setdefault(key, []).append(number)
            else:
                decided.add(number)
                good |= {number} if self._is_promising(number) else set()
        for key, members in cohorts.items():
            if ended or self._is_complete(key, pending):
                decided |= set(members)
                good |= self._best_of(members)
        climb = [one for one in sorted(decided) if one in good and not self._is_beaten(one)]
        return Decision(climb, [one for one in sorted(decided) if one not in climb])

    def told(self, number: int) -> Completed:
        """Return the outcome of a trial that goes no further, measured or estimated."""
        climber = self._climbers[number]
        if climber.rung == PROXY and self._proxies is not None:
            found = self._proxies.predictions(number)
            values = {name: value for name, (value, _) in found.items()}
            errors = {name: error for name, (_, error) in found.items()}
            metrics = {**climber.outcome.metrics, **values}
            return replace(climber.outcome, metrics=metrics, errors=errors)
        return self._judging.told(climber, self._measured(None))

    def _foretold(self, number: int) -> list[float]:
        """Return the costs expected on all items; a few of them suit some more than others.

        What the optimizer's model expects of a trial by those near it counts as one more estimate,
        each by the inverse of its squared error.
        """
        outcome = self._judging.told(self._climbers[number], self._measured(None))
        costs = [float(one.cost(outcome.metrics[one.name])) for one in self._objectives]
        foreseen = self._foresee(number)
        if foreseen is None:
            return costs
        expected, own_errors = map(np.array, foreseen)
        errors = np.array([(outcome.errors or {}).get(one.name, 0.0) for one in self._objectives])
        weights = errors**2 / np.maximum(errors**2 + own_errors**2, np.finfo(np.float64).tiny)
        return [float(cost) for cost in costs + weights * (expected - costs)]

    def _measured(self, part: int | None) -> list[Climber]:
        """Return who was scored on all items; in one part of the run, or in all of them."""
        return [
            one
            for one in self._climbers.values()
            if one.scored >= self._ladder.top and part in (None, one.part)
        ]

    def _seed_of_lots(self, *names: int) -> int:
        return own_seed(self._seed, _LOTS, *names)

    def _is_promising(self, number: int) -> bool:
        """Say whether a trial is among the best that were scored at its rung so far."""
        climber = self._climbers[number]
        if climber.rung == PROXY:
            return self._proxies is None or self._proxies.lets_through(number)
        return climber.promising

    def _is_complete(self, cohort: Cohort, pending: Collection[int]) -> bool:
        """Say whether a cohort has all its members, and all that reach its rung were scored."""
        part, name, rung = cohort
        if self._placing and part == self._part and name == self._placing.latest:
            return False
        on_the_way = (
            one
            for number in pending
            if number not in self._undecided and (one := self._climbers[number]).rung <= rung
        )
        return not any((one.part, one.cohort) == (part, name) for one in on_the_way)

    def _compared(self, costs: Sequence[float]) -> Sequence[float]:
        """Return what a trial is compared by: its costs, or the one they are combined into."""
        return costs if self._combine is None else [self._combine(costs)]

    def _best_of(self, members: Sequence[int]) -> set[int]:
        share = self._rungs.promote
        if share is None:
            return set(members)
        first = self._climbers[members[0]]
        costs = np.array(
            [self._compared(self._climbers[number].costs[first.rung]) for number in members]
        )
        seed = self._seed_of_lots(first.part, first.rung, first.cohort or 0)
        return {members[row] for row in best_of_cohort(costs, share, seed)}

    def _is_beaten(self, number: int) -> bool:
        """Say whether a member of the front is proven to be better in every objective."""
        climber, race = self._climbers[number], self._rungs.race
        if race is None or climber.rung == PROXY:
            return False
        rivals = self._measured(climber.part)
        return is_beaten(climber, rivals, self._objectives, self._ladder, race)
