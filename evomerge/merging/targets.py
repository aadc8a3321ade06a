"""Which tensor of a resident module each checkpoint tensor is written to.

Mostly they have the same name. Where transformers stores a model under other names or in other
pieces than it runs it (experts one by one, separate projections), its own conversion rules, the
ones `from_pretrained` applies, are applied here, one group of tensors at a time.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from evomerge.errors import CheckpointError, nearest
from evomerge.merging.spread import weights_of


@dataclass(frozen=True, slots=True)
class _Bundle:
    """Checkpoint tensors that become module tensors together, by a rule of transformers."""

    place: str
    rule: Any
    members: tuple[tuple[str, str], ...]


class Targets:
    """The places of checkpoint tensors in a module.

    Args:
        module: a transformers module.
        names: tensor names of the checkpoint.
    """

    def __init__(self, module: nn.Module, names: Iterable[str]) -> None:
        self._module = module
        # `state_dict` names tied tensors under each of their names, all with one storage.
        self.state = weights_of(module)
        self._places: dict[str, str] = {}
        self._bundles: list[_Bundle] = []
        strangers = []
        for name in names:
            place = self._place_of(name)
            if place is None:
                strangers.append(name)
            else:
                self._places[name] = place
        self.strangers = self._convert(strangers) if strangers else []

    def pairs(self, tensor_of: Callable[[str], Tensor]) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yield (name, tensor of the module, tensor of the checkpoint), each place once.

        Args:
            tensor_of: returns a checkpoint tensor by name; called once for each.

        Raises:
            CheckpointError: tensors are converted into one that the module does not have.
        """
        for name, place in self._places.items():
            yield name, self.state[place], tensor_of(name)
        for bundle in self._bundles:
            rule = copy.deepcopy(bundle.rule)
            for name, pattern in bundle.members:
                rule.add_tensor(bundle.place, name, pattern, tensor_of(name))
            made = rule.convert(
                bundle.place, model=self._module, config=getattr(self._module, "config", None)
            )
            for place, value in made.items():
                if place not in self.state:
                    raise CheckpointError(
                        f"tensors {', '.join(name for name, _ in bundle.members[:3])} become "
                        f"'{place}', which {type(self._module).__name__} does not have"
                    )
                yield place, self.state[place], value[0] if isinstance(value, list) else value

    def device_of(self, name: str) -> torch.device | None:
        """Return the device that a checkpoint tensor is written to; None before a rule has run."""
        place = self._places.get(name)
        return None if place is None else self.state[place].device

    def require_complete(self) -> None:
        """Check that checkpoint and module cover each other.

        Raises:
            CheckpointError: a tensor of one has no counterpart in the other.
        """
        kind = type(self._module).__name__
        for name in self.strangers:
            if not self._ignores(name, "_keys_to_ignore_on_load_unexpected"):
                raise CheckpointError(
                    f"merged tensor '{name}' has no place in {kind}; {nearest(name, self.state)}"
                )
        if self._bundles:
            return  # what a rule makes is known once it has run
        written = {self.state[place].data_ptr() for place in self._places.values()}
        for key, tensor in self.state.items():
            made = tensor.data_ptr() in written or not tensor.numel()
            if not made and not self._ignores(key, "_keys_to_ignore_on_load_missing"):
                raise CheckpointError(
                    f"{kind} has a tensor '{key}' that the merge does not make; load the module "
                    "from the recipe's config"
                )

    def _place_of(self, name: str) -> str | None:
        """Find a tensor by name, with or without the prefix of a model inside its head."""
        prefix = getattr(self._module, "base_model_prefix", "")
        for candidate in (name, f"{prefix}.{name}", name.removeprefix(f"{prefix}.")):
            if candidate in self.state:
                return candidate
        return None

    def _convert(self, names: list[str]) -> list[str]:
        """File names under transformers' conversion rules; return those no rule places."""
        from transformers.conversion_mapping import (  # noqa: PLC0415 -- seconds to import
            get_model_conversion_mapping,
        )
        from transformers.core_model_loading import (  # noqa: PLC0415
            WeightConverter,
            rename_source_key,
        )

        rules = get_model_conversion_mapping(self._module)
        converters = [rule for rule in rules if isinstance(rule, WeightConverter)]
        renamings = [rule for rule in rules if not isinstance(rule, WeightConverter)]
        by_pattern = {pattern: rule for rule in converters for pattern in rule.source_patterns}
        prefix = getattr(self._module, "base_model_prefix", "")
        bundles: dict[str, list[tuple[str, str]]] = {}
        left = []
        # Experts are stacked in the order of their numbers.
        for name in sorted(names, key=_natural):
            place, pattern = rename_source_key(name, renamings, converters, prefix, self.state)
            if pattern is not None:
                bundles.setdefault(place, []).append((name, pattern))
            elif place in self.state:
                self._places[name] = place
            else:
                left.append(name)
        self._bundles = [
            _Bundle(place, by_pattern[members[0][1]], tuple(members))
            for place, members in bundles.items()
        ]
        return left

    def _ignores(self, name: str, attribute: str) -> bool:
        patterns = getattr(self._module, attribute, None) or ()
        return any(re.search(pattern, name) for pattern in patterns)


def _natural(name: str) -> list[tuple[bool, int, str]]:
    parts = (part for part in name.split("."))
    return [(not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in parts]
