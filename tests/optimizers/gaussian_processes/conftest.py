"""Without BoTorch, an extra, there is nothing to test here."""

from importlib.util import find_spec

if find_spec("botorch") is None:
    collect_ignore_glob = ["test_*.py"]
