"""evomerge: search for the best way to merge models."""

__version__ = "0.1.0"
