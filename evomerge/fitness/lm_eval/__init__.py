"""Tasks and groups of lm-evaluation-harness, scored on the resident model.

`LmEval` is what a study names with `fitness: lm_eval`. Importing this package loads neither the
harness nor a back end; building a `LmEval` does.
"""

from evomerge.fitness.lm_eval.fitness import LmEval

__all__ = ["LmEval"]
