"""Isolation: the process is left as it was, and numbers do not depend on how it was."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest
import torch
from botorch.exceptions.warnings import InputDataWarning

from evomerge.errors import MissingExtra
from evomerge.optimizers.gaussian_processes import backend
from evomerge.optimizers.gaussian_processes.isolation import isolated
from evomerge.optimizers.gaussian_processes.mm_mo import MmMo
from evomerge.optimizers.gaussian_processes.mobo import Mobo
from evomerge.testing.problems import continuous_domain


def test_generator_and_threads_are_put_back():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with isolated(1):
            assert torch.get_num_threads() == 1
            first = torch.rand(3)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.rand(3), expected)
    with isolated(1):
        assert torch.equal(torch.rand(3), first)


def test_put_back_after_an_error_too():
    threads = torch.get_num_threads()
    with pytest.raises(KeyError), isolated(1):
        raise KeyError
    assert torch.get_num_threads() == threads


def test_only_expected_warnings_are_silent():
    with isolated(0):
        warnings.warn("few points", InputDataWarning, stacklevel=1)
        with pytest.warns(UserWarning, match="something else"):
            warnings.warn("something else", UserWarning, stacklevel=1)


@pytest.mark.parametrize("optimizer", [Mobo, MmMo])
def test_a_missing_extra_is_named(optimizer, monkeypatch):
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'evomerge\[botorch\]'"):
        optimizer(continuous_domain(2), 2, 0)


def test_botorch_is_loaded_when_an_optimizer_is_built_and_not_before():
    code = (
        "import sys\n"
        "from evomerge.optimizers.gaussian_processes.mm_mo import MmMo\n"
        "from evomerge.optimizers.gaussian_processes.mobo import Mobo\n"
        "sys.exit('torch' in sys.modules or 'botorch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
