"""Checkpoints shared by the merge tests, built once per session."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import settings

from evomerge.merging import MergeEngine
from tests.merging.tiny_decoders import decoder, load
from tests.merging.tiny_models import gpt2, llama, qwen2

transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)
settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("repeatable")

FAMILIES = {"llama": llama, "llama12": llama, "qwen2": qwen2, "gpt2": gpt2}


@pytest.fixture(scope="session")
def family(tmp_path_factory):
    """Return (name, dtype) -> [base, donor, donor, donor], built on first use."""
    built: dict[tuple[str, torch.dtype], list[Path]] = {}

    def build(name: str, dtype: torch.dtype = torch.float32) -> list[Path]:
        if (name, dtype) not in built:
            folder = tmp_path_factory.mktemp(name)
            make = FAMILIES[name]
            layers = 12 if name.endswith("12") else 2
            base = make(folder / "base", seed=0, layers=layers, dtype=dtype)
            built[name, dtype] = [base] + [
                make(folder / f"donor{i}", seed=i, layers=layers, near=base, dtype=dtype)
                for i in (1, 2, 3)
            ]
        return built[name, dtype]

    return build


@pytest.fixture(scope="session")
def engine():
    """Return an engine that has every tiny model open."""
    return MergeEngine()


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    """Return (kind, changes) -> folders of two random decoders and the loaded modules."""
    built = {}

    def build(kind: str, dtype=torch.float64, **changes):
        key = (kind, dtype, json.dumps(changes))
        if key not in built:
            folder = tmp_path_factory.mktemp(kind)
            paths = [
                decoder(folder / name, kind, seed=seed, dtype=dtype, **changes)
                for seed, name in enumerate("ab")
            ]
            built[key] = paths, [load(path) for path in paths]
        return built[key]

    return build
