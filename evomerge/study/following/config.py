"""Where a run is shown and told of: the `callbacks` and `notify` of a study file."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from evomerge.study.sections import OpenSection, Section

Occasion: TypeAlias = Literal["finish", "failure"]

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_HIDDEN = "/…"


class CallbackConfig(OpenSection):
    """Where a run is shown; further keys are arguments of the callback.

    Attributes:
        callback: 'tensorboard', 'mlflow', 'wandb', './file.py:attr' or 'module:attr'. Without
            arguments this name alone will do.
    """

    callback: str

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"callback": value} if isinstance(value, str) else value


class NotifyConfig(Section):
    """Who is told when a run has finished or failed.

    Attributes:
        url: receives a POST of JSON; '${NAME}' is read from the environment when it is needed.
        on: 'finish', 'failure' or both.
    """

    url: str
    on: tuple[Occasion, ...] = Field(default=("finish", "failure"), min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _on_is_a_word(cls, value: Any) -> Any:
        """Undo what YAML 1.1 makes of the key `on`: true."""
        if not isinstance(value, dict) or True not in value:
            return value
        return {"on" if key is True else key: one for key, one in value.items()}

    @field_validator("url")
    @classmethod
    def _leads_somewhere(cls, url: str) -> str:
        if _VARIABLE.fullmatch(url) is None and not is_address(url):
            raise ValueError("expected http://… or https://…, or ${NAME} of a variable with it")
        return url

    @property
    def variable(self) -> str | None:
        """The name of the variable that has the address, where it is given by one."""
        found = _VARIABLE.fullmatch(self.url)
        return None if found is None else found.group(1)

    @property
    def is_redacted(self) -> bool:
        """Whether this is what a journal has in the place of the address."""
        return self.url.endswith(_HIDDEN)

    @property
    def redacted(self) -> str:
        """The address without what is secret in it; the name of a variable is not."""
        return self.url if self.variable is not None else redacted(self.url)


def redacted(url: str) -> str:
    """Return scheme, host and port of an address; path, query and passwords are secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{_HIDDEN}"


def is_address(url: str) -> bool:
    """Say whether something can be posted there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
