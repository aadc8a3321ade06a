"""One thread for what an optimizer computes, whatever the machine has.

Sums over several threads depend on how many there are, and a run may be resumed elsewhere; they
would also take the cores that workers compute on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController


class OneThread:
    """Limits linear algebra (BLAS) and PyTorch to one thread while an optimizer computes.

    A library that a call itself loads is limited from the next call on.
    """

    def __init__(self) -> None:
        self._n_modules = 0
        self._libraries = ThreadpoolController()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Limit them inside, and put them back."""
        if len(sys.modules) != self._n_modules:  # looking for libraries takes a millisecond
            self._n_modules = len(sys.modules)
            self._libraries = ThreadpoolController()
        torch = sys.modules.get("torch")
        threads = torch.get_num_threads() if torch else 0
        with self._libraries.limit(limits=1, user_api="blas"):
            if torch:
                torch.set_num_threads(1)
            try:
                yield
            finally:
                if torch:
                    torch.set_num_threads(threads)
