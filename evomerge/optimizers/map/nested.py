"""Nested MAP: two nodes of a tree of merges at a time (Li et al. 2024, arXiv 2406.07529, Sec. 4).

The two nodes whose scores differ least are merged by a small MAP of their scales, until one node is
left: the cost is linear in the number of donors. The released code carries one model a node, chosen
by preferences that must be known beforehand. Here a node carries several, from good at the one
side's tasks to good at the other's, and a merge above it varies which of them it takes, so that the
root is a front. Where preferences are given, those are carried that fall least short of them. What
is left of the budget is sampled around the root, and then, in rounds, around the best of everything
that was evaluated: the few versions of the root are a small part of the front.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from evomerge.errors import ConfigError, nearest
from evomerge.optimizers.arguments import by_name, checked_domain, integer, not_negative
from evomerge.optimizers.costs import bounded
from evomerge.optimizers.generation import Generation, Generational
from evomerge.optimizers.known_points import SEED, known_points
from evomerge.optimizers.links import Link, LogitLink, links_of
from evomerge.optimizers.map.directions import BASE, directions
from evomerge.optimizers.map.node_sizes import notes_of_small, points_of, versions_of
from evomerge.optimizers.map.quadratic import RIDGE, fit, n_coefficients
from evomerge.optimizers.map.search import SPARE, fit_notes, sobol, titles_of
from evomerge.optimizers.map.surrogate_front import Predicted, chosen
from evomerge.optimizers.map.tree import Merging, Node
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.pareto import by_preference, non_dominated, thin
from evomerge.spaces.domain import Domain
from evomerge.types import Genotype, Objective, Trial

Floats = npt.NDArray[np.float64]

PREDICTIONS = 2048
"""Sobol points at which a node's surrogates are read: of 2 to 4 variables these are dense."""
LIKED = 50
"""Of the predictions, how many preferences leave to spread a node's versions over."""
AROUND = 0.2
"""Half the width of the box, in coefficients, that is sampled around a centre."""
FIRST_ROUND = 80
"""Samples around the root's members."""
ROUND = 20
"""Samples of each later round, and its centres at most."""


