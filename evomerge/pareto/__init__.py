"""Dominance, hypervolume and what else is known of a set of costs; numpy only."""

from evomerge.pareto.anchors import REFERENCE, Anchors, anchored_hypervolume
from evomerge.pareto.bootstrap import (
    Interval,
    PairedDifference,
    difference_of,
    interval_of,
    mean_interval,
    paired_difference,
    resampled_means,
    stratified_difference,
    stratified_interval,
)
from evomerge.pareto.dominance import dominates, non_dominated, ranks
from evomerge.pareto.hypervolume import contributions, hypervolume, running_hypervolume
from evomerge.pareto.indicators import coverage, gd, igd, igd_plus, win_rate
from evomerge.pareto.picks import knee, preferred, thin

__all__ = [
    "REFERENCE",
    "Anchors",
    "Interval",
    "PairedDifference",
    "anchored_hypervolume",
    "contributions",
    "coverage",
    "difference_of",
    "dominates",
    "gd",
    "hypervolume",
    "igd",
    "igd_plus",
    "interval_of",
    "knee",
    "mean_interval",
    "non_dominated",
    "paired_difference",
    "preferred",
    "ranks",
    "resampled_means",
    "running_hypervolume",
    "stratified_difference",
    "stratified_interval",
    "thin",
    "win_rate",
]
