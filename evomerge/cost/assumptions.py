"""What an estimate rests on, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evomerge.cost.devices import Device
from evomerge.cost.estimate import GB, utilisations
from evomerge.cost.workload import BYTES_PER_TOKEN, Asked, Tokens

if TYPE_CHECKING:
    from evomerge.cost.stages import StageEstimate

MEASURED = (
    "the processor was measured just now, with one worker's threads and beside whatever else ran: "
    "the fastest of some products of square matrices, and a copy of 64 MB; workers side by side "
    "share its memory's bandwidth, and how wide a model's layers are decides what it reaches"
)


def assumptions(
    asked: Sequence[Asked],
    tokens: Tokens,
    stages: Sequence[StageEstimate],
    device: Device | None,
) -> tuple[str, ...]:
    """List what was taken to be so, one sentence each."""
    lines = [line for one in asked for line in one.assumptions]
    if tokens.estimated:
        lines.append(
            f"no tokenizer was seen: a token is taken to be {BYTES_PER_TOKEN} bytes of UTF-8 text"
        )
    paths = [stage for stage in stages if stage.first.path]
    if paths:
        lines.append(
            "the low end has paths as long as the one the search starts from, the high end paths "
            "of the most hops the space allows; what the cache of common prefixes saves is not "
            "counted"
        )
    if any(stage.visits for stage in stages):
        lines.append(
            "from rung to rung go the shares that promote and keep say, no item is scored twice, "
            "and a candidate is merged anew at each; whom racing stops earlier is not counted"
        )
    if len(stages) > 1:
        lines.append("what a stage finds is taken to be as large as what it starts from")
    lines.append(
        "2 operations for each weight a token meets, 4 for each query number and token attended "
        "to; prompts are padded to the longest of their batch"
    )
    if device is None:
        return tuple(lines)
    fast, slow = utilisations(device)
    peak = "the processor's" if device.measured else "the device's"
    if device.measured:
        lines.append(MEASURED)
    lines += [
        "tokenizing, answers as text and what else happens between passes are not counted, which "
        "for tiny models is much",
        f"reading reaches {_range(fast.arithmetic, slow.arithmetic)} of {peak} operations, "
        f"writing {_range(fast.bandwidth, slow.bandwidth)} of its bandwidth, and a layer takes at "
        f"least {fast.launch_s * 1e3:g} to {slow.launch_s * 1e3:g} ms of each pass to launch",
        "each step of writing reads all weights once and the key/value cache three times",
    ]
    if any(stage.first.written for stage in stages):
        lines.append(
            f"merging reaches {_range(fast.merging, slow.merging)} of the bandwidth"
            if device.measured
            else f"merging waits for its inputs to come from the host at {fast.host / GB:g} to "
            f"{slow.host / GB:g} GB/s; its arithmetic is not counted"
        )
    return tuple(lines)


def _range(high: float, low: float) -> str:
    return f"{high:.0%} to {low:.0%}"
