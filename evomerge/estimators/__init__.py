"""A full score from few answers: estimators, their item models, and which items to ask.

estimator = build_estimator("gmp_irt", item_ids, endpoints=full_answers)
estimator.estimate({"item-3": 1.0, "item-8": 0.0})      # Estimate(value, standard_error, ...)
"""

from evomerge.estimators.abilities import endpoint_abilities
from evomerge.estimators.anchors import Subset, cluster_anchors, cluster_order
from evomerge.estimators.build import ESTIMATORS, build_estimator
from evomerge.estimators.estimate import Estimate, Estimator
from evomerge.estimators.evidence import Answers, Benchmark, Evidence, balanced_weights
from evomerge.estimators.irt import GmpIrt, GpIrt, MpIrt, PIrt
from evomerge.estimators.item_model import ItemParameters
from evomerge.estimators.logistic import Gaussian, LogisticFit, fit_logistic
from evomerge.estimators.orders import (
    entropy_order,
    half_entropy_order,
    random_order,
    stratified_order,
)
from evomerge.estimators.published import PublishedScenario, load_tinybenchmarks
from evomerge.estimators.sampling import Mean, Weighted, Weights
from evomerge.estimators.self_fit import SelfFit, fit_items

__all__ = [
    "ESTIMATORS",
    "Answers",
    "Benchmark",
    "Estimate",
    "Estimator",
    "Evidence",
    "Gaussian",
    "GmpIrt",
    "GpIrt",
    "ItemParameters",
    "LogisticFit",
    "Mean",
    "MpIrt",
    "PIrt",
    "PublishedScenario",
    "SelfFit",
    "Subset",
    "Weighted",
    "Weights",
    "balanced_weights",
    "build_estimator",
    "cluster_anchors",
    "cluster_order",
    "endpoint_abilities",
    "entropy_order",
    "fit_items",
    "fit_logistic",
    "half_entropy_order",
    "load_tinybenchmarks",
    "random_order",
    "stratified_order",
]
