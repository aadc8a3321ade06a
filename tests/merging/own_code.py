"""A model that brings its own code: a Llama of another name; it leaves a mark when it runs."""

import importlib
import json
import sys

CONFIGURATION = """
from pathlib import Path

from transformers import LlamaConfig

Path({mark!r}).touch()


class OddConfig(LlamaConfig):
    model_type = "odd"
"""
MODEL = """
from transformers import LlamaForCausalLM

from .configuration_odd import OddConfig


class OddForCausalLM(LlamaForCausalLM):
    config_class = OddConfig
"""


def keep_apart(folder, monkeypatch):
    """Let transformers put the code it runs into a folder, having seen none before."""
    for name in [one for one in sys.modules if one.partition(".")[0] == "transformers_modules"]:
        del sys.modules[name]
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder))
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()


def make_odd(folder, mark):
    """Turn a saved Llama into a model of its own kind; `mark` is a file its code makes."""
    (folder / "configuration_odd.py").write_text(CONFIGURATION.format(mark=str(mark)))
    (folder / "modeling_odd.py").write_text(MODEL)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "odd",
        "architectures": ["OddForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_odd.OddConfig",
            "AutoModelForCausalLM": "modeling_odd.OddForCausalLM",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder
