"""Fitness: a merged model goes in, metrics come out.

A fitness is a function of a `MergedModel` or a class that is built once and then called with it;
`check_fitness` and `build_fitness` find it by name, and `load_items` reads what it scores on.
Importing this package loads no back end.
"""

from evomerge.fitness.bound import BoundFitness, FitnessSpec, ModelScore, score_together
from evomerge.fitness.data import item_field, load_items, text_field
from evomerge.fitness.language_model import LanguageModel
from evomerge.fitness.load import FITNESSES, build_fitness, check_fitness
from evomerge.fitness.model import MergedModel
from evomerge.fitness.protocol import (
    BringsItems,
    ChecksTokenizer,
    Fingerprinted,
    Fitness,
    Item,
    Items,
    Score,
    ScoredTogether,
)
from evomerge.types import FitnessResult

__all__ = [
    "FITNESSES",
    "BoundFitness",
    "BringsItems",
    "ChecksTokenizer",
    "Fingerprinted",
    "Fitness",
    "FitnessResult",
    "FitnessSpec",
    "Item",
    "Items",
    "LanguageModel",
    "MergedModel",
    "ModelScore",
    "Score",
    "ScoredTogether",
    "build_fitness",
    "check_fitness",
    "item_field",
    "load_items",
    "score_together",
    "text_field",
]