class NestedMap(Generational):
    """MAP along a tree, for many donors.

    An objective belongs to the donor that is best at it; a node's tasks are those of the donors
    below it, all where these are best at none. Scores are on one scale: a cost's share of its
    bounds, or of its range over the known points.

    Args:
        domain: weights of donors in a space that is linear in them, with the base and the donors
            among its known points.
        n_objectives: any number.
        seed: source of all randomness.
        objectives: told by the study; their bounds choose the links.
        budget: told by the study.
        points: trials a node; by default what the budget allows, from 6 to 20, the released number.
            Below 11 a note says that fits cannot be judged.
        carried: versions that a node keeps and that are evaluated after its design; 4 by default,
            or a third of `points`.
        preferences: objective name to weight: how much a shortfall hurts. Kept are the versions of
            a node whose worst weighted shortfall, of the two sides, is smallest, and sampled around
            are the merges whose worst, of the objectives, is. By default both are spread.
        ridge: of the fits.

    Attributes:
        notes: whether nodes are small, which were merged, and how well their surrogates fit.

    Raises:
        ConfigError: the space is not linear in the weights of its donors, an option is out of
            range, or the budget is too small for the number of donors.
    """

    needs = Needs(objectives="any", generations=True)

    def __init__(
        self,
        domain: Domain,
        n_objectives: int,
        seed: int,
        *,
        objectives: Sequence[Objective] = (),
        budget: int | None = None,
        points: int | None = None,
        carried: int | None = None,
        preferences: Mapping[str, float] | None = None,
        ridge: float = RIDGE,
    ) -> None:
        super().__init__(integer("n_objectives", n_objectives, 1))
        self._domain = checked_domain(domain)
        self._seed = integer("seed", seed, 0)
        self._links = links_of(objectives, n_objectives)
        self._titles = titles_of(objectives, n_objectives)
        self._prefers = preferences is not None
        self._preferences = _preferences(preferences, self._titles)
        self._ridge = not_negative("ridge", ridge)
        self._donors, self._origin, self._steps = directions(domain)
        self._coordinates = np.linalg.pinv(self._steps)
        known = known_points(domain)
        self._points = points_of(points, budget, len(known), len(self._donors))
        self._carried = (
            versions_of(self._points) if carried is None else integer("carried", carried, 1)
        )
        if self._carried > self._points - 4:
            raise ConfigError(
                [
                    f"carried: {self._carried} of {self._points} points a node leave fewer than 4 "
                    "for its design"
                ]
            )
        self._left = None if budget is None else budget - len(known)
        self._nodes: list[Node] = []
        self._merging: Merging | None = None
        self._designing = False
        self._variables: Floats | None = None
        self._tried = np.empty((0, len(self._donors)))
        self._costs = np.empty((0, n_objectives))
        self._round = 0
        self._units = np.ones(n_objectives)
        self._tasks: list[list[int]] = []
        self._base_costs: Floats | None = None
        self._guess = np.zeros(n_objectives)  # the costs of a donor that could not be scored
        self.notes = notes_of_small(
            self._points, self._carried, len(known), len(self._donors), by_default=carried is None
        )
        self._known = known
        self._generation = Generation(known)

    def _advance(self, trials: Sequence[Trial]) -> None:
        self._round += 1
        self._keep(trials)
        if self._round == 1:
            self._plant(trials)
            self._merge_next()
            return
        if self._left is not None:
            self._left -= len(trials)
        if self._merging is None:
            self._sample_around(self._best(), ROUND)
            return
        self._learn(self._merging, trials)
        if self._designing:
            self._designing = False
            self._propose(self._promising(self._merging), "nested_map:carried")
        else:
            self._nodes.append(self._made(self._merging))
            self._merge_next()

    def _keep(self, trials: Sequence[Trial]) -> None:
        """Keep coefficients, as they are within the domain, and costs of what was evaluated."""
        for trial in trials:
            if trial.costs is not None:
                step = np.array(trial.genotype, dtype=np.float64) - self._origin
                self._tried = np.vstack([self._tried, step @ self._coordinates])
                self._costs = np.vstack([self._costs, _bounded(trial.costs)])

    def _plant(self, trials: Sequence[Trial]) -> None:
        """Make the donors the leaves, and give each the objectives it is best at."""
        costs = {
            point.origin: _bounded(trial.costs)
            for point, trial in zip(self._known, trials, strict=True)
            if trial.costs is not None
        }
        completed = np.array(list(costs.values())).reshape(-1, len(self._titles))
        if len(completed):
            self._guess = completed.max(axis=0)
        table = np.array([costs.get(f"{SEED}{name}", self._guess) for name in self._donors])
        measured = [f"{SEED}{name}" in costs for name in self._donors]
        self.notes += [
            f"nested_map: {name} has no scores of its own; it is merged as if none were worse, "
            "and surrogates do without it"
            for name, known in zip(self._donors, measured, strict=True)
            if not known
        ]
        self._units = _units(self._links, completed)
        best = table.argmin(axis=0)
        self._tasks = [np.flatnonzero(best == k).tolist() for k in range(len(table))]
        ones = np.eye(len(table))
        self._nodes = [Node((k,), ones[[k]], table[[k]], measured[k]) for k in range(len(table))]
        self._base_costs = costs.get(f"{SEED}{BASE}")

    def _merge_next(self) -> None:
        """Sample the merges of the two nodes whose scores differ least; or around the root."""
        self._merging = None
        if len(self._nodes) == 1:
            self._sample_around(self._nodes[0].members, FIRST_ROUND)
            return
        scores = [float(self._merits(node.leaves, node.costs).min()) for node in self._nodes]
        pairs = [(i, j) for j in range(len(scores)) for i in range(j)]
        i, j = min(pairs, key=lambda pair: (abs(scores[pair[0]] - scores[pair[1]]), pair))
        b, a = self._nodes.pop(j), self._nodes.pop(i)
        self.notes.append(f"nested_map: merges {self._named(a)} with {self._named(b)}")
        size = self._points - self._carried
        merging = Merging((a, b), by_position=True)
        variables, costs = merging.alone()
        if len(variables) + size < n_coefficients(merging.n_variables) + SPARE:
            merging = Merging((a, b), by_position=False)
            variables, costs = merging.alone()
        if self._base_costs is not None:  # both scales 0: the base
            middle = [0.0, 0.0] + [0.5] * (merging.n_variables - 2)
            variables, costs = np.vstack([variables, middle]), np.vstack([costs, self._base_costs])
        self._merging = merging.with_points(variables, costs)
        self._designing = True
        self._propose(sobol(merging.n_variables, size, self._random()), "nested_map:design")

    def _learn(self, merging: Merging, trials: Sequence[Trial]) -> None:
        done = [k for k, trial in enumerate(trials) if trial.costs is not None]
        if done and self._variables is not None:
            costs = np.array([_bounded(trials[k].costs or ()) for k in done])
            self._merging = merging.with_points(self._variables[done], costs)

    def _promising(self, merging: Merging) -> Floats:
        """Return the variables of the versions to evaluate, by the surrogates of the node."""
        leaves = [leaf for side in merging.sides for leaf in side.leaves]
        points = sobol(merging.n_variables, PREDICTIONS, self._random())
        if not len(merging.costs):
            return points[: self._carried]
        predicted = np.zeros((PREDICTIONS, len(self._titles)))
        surrogates, named = [], []
        for k in self._tasks_of(leaves):
            link = self._links[k].fitted(merging.costs[:, k])
            one = fit(merging.variables, merging.costs[:, k], link, self._ridge)
            predicted[:, k] = one.costs(points)
            surrogates.append(one)
            named.append(self._titles[k])
        self.notes += fit_notes("nested_map", named, surrogates)
        merits = self._both_sides(merging, predicted)
        if self._prefers:
            order = by_preference(merits, self._weights(merging))
            best = max(LIKED, self._carried)
        else:
            front = non_dominated(merits)
            order = np.concatenate([front, np.setdiff1d(np.arange(PREDICTIONS), front)])
            best = len(front)
        choice = Predicted(points[order], merits[order], best)
        return chosen(choice, self._carried, merging.variables)

    def _made(self, merging: Merging) -> Node:
        """Make a node of the best points that were evaluated of it, on the sides' scores."""
        leaves = merging.sides[0].leaves + merging.sides[1].leaves
        if not len(merging.costs):
            middle = merging.coefficients(np.full((1, merging.n_variables), 0.5))
            return Node(leaves, middle, self._guess[None], measured=False)
        merits = self._both_sides(merging, merging.costs)
        if self._prefers:
            kept = by_preference(merits, self._weights(merging))[: self._carried]
        else:
            front = non_dominated(merits, dedupe=True)
            kept = front[thin(merits[front], self._carried)]
        kept = kept[np.argsort(merits[kept, 0], kind="stable")]
        members = merging.coefficients(merging.variables[kept])
        return Node(leaves, members, merging.costs[kept])

    def _best(self) -> Floats:
        """Return what to sample around, (n_centres, n_donors): what is preferred, or the front."""
        if not len(self._costs):
            return self._nodes[0].members
        if self._prefers:
            best = by_preference(self._costs / self._units, self._preferences)[: self._carried]
        else:
            front = non_dominated(self._costs, dedupe=True)
            best = front[thin(self._costs[front], ROUND)]
        return self._tried[best]

    def _sample_around(self, centres: Floats, count: int) -> None:
        """Sample a box around each of the centres in turn, within what the budget leaves."""
        if self._left is not None and self._left > 0:
            count = min(count, self._left)
        unit = sobol(len(self._donors), count, self._random())
        coefficients = centres[np.arange(count) % len(centres)] + AROUND * (2 * unit - 1)
        self._propose_coefficients(coefficients, "nested_map:around")

    def _propose(self, variables: Floats, origin: str) -> None:
        if self._merging is not None:
            self._variables = variables
            self._propose_coefficients(self._merging.coefficients(variables), origin)

    def _propose_coefficients(self, coefficients: Floats, origin: str) -> None:
        values = self._origin + coefficients @ self._steps
        genes = self._domain.genes
        genotypes: list[Genotype] = [
            tuple(
                min(max(float(value), gene.low), gene.high)
                for value, gene in zip(row, genes, strict=True)
            )
            for row in values
        ]
        self._generation = Generation([Proposal(one, origin) for one in genotypes])

    def _both_sides(self, merging: Merging, costs: Floats) -> Floats:
        """Return the scores of points at the two sides' tasks, (n_points, 2); less is better."""
        return np.column_stack([self._merits(side.leaves, costs) for side in merging.sides])

    def _weights(self, merging: Merging) -> Floats:
        """Return how much a shortfall of either side hurts, (2,)."""
        sums = [self._preferences[self._tasks_of(side.leaves)].sum() for side in merging.sides]
        return np.array(sums) if any(sums) else np.ones(2)

    def _merits(self, leaves: Sequence[int], costs: Floats) -> Floats:
        """Return the weighted mean of scaled costs over the tasks of some donors, (n_points,)."""
        tasks = self._tasks_of(leaves)
        weights = self._preferences[tasks]
        if not weights.any():
            weights = np.ones(len(tasks))
        return np.asarray(costs[:, tasks] / self._units[tasks] @ (weights / weights.sum()))

    def _tasks_of(self, leaves: Sequence[int]) -> list[int]:
        return sorted(k for leaf in leaves for k in self._tasks[leaf]) or list(
            range(len(self._titles))
        )

    def _named(self, node: Node) -> str:
        return "+".join(self._donors[leaf] for leaf in node.leaves)

    def _random(self) -> np.random.Generator:
        return np.random.default_rng([self._seed, self._round])


def _preferences(given: Mapping[str, float] | None, names: Sequence[str]) -> Floats:
    if given is None:
        return np.ones(len(names))
    for name, weight in by_name("preferences", given, "objective: weight").items():
        if name not in names:
            raise ConfigError(
                [f"preferences: there is no objective '{name}'; {nearest(name, names)}"]
            )
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < 1e9:
            raise ConfigError([f"preferences.{name}: expected a number >= 0, got {weight!r}"])
    weights = np.array([float(given.get(name, 0.0)) for name in names])
    if not weights.any():
        raise ConfigError(["preferences: at least one must be above 0"])
    return weights


def _units(links: Sequence[Link], costs: Floats) -> Floats:
    """Return what one unit of score is in each cost: its bounds, or its range."""
    ranges = np.ptp(costs, axis=0) if len(costs) else np.ones(len(links))
    units = [
        link.high - link.low if isinstance(link, LogitLink) else float(span)
        for link, span in zip(links, ranges, strict=True)
    ]
    return np.array([unit if unit > 0 and math.isfinite(unit) else 1.0 for unit in units])


def _bounded(costs: Sequence[float]) -> Floats:
    return np.array([bounded(cost) for cost in costs])
