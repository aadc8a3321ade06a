from typing import Annotated, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evomerge import located_yaml
from evomerge.errors import ConfigError, RecipeError
from evomerge.located_yaml import Locator, explain, load_located, render

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abcdefg_", min_size=1, max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(PLAIN, st.booleans())
def test_reads_what_pyyaml_reads(data, flow):
    text = yaml.safe_dump(data, default_flow_style=flow, allow_unicode=True)
    assert repr(load_located(text, "f")[0]) == repr(yaml.safe_load(text))


def test_anchors_and_merge_keys_read_as_in_pyyaml():
    text = (
        "one: &one {a: 1, b: 2}\ntwo: &two {b: 3, c: 4}\n"
        "three: {<<: *one, b: 5}\nfour: {<<: [*one, *two], d: 6}\nfive: [*one, *two]\n"
    )
    assert load_located(text, "f")[0] == yaml.safe_load(text)


def test_lines():
    text = "a: 1\nb:\n  c:\n  - x\n  - y: 2\n    z: 3\n\nd: &d {e: 1}\nf:\n  <<: *d\n"
    _, locate = load_located(text, "f")
    lines = {
        (): 1,
        ("a",): 1,
        ("b", "c"): 3,
        ("b", "c", 1): 5,
        ("b", "c", 1, "z"): 6,
        ("b", "c", 1, "absent", "deeper"): 5,
        ("d", "e"): 8,
        ("f", "e"): 8,
    }
    assert {path: locate(path) for path in lines} == lines
    assert locate.has(("b", "c", 1, "z"))
    assert not locate.has(("b", "c", 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f:3: key 'a' stands here twice, first on line 1; keep one"),
        ("a: [1\n", "f:2: not YAML: "),
        ("a: b: c\n", "f:1: not YAML: "),
        ("a: \x00\n", "f:1: not YAML: "),
        ("a: *b\n", "f:1: alias '*b' has no anchor before it"),
        ("a: &a [*a]\n", "f:1: alias '*a' has no anchor before it"),
        ("a: 1\n---\nb: 1\n", "f:2: a second document"),
        ("a: !!python/object/apply:os.system [x]\n", "f:1: tag "),
        ("a: !mine x\n", "f:1: tag '!mine' is not supported"),
        ("a: !!int x\n", "f:1: 'x' is not a valid int"),
        ("a: 1\n? [b]\n: 2\n", "f:2: a key must be text or a number"),
        ("a: 1\n<<: [1]\n", "f:2: '<<' merges mappings only"),
        ("[" * 500, "f:1: nested deeper than"),
    ],
)
def test_refusals(text, message):
    with pytest.raises(RecipeError) as caught:
        load_located(text, "f")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_aliases_cannot_explode():
    rows = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    with pytest.raises(RecipeError, match="more than 1000000 values"):
        load_located("\n".join(rows), "f")


def test_size_is_limited(monkeypatch):
    monkeypatch.setattr(located_yaml, "MAX_CHARACTERS", 10)
    with pytest.raises(RecipeError, match="f: 11 characters, more than the 10 allowed"):
        load_located("a: 12345678", "f")


def test_dates_stay_text():
    assert load_located("a: 2024-01-02", "f")[0] == {"a": "2024-01-02"}


def test_the_caller_names_the_error():
    with pytest.raises(ConfigError) as caught:
        load_located("a: [", "study.yaml", lambda line: ConfigError([line]))
    assert len(caught.value.problems) == 1


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Leaf(Strict):
    weight: float
    kind: Literal["small", "large"] = "small"


class Tree(Strict):
    leaves: dict[str, Leaf] = Field(default_factory=dict)
    rows: list[Leaf] = Field(default_factory=list)
    either: Leaf | list[int] | None = None
    nested: Annotated["Tree | None", Field()] = None
    aliased: int = Field(default=0, alias="as")
    plain: int | bool = 0
    few: tuple[int, ...] = Field(default=(1,), min_length=1, max_length=2)
    named: dict[str, int] = Field(default_factory=lambda: {"a": 1, "b": 2}, min_length=2)
    name: str = Field(default="a", min_length=1, max_length=3, pattern="^[a-z]*$")


def problems(text, model=Tree):
    data, locate = load_located(text, "f")
    with pytest.raises(ValidationError) as caught:
        model.model_validate(data)
    return explain(caught.value, locate, "f", model)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "leavs: {}\nas: x\n",
            [
                "f:1: leavs: unknown key; did you mean 'leaves'?",
                "f:2: as: expected an integer, got 'x'",
            ],
        ),
        (
            "leaves:\n  a: {weight: 1}\n  b: {wieght: 1}\n",
            [
                "f:3: leaves.b.weight: this key is required and missing",
                "f:3: leaves.b.wieght: unknown key; did you mean 'weight'?",
            ],
        ),
        (
            "rows:\n- weight: 1\n  kind: lrge\n",
            ["f:3: rows[0].kind: expected 'small' or 'large', got 'lrge'; did you mean 'large'?"],
        ),
        (
            "nested:\n  nested:\n    rows: [{weigt: 1, weight: 2}]\n",
            ["f:3: nested.nested.rows[0].weigt: unknown key; did you mean 'weight'?"],
        ),
        ("either: {weight: x}\n", ["f:1: either.weight: expected a number, got 'x'"]),
        ("either: [1, x]\n", ["f:1: either[1]: expected an integer, got 'x'"]),
        ("either: x\n", ["f:1: either: expected a mapping or a list, got 'x'"]),
        ("plain: [1]\n", ["f:1: plain: expected an integer or true or false, got [1]"]),
        ("leaves: null\n", ["f:1: leaves: expected a mapping, got nothing"]),
        ("few: []\n", ["f:1: few: expected at least 1 entry, got 0"]),
        ("few: [1, 2, 3]\n", ["f:1: few: expected at most 2 entries, got 3"]),
        ("named: {a: 1}\n", ["f:1: named: expected at least 2 entries, got 1"]),
        ("name: ''\n", ["f:1: name: expected text of at least 1 characters, got ''"]),
        ("name: abcd\n", ["f:1: name: expected text of at most 3 characters, got 'abcd'"]),
        ("name: a b\n", ["f:1: name: expected text that matches ^[a-z]*$, got 'a b'"]),
        ("- 1\n", ["f:1: expected a mapping, got [1]"]),
    ],
)
def test_explain(text, lines):
    assert problems(text) == lines


def test_explain_inside_a_larger_document():
    _, locate = load_located("name: x\nspace:\n  rows: [{}]\n", "f")
    with pytest.raises(ValidationError) as caught:
        Tree.model_validate({"rows": [{}]})
    assert explain(caught.value, locate, "f", Tree, ("space",)) == [
        "f:3: space.rows[0].weight: this key is required and missing"
    ]


def test_explain_without_lines():
    data = {"rows": [{"weight": "x"}]}
    with pytest.raises(ValidationError) as caught:
        Tree.model_validate(data)
    assert explain(caught.value, Locator.of(data, ("space",)), "inline", Tree, ("space",)) == [
        "inline: space.rows[0].weight: expected a number, got 'x'"
    ]


def test_render():
    assert render(("models", 0, "parameters", "weight")) == "models[0].parameters.weight"
    assert render(()) == ""
