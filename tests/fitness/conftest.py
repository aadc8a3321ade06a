"""Fixtures of the fitness tests."""

import pytest
import torch

from .tiny import character_tokenizer, tiny_module


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session", params=["llama", "qwen2", "gpt2"])
def module(request):
    return tiny_module(request.param)


@pytest.fixture(scope="session")
def llama():
    return tiny_module("llama")


@pytest.fixture(scope="session")
def tokenizer():
    return character_tokenizer()
