"""What `check --estimate` prints."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from evomerge.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from evomerge.study import Prepared, StandIns

NO_DEVICE = "none"
"""Instead of a device's name: give no times, measure nothing."""


@dataclass(frozen=True, slots=True)
class EstimateOptions:
    """The options of `check` that belong to the estimate.

    Attributes:
        wanted: --estimate.
        device: --device.
        tflops: --device-tflops.
        bandwidth: --bandwidth.
        answer_tokens: --answer-tokens.
    """

    wanted: bool
    device: str | None = None
    tflops: float | None = None
    bandwidth: float | None = None
    answer_tokens: int | None = None

    def check(self) -> None:
        """Refuse what would do nothing.

        Raises:
            UserError: an option is given without --estimate, or is out of range.
        """
        given = {
            "--device": self.device,
            "--device-tflops": self.tflops,
            "--bandwidth": self.bandwidth,
            "--answer-tokens": self.answer_tokens,
        }
        for option, value in given.items():
            if value is not None and not self.wanted:
                raise UserError(f"{option} belongs to an estimate; add --estimate")
        if self.device == NO_DEVICE and (self.tflops, self.bandwidth) != (None, None):
            raise UserError(
                "--device none gives no times; leave it out, or --device-tflops and --bandwidth"
            )
        if self.answer_tokens is not None and self.answer_tokens < 1:
            raise UserError(f"--answer-tokens {self.answer_tokens}: give a positive number")

    def estimate(
        self, prepared: Prepared, stand_ins: StandIns, run_folder: Path, *, as_json: bool
    ) -> Any:
        """Estimate a checked study for the device the options name, else for that of its workers.

        Returns:
            JSON data, or text for people.

        Raises:
            UserError: the device is unknown, or a model's architecture has no known size.
        """
        from evomerge import cost  # noqa: PLC0415

        if self.device == NO_DEVICE:
            taken = cost.Taken(None, "no times: none are wanted (--device none)")
        else:
            named = cost.find_device(self.device, self.tflops, self.bandwidth)
            taken = cost.device_here(prepared, stand_ins) if named is None else cost.Taken(named)
        found = cost.estimate_study(
            prepared, taken=taken, answer_tokens=self.answer_tokens, stand_ins=stand_ins
        )
        machine = cost.this_machine(found, prepared.config.workers, run_folder)
        needed = cost.resources(prepared, found, machine)
        if as_json:
            return {**cost.as_json(found), "resources": asdict(needed)}
        return "\n".join((cost.as_text(found), *cost.resource_lines(needed, found.records)))
