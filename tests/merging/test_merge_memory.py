"""What is kept on a device: file tensors, within the limit, the first ones first."""

from __future__ import annotations

import torch

from evomerge.merging.memory import Memory


class Counting:
    """Counts how often a tensor is read."""

    def __init__(self, constant: bool) -> None:
        self.constant = constant
        self.reads: list[str] = []

    def tensor(self, name: str) -> torch.Tensor:
        self.reads.append(name)
        return torch.zeros(256)


def test_a_second_pass_reads_only_what_did_not_fit():
    # The meta device holds no data, but it is another device: tensors are copied to it.
    memory, source = Memory(torch.device("meta"), 2 * 1024), Counting(constant=True)
    for _ in range(3):
        for name in "abc":
            assert memory.load(source, name).device.type == "meta"
    assert source.reads == ["a", "b", "c", "c", "c"]


def test_the_result_of_a_nested_recipe_is_not_kept():
    memory, source = Memory(torch.device("meta"), 1 << 20), Counting(constant=False)
    memory.load(source, "a")
    memory.load(source, "a")
    assert source.reads == ["a", "a"]


def test_what_is_read_once_is_not_kept():
    memory, source = Memory(torch.device("meta"), 1 << 20), Counting(constant=True)
    for keep in (False, True, True):
        memory.load(source, "a", keep=keep)
    assert source.reads == ["a", "a"]


def test_on_a_cpu_the_file_itself_is_handed_on():
    memory, source = Memory(torch.device("cpu"), 1 << 20), Counting(constant=True)
    memory.load(source, "a")
    memory.load(source, "a")
    assert source.reads == ["a", "a"]
