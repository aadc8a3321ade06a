"""What the parts of a study file have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from evomerge.types import Arguments


class Section(BaseModel):
    """A part of the study file: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OpenSection(BaseModel):
    """A part whose further keys are arguments of a plug-in, which checks them."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    @property
    def arguments(self) -> Arguments:
        """The keys that are not fields here, for the plug-in."""
        return dict(self.model_extra or {})
