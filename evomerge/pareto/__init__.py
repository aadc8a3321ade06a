"""Dominance, hypervolume and what else is known of a set of costs; numpy and moocore only."""

from evomerge.pareto.anchors import REFERENCE, Anchors, anchored_gain, anchored_hypervolume
from evomerge.pareto.attainment import (
    attainment,
    attainment_surface,
    evaluations_to_attain,
    evaluations_to_reach,
    expected_evaluations,
    share_reached,
)
from evomerge.pareto.bootstrap import (
    Interval,
    PairedDifference,
    agreed_interval,
    difference_of,
    interval_of,
    mean_interval,
    paired_difference,
    resampled_means,
    stratified_difference,
    stratified_interval,
)
from evomerge.pareto.dominance import dominates, non_dominated, ranks
from evomerge.pareto.epsilon import epsilon_subset
from evomerge.pareto.hypervolume import (
    contributions,
    hypervolume,
    hypervolume_gain,
    running_hypervolume,
)
from evomerge.pareto.indicators import additive_epsilon, coverage, gd, igd, igd_plus, win_rate
from evomerge.pareto.optimism import optimism_of_best
from evomerge.pareto.paired_tests import McNemar, SignFlips, exact_mcnemar, holm, sign_flips
from evomerge.pareto.picks import ThinningRule, by_preference, knee, own_range, preferred, thin
from evomerge.pareto.uncertainty import (
    DominanceProbabilities,
    dominance_probabilities,
    hypervolume_interval,
    resampled_hypervolumes,
)

__all__ = [
    "REFERENCE",
    "Anchors",
    "DominanceProbabilities",
    "Interval",
    "McNemar",
    "PairedDifference",
    "SignFlips",
    "ThinningRule",
    "additive_epsilon",
    "agreed_interval",
    "anchored_gain",
    "anchored_hypervolume",
    "attainment",
    "attainment_surface",
    "by_preference",
    "contributions",
    "coverage",
    "difference_of",
    "dominance_probabilities",
    "dominates",
    "epsilon_subset",
    "evaluations_to_attain",
    "evaluations_to_reach",
    "exact_mcnemar",
    "expected_evaluations",
    "gd",
    "holm",
    "hypervolume",
    "hypervolume_gain",
    "hypervolume_interval",
    "igd",
    "igd_plus",
    "interval_of",
    "knee",
    "mean_interval",
    "non_dominated",
    "optimism_of_best",
    "own_range",
    "paired_difference",
    "preferred",
    "ranks",
    "resampled_hypervolumes",
    "resampled_means",
    "running_hypervolume",
    "share_reached",
    "sign_flips",
    "stratified_difference",
    "stratified_interval",
    "thin",
    "win_rate",
]
