"""A model in several places computes what it computes in one, merged in place wherever it is.

There are no GPUs here: what runs is the CPU with a part of the weights in mapped files, which
accelerate's hooks bring in block by block as they do for a GPU; where several GPUs would get which
part is planned for GPUs that are not there.
"""

import pytest
import torch
from accelerate import init_empty_weights
from transformers import LlamaConfig, LlamaForCausalLM

from evomerge.errors import UserError
from evomerge.merging import MergeEngine, load_resident
from evomerge.merging.spread import Placement, device_map, is_spread, require_placeable, weights_of
from evomerge.recipe.model import ModelRef, Recipe
from tests.merging.tiny_models import llama

TOKENS = torch.tensor([[3, 4, 5, 6], [7, 8, 9, 10]])
SMALL = 100_000


def arithmetic(base, donor, weight):
    return Recipe.model_validate(
        {
            "merge_method": "task_arithmetic",
            "base_model": str(base),
            "models": [{"model": str(donor), "parameters": {"weight": weight}}],
        }
    )


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def pair(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("spread")
    tied = request.param
    base = llama(folder / "base", seed=1, layers=6, tied=tied)
    return base, llama(folder / "donor", seed=2, layers=6, tied=tied, near=base, spread=0.2)


@pytest.mark.parametrize("device_memory", [40_000, SMALL, None])
def test_weights_on_disk_are_merged_and_run_like_any(pair, device_memory):
    engine = MergeEngine()
    placement = Placement(("cpu",), device_memory, "disk")
    spread = load_resident(engine, arithmetic(*pair, 0.5), placement=placement).module
    assert is_spread(spread)
    elsewhere = {name for name, one in spread.named_parameters() if one.device.type == "meta"}
    assert bool(elsewhere) == (device_memory is not None)
    logits = []
    for weight in (0.5, -1.5, 0.5):
        recipe = arithmetic(*pair, weight)
        engine.apply(recipe, spread)
        whole = load_resident(MergeEngine(), recipe).module
        logits.append(spread(TOKENS).logits)
        assert torch.equal(logits[-1], whole(TOKENS).logits)
        found, wanted = weights_of(spread), weights_of(whole)
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
        assert torch.equal(
            spread.generate(TOKENS, max_new_tokens=4, do_sample=False),
            whole.generate(TOKENS, max_new_tokens=4, do_sample=False),
        )
        base = ModelRef(path=str(pair[0]))
        assert engine.delta_statistics(spread, base) == engine.delta_statistics(whole, base)
    assert torch.equal(logits[0], logits[2])
    assert not torch.equal(logits[0], logits[1])


def test_what_is_on_disk_leaves_nothing_behind(pair, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    placement = Placement(("cpu",), SMALL, "disk")
    spread = load_resident(MergeEngine(), arithmetic(*pair, 0.5), placement=placement).module
    assert spread(TOKENS).logits.isfinite().all()
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_fits_nowhere_is_refused_in_one_line(pair):
    for placement, words in (
        (Placement(("cpu",), SMALL), "raise device_memory, or say offload: disk"),
        (Placement(("cpu",), 100, "disk"), "cannot hold even 'model.embed_tokens.weight'"),
    ):
        with pytest.raises(UserError, match=words) as error:
            load_resident(MergeEngine(), arithmetic(*pair, 0.5), placement=placement)
        assert len(str(error.value).splitlines()) == 1


def test_a_full_disk_is_said_before_anything_is_merged(pair, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(UserError, match="No space left on device; weights that fit on no device"):
        load_resident(
            MergeEngine(), arithmetic(*pair, 0.5), placement=Placement(("cpu",), SMALL, "disk")
        )


def test_placements_that_mean_nothing_are_refused(monkeypatch):
    with pytest.raises(UserError, match="'cpu' is where the model runs already"):
        require_placeable(Placement(("cpu",), None, "cpu"))
    require_placeable(Placement(("cpu",)))
    monkeypatch.setattr("evomerge.merging.spread.find_spec", lambda _: None)
    require_placeable(Placement(("cpu",)))
    with pytest.raises(UserError, match=r"evomerge\[multi-gpu\]"):
        require_placeable(Placement(("cpu",), 10, "disk"))


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs of 1 MB each, and what accelerate asks the driver for."""
    free = {0: 1_000_000, 1: 1_000_000, "cpu": 4_000_000}
    monkeypatch.setattr("evomerge.merging.spread._free", lambda name: free[_index(name)])
    monkeypatch.setattr(
        "accelerate.utils.modeling.get_max_memory", lambda limits=None: dict(limits or free)
    )
    monkeypatch.setattr("accelerate.utils.modeling.is_xpu_available", lambda: False)
    return ("cuda:0", "cuda:1")


def _index(name):
    return "cpu" if name == "cpu" else int(name.partition(":")[2])


def planned(layers, placement, tied=False):
    """Where each layer goes, and the bytes that each device gets."""
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
    )
    with init_empty_weights():
        module = LlamaForCausalLM(config)
    module.tie_weights()
    where = device_map(module, placement)
    sizes = {}
    for name, one in module.named_parameters():
        place = next(where[name[:end]] for end in _ends(name) if name[:end] in where)
        sizes[place] = sizes.get(place, 0) + one.numel() * one.element_size()
    return where, sizes


def _ends(name):
    return [*(i for i in range(len(name), 0, -1) if i == len(name) or name[i] == "."), 0]


def test_a_model_is_spread_over_gpus_about_evenly(gpus):
    where, sizes = planned(6, Placement(gpus))
    assert set(where.values()) == {0, 1}
    assert max(sizes.values()) <= 0.8 * 1_000_000
    assert max(sizes.values()) < 0.7 * sum(sizes.values())
    layers = [where[f"model.layers.{number}"] for number in range(6)]
    assert layers == sorted(layers)  # a token crosses from one to the other once


def test_what_shares_a_weight_stays_together(gpus):
    where, _ = planned(6, Placement(gpus), tied=True)
    assert where["model.embed_tokens"] == where["lm_head"]


def test_what_gpus_cannot_hold_goes_where_the_study_says(gpus):
    with pytest.raises(UserError, match=r"2 devices may hold 0\.0004 GB .* say offload: cpu"):
        planned(8, Placement(gpus, 200_000))
    where, sizes = planned(8, Placement(gpus, 300_000, "cpu"))
    assert set(where.values()) == {0, 1, "cpu"}
    assert sizes[0] <= 300_000
    assert sizes[1] <= 300_000
    assert "disk" in planned(8, Placement(gpus, 300_000, "disk"))[1]
    with pytest.raises(UserError, match="or say offload: disk"):
        planned(40, Placement(gpus, 300_000, "cpu"))
