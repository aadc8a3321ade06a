"""Conditions on layers as plain substring filters, for a format that knows nothing else.

A filter holds for a tensor when it is a substring of the tensor's name, and of a list the first
that holds decides. 'layers.1.' is safe where 'layers.1' would catch layer 11; a filter joined to
a layer is a piece of a real name that contains both, e.g. 'layers.3.self_attn'. Every expansion
is checked: it must decide each tensor of the layout exactly as the original did.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from evomerge.errors import RecipeError
from evomerge.recipe.layout import Layout, part_of
from evomerge.recipe.model import Conditional
from evomerge.recipe.parameters import Place, evaluate

# Which condition decides a tensor, and whether it takes the end of that condition's gradient.
_Verdict = tuple[int, bool] | None


@dataclass(frozen=True, slots=True)
class _Rule:
    filter: str | None
    verdict: tuple[int, bool]


class Expansion:
    """Expands conditions over the tensors of one layout.

    Args:
        layout: the names.
        n_layers: layers that must be covered, should an output have more than `layout`.
    """

    def __init__(self, layout: Layout, n_layers: int = 0) -> None:
        self._layout = layout
        names = set(layout.tensors)
        inside = [name for name in names if layout.layer_of(name) is not None]
        for layer in range(layout.n_layers, n_layers):
            names |= {layout.renumbered(name, layer) for name in inside}
        self._layer = {name: layout.layer_of(name) for name in sorted(names)}
        self._n_layers = max(layout.n_layers, n_layers)

    def expand(
        self, conditions: tuple[Conditional, ...], where: str, *, last_value_after_layers: bool
    ) -> tuple[Conditional, ...]:
        """Return conditions without `layers` that decide every tensor alike.

        Args:
            conditions: of which the first that matches decides.
            where: the field, for messages.
            last_value_after_layers: tensors after the layers (final norm, head) take the last
                value of a gradient as a constant.

        Raises:
            RecipeError: no list of filters decides alike.
        """
        wanted = {
            name: self._verdict(name, conditions, last_value_after_layers) for name in self._layer
        }
        short = self._layout.prefix.rstrip(".").rpartition(".")[0]
        start = len(short) + 1 if short else 0
        for rules in (
            self._rules(conditions, wanted, start),
            self._rules(conditions, wanted, 0),
            self._by_name(wanted),
        ):
            kept = self._deciding(rules, wanted)
            if kept is not None:
                return tuple(_condition(conditions, rule) for rule in kept)
        raise RecipeError(
            f"{where}: not expressible as mergekit YAML: no list of name filters tells these "
            "layers apart in models of this layout; drop 'layers'"
        )

    def _verdict(self, name: str, conditions: tuple[Conditional, ...], ends: bool) -> _Verdict:
        place = Place(name, self._layer[name], 0.0)
        numbered = tuple(
            Conditional(value=i, filter=one.filter, layers=one.layers)
            for i, one in enumerate(conditions)
        )
        index = evaluate(numbered, place)
        if index is None:
            return None
        after = self._layer[name] is None and not is_before_layers(name)
        return int(index), ends and after and isinstance(conditions[int(index)].value, tuple)

    def _rules(
        self, conditions: tuple[Conditional, ...], wanted: dict[str, _Verdict], start: int
    ) -> list[_Rule]:
        """Write each condition as pieces of names, cut off `start` characters into the name."""
        rules: dict[_Rule, None] = {}
        for index, one in enumerate(conditions):
            for name, verdict in wanted.items():
                if verdict == (index, True):
                    rules[_Rule(name, (index, True))] = None
            if one.layers is None:
                rules[_Rule(one.filter, (index, False))] = None
                continue
            for piece in self._pieces(one, start):
                rules[_Rule(piece, (index, False))] = None
        return list(rules)

    def _pieces(self, one: Conditional, start: int) -> Iterator[str]:
        first, end = one.layers or (0, 0)
        for layer in range(first, min(end, self._n_layers)):
            prefix = len(f"{self._layout.prefix}{layer}.")
            for name, at in self._layer.items():
                if at == layer and (one.filter is None or one.filter in name):
                    found = name.find(one.filter) + len(one.filter) if one.filter else 0
                    yield name[start : max(found, prefix)]

    def _by_name(self, wanted: dict[str, _Verdict]) -> list[_Rule]:
        """List whole names, longest first: of two names in one another the longer comes first."""
        names = sorted(wanted, key=lambda name: (-len(name), name))
        return [_Rule(name, verdict) for name in names if (verdict := wanted[name])]

    def _deciding(self, rules: list[_Rule], wanted: dict[str, _Verdict]) -> list[_Rule] | None:
        """Return the rules that decide some tensor, or None if they decide any one wrongly."""
        used: set[_Rule] = set()
        for name, verdict in wanted.items():
            for rule in rules:
                if rule.filter is None or rule.filter in name:
                    if rule.verdict != verdict:
                        return None
                    used.add(rule)
                    break
            else:
                if verdict is not None:
                    return None
        return [rule for rule in rules if rule in used]


def is_before_layers(name: str) -> bool:
    """Say whether a tensor outside the layers comes before them, a norm of embeddings included."""
    return part_of(name) == "embedding" or ("embed" in name and part_of(name) != "head")


def _condition(conditions: tuple[Conditional, ...], rule: _Rule) -> Conditional:
    index, end = rule.verdict
    value = conditions[index].value
    if end and isinstance(value, tuple):
        value = value[-1]
    return Conditional(value=value, filter=rule.filter)
