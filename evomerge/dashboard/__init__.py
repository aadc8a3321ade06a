"""A run in optuna-dashboard: Optuna studies derived from its journal, while it is written."""

from evomerge.dashboard.derived import DerivedStudies
from evomerge.dashboard.serve import HOST, Dashboard

__all__ = ["HOST", "Dashboard", "DerivedStudies"]
