"""Optuna without its remarks: they are about its interface and not for those who search."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet(optuna: Any) -> Iterator[None]:
    """Silence Optuna's log and its notes on experimental options, and leave both as found.

    Args:
        optuna: the imported package, an extra.
    """
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
