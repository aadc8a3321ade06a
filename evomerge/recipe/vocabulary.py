"""The words of mergekit 0.1.5: its merge methods and the parameters each of them reads.

What evomerge computes itself is registered in `evomerge.merging`; this table is what the YAML
format needs to tell a parameter from a typing mistake, and what a search space needs to tell a
parameter of each donor from one of the whole merge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evomerge.errors import RecipeError


@dataclass(frozen=True, slots=True)
class MethodWords:
    """Parameter names of one merge method.

    Attributes:
        per_input: one value for each input; they may stand in any scope.
        shared: one value for the merge; ignored by mergekit when written beside an input.
        random: the result depends on random draws.
        idle: mergekit-evolve writes these whatever the method, and this one does not read them:
            they are dropped, where any other unknown name is refused.
    """

    per_input: frozenset[str]
    shared: frozenset[str]
    random: bool = False
    idle: frozenset[str] = frozenset()

    @property
    def all(self) -> frozenset[str]:
        """Every parameter name."""
        return self.per_input | self.shared


def _words(per_input: str, shared: str, *, random: bool = False, idle: str = "") -> MethodWords:
    return MethodWords(
        frozenset(per_input.split()), frozenset(shared.split()), random, frozenset(idle.split())
    )


_TASK = "normalize rescale lambda int8_mask"

METHODS: Mapping[str, MethodWords] = {
    "arcee_fusion": _words("", "", random=True),
    "breadcrumbs": _words("weight density gamma", _TASK),
    "breadcrumbs_ties": _words("weight density gamma", _TASK),
    "dare_linear": _words("weight density", _TASK, random=True),
    "dare_ties": _words("weight density", _TASK, random=True),
    "della": _words("weight density epsilon", _TASK, random=True),
    "della_linear": _words("weight density epsilon", _TASK, random=True),
    "karcher": _words("", "max_iter tol"),
    "linear": _words("weight", "normalize", idle="int8_mask"),
    "model_stock": _words("", "filter_wise"),
    "multislerp": _words("weight", "normalize_weights eps"),
    "nearswap": _words("", "t"),
    "nuslerp": _words("weight", "nuslerp_row_wise nuslerp_flatten"),
    "passthrough": _words("scale", ""),
    "ram": _words("", "epsilon"),
    "ramplus_tl": _words("", "r alpha epsilon"),
    "sce": _words("", "int8_mask select_topk"),
    "slerp": _words("", "t", idle="normalize int8_mask weight"),
    "task_arithmetic": _words("weight density", _TASK),
    "ties": _words("weight density", _TASK),
}


def refusal(where: str, what: str, remedy: str) -> RecipeError:
    """Return the error that says why a field of a recipe has no words in mergekit's YAML."""
    return RecipeError(f"{where}: not expressible as mergekit YAML: {what}; {remedy}")
