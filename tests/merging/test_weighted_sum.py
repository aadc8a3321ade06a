"""Weighted sums, and the search for inf and NaN, against torch's own reductions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evomerge.errors import NonFiniteMerge
from evomerge.merging.compute import FiniteCheck, require_finite
from evomerge.merging.method import Group
from evomerge.merging.methods.task_arithmetic import task_arithmetic

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(n_donors=st.integers(1, 9), seed=st.integers(0, 2**16), normalize=st.booleans())
def test_task_arithmetic_is_one_reduction_over_all_donors(dtype, n_donors, seed, normalize):
    random = torch.Generator().manual_seed(seed)
    base, *donors = torch.randn(n_donors + 1, 7, 11, generator=random).to(dtype)
    weight = torch.rand(n_donors, generator=random) + 0.1
    group = Group("w", (base, *donors), base_index=0, streams=(), compat=True)
    found = task_arithmetic.kernel(group, weight=tuple(weight.tolist()), normalize=normalize)
    weights = weight.to(dtype)[:, None, None]
    mixed = ((torch.stack(donors) - base) * weights).sum(dim=0)
    expected = base + (mixed / weights.sum() if normalize else mixed)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(size=st.integers(0, 70), wrong=st.sampled_from(["nan", "inf", "-inf"]), data=st.data())
def test_one_wrong_value_is_found_wherever_it_is(dtype, size, wrong, data):
    largest = torch.finfo(dtype).max  # whose sum would be infinite
    tensor = torch.full((size,), largest, dtype=dtype)
    require_finite("w", tensor)
    if size:
        tensor[data.draw(st.integers(0, size - 1))] = float(wrong)
        with pytest.raises(NonFiniteMerge, match=f"'w': 1 of {size} merged values"):
            require_finite("w", tensor)


def test_the_first_of_many_wrong_tensors_is_named():
    check = FiniteCheck()
    for name, dtype, values in (
        ("fine", torch.float32, [1.0, 2.0]),
        ("whole", torch.int64, [1, 2]),
        ("first", torch.bfloat16, [1.0, float("nan"), float("inf")]),
        ("second", torch.float32, [float("inf"), 1.0]),
    ):
        check.add(name, torch.tensor(values, dtype=dtype))
    with pytest.raises(NonFiniteMerge, match="'first': 2 of 3 merged values"):
        check.require()
    FiniteCheck().require()
