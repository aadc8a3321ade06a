"""Tests of evomerge.recipe."""
