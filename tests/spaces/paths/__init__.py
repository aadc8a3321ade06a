"""Tests of evomerge.spaces.paths."""
