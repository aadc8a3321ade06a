"""Showing a run elsewhere, from its journal: never on the path of an evaluation."""
