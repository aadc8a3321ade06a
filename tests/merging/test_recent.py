"""Results kept between merges: within one limit with the inputs, which go first."""

import torch

from evomerge.merging.memory import Memory
from evomerge.merging.recent import Recent

FOREIGN = torch.device("meta")  # copies of files go there, as to an accelerator


def tensor(n):
    return torch.zeros(n, dtype=torch.uint8)


class Files:
    """A checkpoint of tensors of one size."""

    constant = True

    def __init__(self, n):
        self._n = n

    def tensor(self, _):
        return tensor(self._n)


def test_the_longest_unused_make_room_and_what_cannot_fit_drops_nobody():
    memory = Memory(torch.device("cpu"), 1000)
    recent = Recent(memory)
    for number in range(5):
        recent.put(number, (tensor(100),))
    recent.put("big", (tensor(2000),))
    assert memory.spare == 500
    assert recent.get("big") is None
    assert recent.get(0) is not None
    recent.put("wide", (tensor(700),))
    assert memory.spare == 0 + 1000 - 700 - 300
    assert [key for key in range(5) if recent.get(key)] == [0, 3, 4]


def test_inputs_take_back_what_was_lent():
    memory = Memory(FOREIGN, 1000)
    recent = Recent(memory)
    for number in range(9):
        recent.put(number, (tensor(100),))
    source = Files(350)
    first = memory.load(source, "a")
    assert memory.load(source, "a") is first  # kept
    assert memory.spare >= 0
    assert sum(recent.get(number) is not None for number in range(9)) == 6
    large = Files(5000)
    assert memory.load(large, "b") is not memory.load(large, "b")
