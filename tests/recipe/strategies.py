"""Hypothesis strategies for recipes."""

from hypothesis import strategies as st

from evomerge.recipe import COMPAT, Conditional, ModelRef, Recipe, Slice, Source
from evomerge.recipe.vocabulary import METHODS

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)
PLAIN = st.text("abcXYZ019./-_ ", min_size=1, max_size=12)
NUMBERS = st.one_of(
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
)
FILTERS = st.none() | st.sampled_from(["self_attn", "mlp", "norm", "lm_head", "3.mlp", ""]) | PLAIN
DIGESTS = st.none() | st.text("0123456789abcdef", min_size=64, max_size=64)
NOWHERE = st.none()
DTYPES = st.none() | st.sampled_from(["float16", "bfloat16", "float32", "float64"])


@st.composite
def refs(draw, *, names=NAMES, digests=DIGESTS):
    adapter = draw(st.none() | names)
    return ModelRef(
        path=draw(names),
        revision=draw(st.none() | names),
        adapter=adapter,
        adapter_revision=draw(st.none() | names) if adapter else None,
        sha256=draw(digests),
    )


@st.composite
def layer_runs(draw, n_layers=12):
    first = draw(st.integers(0, n_layers - 1))
    return first, draw(st.integers(first + 1, n_layers + 2))


def conditionals(*, scalars=NUMBERS, layers=NOWHERE):
    return st.builds(
        Conditional,
        value=scalars | st.lists(scalars, min_size=1, max_size=4).map(tuple),
        filter=FILTERS,
        layers=layers,
    )


def values(*, scalars=NUMBERS, layers=NOWHERE):
    return st.one_of(
        scalars,
        st.lists(scalars, min_size=1, max_size=4).map(tuple),
        st.lists(conditionals(scalars=scalars, layers=layers), min_size=1, max_size=3).map(tuple),
    )


def parameters(names, **options):
    if not names:
        return st.just({})
    return st.dictionaries(st.sampled_from(sorted(names)), values(**options), max_size=3)


@st.composite
def mergekit_recipes(draw):
    """Compat recipes that mergekit can express, each in every detail it holds."""
    plain = refs(names=PLAIN.filter(str.strip), digests=st.none())
    method = draw(st.sampled_from(sorted(set(METHODS) - {"slerp", "linear", "karcher"})))
    words = METHODS[method]
    tokenizer = draw(st.none() | st.sampled_from(["base", "union", "some/model"]))
    common = {
        "merge_method": method,
        "parameters": draw(parameters(words.all)),
        "dtype": draw(DTYPES),
        "out_dtype": draw(DTYPES),
        "tokenizer_source": tokenizer,
        "compat": COMPAT,
    }
    if draw(st.booleans()) and method != "passthrough":
        models = draw(
            st.lists(
                st.builds(Source, model=plain, parameters=parameters(words.per_input)),
                min_size=1,
                max_size=3,
            )
        )
        return Recipe(models=tuple(models), base_model=draw(st.none() | plain), **common)
    slices = []
    for _ in range(draw(st.integers(1, 3))):
        length = draw(st.integers(1, 5))
        first = draw(st.integers(0, 9))
        sources = [
            Source(
                model=draw(plain),
                layer_range=(first, first + length),
                parameters=draw(parameters(words.per_input)),
            )
            for _ in range(2)
        ]
        slices.append(Slice(sources=tuple(sources), parameters=draw(parameters(words.all))))
    return Recipe(slices=tuple(slices), **common)


@st.composite
def native_recipes(draw, depth=1):
    """Anything the model holds."""
    options = {"scalars": NUMBERS | PLAIN.filter(_is_text), "layers": st.none() | layer_runs()}
    models = refs() if depth == 0 else refs() | native_recipes(depth=depth - 1)
    tables = st.dictionaries(NAMES, values(**options), max_size=2)
    common = {
        "merge_method": draw(NAMES),
        "base_model": draw(st.none() | models),
        "parameters": draw(tables),
        "dtype": draw(DTYPES),
        "out_dtype": draw(DTYPES),
        "tokenizer_source": draw(st.none() | NAMES),
        "seed": draw(st.integers(0, 2**63 - 1)),
        "compat": draw(st.sampled_from([None, COMPAT])),
    }
    if draw(st.booleans()):
        sources = st.lists(
            st.builds(Source, model=models, parameters=tables), min_size=1, max_size=2
        )
        return Recipe(models=tuple(draw(sources)), **common)
    run = draw(layer_runs())
    source = Source(model=draw(models), layer_range=run, parameters=draw(tables))
    return Recipe(slices=(Slice(sources=(source,), parameters=draw(tables)),), **common)


def _is_text(text):
    """Numbers in quotes are numbers to a recipe."""
    try:
        float(text)
    except ValueError:
        return True
    return False
