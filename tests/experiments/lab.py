"""The modules of an experiment, imported as its scripts import one another."""

import importlib
import sys
from contextlib import contextmanager


@contextmanager
def modules_of(folder, *names):
    """Import modules from a folder of scripts, and forget them and their siblings afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]
