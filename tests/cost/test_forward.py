"""Operations and bytes against torch's own counter and a real cache."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from evomerge.cost.forward import Forward, Phase, Workload, forward, peak_cache_bytes
from evomerge.cost.shape import LayerShape, ModelShape, shape_of
from evomerge.fitness.batches import cache_keyword
from evomerge.recipe.blocks import BLOCKS
from tests.cost.families import build, tiny

NEW = 7
LENGTH = 5


@pytest.mark.parametrize("kind", list(BLOCKS))
def test_operations_equal_those_torch_counts(kind):
    config = tiny(kind)
    model = build(config)
    past = cache_keyword(model)
    ids = torch.full((2, LENGTH), 3)
    with torch.inference_mode():
        with FlopCounterMode(display=False) as reading:
            cache = model(input_ids=ids, use_cache=True, logits_to_keep=1)[past]
        with FlopCounterMode(display=False) as writing:
            for _ in range(NEW - 1):
                cache = model(ids[:, :1], use_cache=True, **{past: cache})[past]
    shape = shape_of(config.to_dict())
    workload = Workload("x", (LENGTH, LENGTH), NEW)
    found = forward(shape, workload)
    # rotary frequencies are a product too, of a few hundred operations in some versions
    assert found.reading.flops == pytest.approx(reading.get_total_flops(), rel=1e-2)
    assert found.writing.flops == pytest.approx(writing.get_total_flops(), rel=1e-2)
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert peak_cache_bytes(shape, [workload]) == held


def test_two_operations_a_weight_and_token():
    layer = LayerShape(parameters=1000, active=1000, query=0, cached=0, inner=1)
    shape = ModelShape("llama", (layer,) * 4, 8, 10, 80, 8, False, "bfloat16")
    found = forward(shape, Workload("x", (6,), new_tokens=3))
    assert found.reading.flops == 2 * (4000 * 6 + 80)
    assert found.writing.flops == 2 * (4000 + 80) * 2
    # two steps read all weights twice
    assert found.writing.bytes == 2 * 2 * (4000 + 80)
    assert found.writing.passes == 2


def test_rows_are_batched_by_length_and_padded_to_the_longest():
    workload = Workload("x", (3, 9, 4, 10), batch_size=2)
    assert list(workload.batches()) == [(2, 10), (2, 4)]


def test_stragglers_write_to_the_end_in_half_a_batch():
    shape = shape_of(tiny("llama").to_dict())
    workload = Workload("x", (5, 5, 5, 5), new_tokens=9, typical=4)
    usual = forward(shape, workload)
    late = forward(shape, workload, stragglers=True)
    whole = forward(shape, Workload("x", (5, 5), new_tokens=9))
    part = forward(shape, Workload("x", (5, 5), new_tokens=4))
    assert late.reading == usual.reading
    assert late.writing.passes == 8
    extra = whole.writing.flops - part.writing.flops
    assert late.writing.flops - usual.writing.flops == extra


def test_nothing_to_read_costs_nothing():
    shape = shape_of(tiny("llama").to_dict())
    assert forward(shape, Workload("x", ())) == Forward(Phase(), Phase())


def test_few_tokens_miss_most_experts():
    shape = shape_of(tiny("mixtral").to_dict())
    one = forward(shape, Workload("x", (1,), new_tokens=2)).writing.bytes
    many = forward(shape, Workload("x", (1,) * 64, new_tokens=2)).writing.bytes
    cache = 3 * shape.element_bytes * sum(2 * layer.cached for layer in shape.layers)
    assert one - cache < shape.bytes / 1.5
    assert many - 64 * cache > 0.95 * (shape.parameters - shape.embedding) * shape.element_bytes


@settings(max_examples=60, deadline=None)
@given(
    window=st.none() | st.integers(2, 20),
    length=st.integers(1, 12),
    new=st.integers(1, 12),
)
def test_attention_sums_what_each_step_sees(window, length, new):
    layer = LayerShape(0, 0, query=1, cached=0, inner=1, window=window)
    shape = ModelShape("llama", (layer,), 0, 0, 0, 0, True, "float32")
    found = forward(shape, Workload("x", (length,), new_tokens=new)).writing.flops
    assert found == sum(4 * layer.seen(length + step) for step in range(1, new))
