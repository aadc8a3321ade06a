"""Small runs over the shipped models, each made once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from evomerge import zoo
from evomerge.study import read_study, start_run

transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

_STUDY = """
name: home
seed: 3
models: {{base: "zoo:base", donors: {donors}}}
space: {space}
objectives:
  flip: {{fitness: exact_match, search: "zoo:flip.search.jsonl",
         holdout: "zoo:flip.holdout.jsonl", limit: 12}}
  bits: {{fitness: negative_log_likelihood, search: "zoo:count_bits.search.jsonl",
         holdout: "zoo:count_bits.holdout.jsonl", limit: 12}}
search: {{optimizer: {optimizer}}}
budget: {{trials: {trials}}}
front: {{size: 2, lambdas: [0.5]}}
workers: {{backend: inline, threads: 1}}
"""


def run_study(folder: Path, donors: str, space: str, optimizer: str = "random", trials: int = 6):
    """Run a study of the shipped models; returns its run directory."""
    text = _STUDY.format(donors=donors, space=space, optimizer=optimizer, trials=trials)
    folder.mkdir(parents=True, exist_ok=True)
    ended = start_run(read_study(text, "study.yaml"), folder, folder / "run")
    assert ended.state == "done"
    return folder / "run"


def make_lora(folder: Path, seed: int, rank: int, licence: str | None = None) -> Path:
    """Make a LoRA like the shipped one, of another rank and with other numbers."""
    source = zoo.path() / "models" / "count-bits-lora"
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for name, tensor in load_file(source / "adapter_model.safetensors").items():
        cut = tensor.float()[:rank] if "lora_A" in name else tensor.float()[:, :rank]
        factors[name] = cut + 0.02 * torch.randn(cut.shape, generator=generator)
    save_file(factors, folder / "adapter_model.safetensors")
    settings = json.loads((source / "adapter_config.json").read_text()) | {"r": rank}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    if licence:
        (folder / "README.md").write_text(f"---\nlicense: {licence}\n---\n\n# An adapter\n")
    return folder


@pytest.fixture(scope="session")
def zoo_run(tmp_path_factory) -> Path:
    """Task arithmetic over two checkpoints and an adapter."""
    donors = '{flip: "zoo:flip", sort: "zoo:sort-up", bits: "zoo:count-bits-lora"}'
    return run_study(tmp_path_factory.mktemp("merge"), donors, "task_arithmetic")


@pytest.fixture(scope="session")
def path_run(tmp_path_factory) -> Path:
    """Layer paths through two checkpoints."""
    donors = '{flip: "zoo:flip", sort: "zoo:sort-up"}'
    return run_study(tmp_path_factory.mktemp("path"), donors, "depthwise", trials=4)


@pytest.fixture(scope="session")
def lora_models(tmp_path_factory) -> str:
    """Donors that are all adapters, of ranks 8, 4 and 3."""
    folder = tmp_path_factory.mktemp("loras")
    one = make_lora(folder / "one", 1, 4, "mit")
    two = make_lora(folder / "two", 2, 3, "apache-2.0")
    return f'{{bits: "zoo:count-bits-lora", one: "{one}", two: "{two}"}}'


@pytest.fixture(scope="session")
def lora_run(tmp_path_factory, lora_models) -> Path:
    """Layer-wise task arithmetic over adapters."""
    folder = tmp_path_factory.mktemp("lora-merge")
    return run_study(folder, lora_models, "task_arithmetic_layerwise", trials=6)


@pytest.fixture(scope="session")
def lora_population(tmp_path_factory, lora_models) -> Path:
    """A population of adapters, split between units."""
    folder = tmp_path_factory.mktemp("lora-population")
    return run_study(folder, lora_models, "m2n2", "m2n2", trials=10)


@pytest.fixture
def exported(zoo_run, tmp_path):
    """Return (place) -> a fresh copy of one checkpoint export, made once."""
    from evomerge.release import export_checkpoint, read_subject  # noqa: PLC0415

    kept = zoo_run.parent / "exported"
    if not kept.exists():
        export_checkpoint(read_subject(zoo_run, 5), kept)
    return Path(shutil.copytree(kept, tmp_path / "exported"))
