"""PyTorch inside an optimizer: same numbers every time, nothing changed outside.

Bit-for-bit replay needs one thread (sums over several depend on how many there are), exact
factorisations at every size, and random numbers that come from the optimizer's own seed. The
process's generator, thread count and warnings are put back as they were.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import gpytorch
import torch
from botorch.exceptions.warnings import BotorchWarning
from gpytorch.utils.warnings import GPInputWarning, NumericalWarning

_QUIET = (BotorchWarning, GPInputWarning, NumericalWarning)


@contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Run BoTorch on one thread, with its own random numbers and without its warnings.

    What BoTorch warns of is expected here: few points, points that repeat, constant targets.

    Args:
        seed: of whatever the library draws from PyTorch's global generator.
    """
    threads = torch.get_num_threads()
    with (
        torch.random.fork_rng(devices=[]),
        gpytorch.settings.fast_computations(
            covar_root_decomposition=False, log_prob=False, solves=False
        ),
        warnings.catch_warnings(),
    ):
        for category in _QUIET:
            warnings.simplefilter("ignore", category)
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` sees to every device
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
