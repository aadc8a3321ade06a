"""Spaces in which the merge method is a gene, and its parameters exist only while it is chosen."""

from evomerge.spaces.operators.recall import recalled
from evomerge.spaces.operators.space import METHOD, OperatorsSpace
from evomerge.spaces.operators.spec import OperatorSpec, OperatorsSpec

__all__ = ["METHOD", "OperatorSpec", "OperatorsSpace", "OperatorsSpec", "recalled"]
