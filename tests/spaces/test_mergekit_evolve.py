"""The genome of mergekit-evolve against its own code, from the genotype to the YAML it writes."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evomerge.errors import InvalidGenotype, SpaceError
from evomerge.recipe import ModelRef, fingerprint, mergekit
from evomerge.spaces import SpaceContext, declaration, load_space
from tests.recipe.layouts import llama

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # upstream's own, while it is imported
    pytest.importorskip("mergekit", reason="mergekit is the oracle of these tests")
    from mergekit.evo.genome import METHOD_PARAM_MAPS, ModelGenome, ModelGenomeDefinition

N_LAYERS = 12
NAMES = ("math", "code", "chat", "bio")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What mergekit-evolve reads of a model before it merges: its configuration."""
    root = tmp_path_factory.mktemp("genome")
    for name in ("base", *NAMES):
        (root / name).mkdir()
        config = {"model_type": "llama", "num_hidden_layers": N_LAYERS}
        (root / name / "config.json").write_text(json.dumps(config))
    return root


@st.composite
def genomes(draw):
    """A genome section, its models by name; only what mergekit itself can merge."""
    method = draw(st.sampled_from(sorted(METHOD_PARAM_MAPS)))
    pair, pure = method == "slerp", method in ("slerp", "linear")
    models = list(NAMES[: draw(st.integers(2 if pair else 1, len(NAMES)))])
    if draw(st.booleans()):
        models.insert(draw(st.integers(0, len(models))), "base")
    genome = {
        "merge_method": method,
        "models": models,
        "layer_granularity": draw(st.sampled_from([0, 1, 3, 4, 6, 12])),
        "normalize": draw(st.sampled_from([None, True, False])),
        "allow_negative_weights": draw(st.booleans()),
        "tokenizer_source": draw(st.sampled_from([None, "union", "base", "math"])),
    }
    if not pair:
        genome["smooth"] = draw(st.booleans())
        genome["filters"] = draw(
            st.sampled_from([None, [], ["mlp"], ["self_attn", "mlp", "layernorm"], ["*"]])
        )
    with_base = not pure or ("base" in models and draw(st.booleans()))
    genome["base_model"] = with_base
    return genome


def theirs(genome, folder):
    """Return mergekit's genome of the same models."""
    named = dict(genome, models=[str(folder / name) for name in genome["models"]])
    named["base_model"] = str(folder / "base") if genome["base_model"] else None
    if genome["tokenizer_source"] == "math":
        named["tokenizer_source"] = str(folder / "math")
    return ModelGenome(ModelGenomeDefinition.model_validate(named))


def ours(genome, folder, **fields):
    donors = {name: ModelRef(path=str(folder / name)) for name in NAMES}
    base = ModelRef(path=str(folder / "base"))
    context = SpaceContext(base, donors, llama(N_LAYERS), dtype="bfloat16", **fields)
    content = {key: value for key, value in genome.items() if value is not None}
    return load_space({"genome": "mergekit-evolve", **content}, context)


values = st.one_of(
    st.floats(-2, 2), st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-7, -3.25e-12, 7.5, -1000.0])
)


def without_t(recipe):
    """Return a recipe and its interpolations apart."""
    ts = [one.parameters["t"] for one in recipe.slices]
    plain = [one.model_copy(update={"parameters": {}}) for one in recipe.slices]
    return recipe.model_copy(update={"slices": tuple(plain)}), ts


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(genome=genomes(), data=st.data())
def test_genotypes_mean_what_mergekit_makes_of_them(genome, data, folder):
    other, space = theirs(genome, folder), ours(genome, folder)
    start = other.initial_genotype().view(-1).numpy()
    assert space.domain.initial == tuple(map(float, start))
    n = len(start)
    genotype = data.draw(st.lists(values, min_size=n, max_size=n))
    if genome["merge_method"] == "slerp":  # between equals torch takes any
        genotype = [value + 1e-3 * index for index, value in enumerate(genotype)]
        rows = np.array(genotype).reshape(-1, len(genome["models"]))
        if any(len(set(row)) < len(row) for row in rows):
            return
    text = other.genotype_merge_config(np.array(genotype)).to_yaml()
    expected, got = mergekit.loads(text), space.decode(tuple(genotype))
    if genome["merge_method"] == "slerp":
        (expected, wanted), (got, ts) = without_t(expected), without_t(got)
        assert ts == pytest.approx(wanted, rel=1e-15, abs=0)
    assert fingerprint(got) == fingerprint(expected)


def test_a_softmax_of_mergekit_to_the_last_bits(folder):
    """Over the whole range; what underflows there does here."""
    genome = genome_of("slerp", models=["math", "code"])
    other, space = theirs(genome, folder), ours(genome, folder)
    rng = np.random.default_rng(3)
    for gap in [0.0, 1e-300, 1e-16, 600.0, 1600.0, *rng.uniform(0, 30, 200)]:
        genotype = (700.0 - gap, 700.0)
        recipe = space.decode(genotype)
        theirs_t = other.genotype_merge_config(np.array(genotype)).slices[0].parameters["t"]
        assert recipe.slices[0].parameters["t"] == pytest.approx(theirs_t, rel=1e-15, abs=1e-320)


def genome_of(method, **keys):
    plain = {
        "merge_method": method,
        "models": ["math", "code", "chat"],
        "base_model": method not in ("linear", "slerp"),
        "tokenizer_source": None,
    }
    return plain | keys


def test_the_seed_is_the_studys_and_nothing_else_changes(folder):
    genome = genome_of("dare_ties", layer_granularity=6)
    space, seeded = ours(genome, folder), ours(genome, folder, seed=9)
    recipe = seeded.decode(seeded.domain.initial)
    assert recipe.seed == 9
    assert recipe.model_copy(update={"seed": 0}) == space.decode(space.domain.initial)


def test_random_starts_follow_the_seed(folder):
    """As there: uniform in [0, 1); unlike there, the same in every run of a seed."""
    genome = genome_of("ties", layer_granularity=1, random_init=True)
    one, again, other = (ours(genome, folder, seed=seed).domain.initial for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert all(0 <= value < 1 for value in one)
    assert np.mean(one) == pytest.approx(0.5, abs=4 / math.sqrt(12 * len(one)))
    shape = theirs(genome_of("ties", layer_granularity=1), folder).initial_genotype(random=True)
    assert len(one) == shape.numel()


def test_genes_say_what_they_hold_for(folder):
    genome = genome_of("ties", models=["code", "base"], layer_granularity=6, filters=["mlp"])
    names = [gene.name for gene in ours(genome, folder).domain.genes]
    assert names[:5] == [
        "weight[code].layers[0:6].mlp",
        "density[code].layers[0:6].mlp",
        "weight[code].layers[0:6].rest",
        "density[code].layers[0:6].rest",
        "weight[base].layers[0:6].mlp",
    ]
    assert len(set(names)) == len(names) == 2 * 2 * 2 * 2


def test_a_run_rebuilds_the_space_from_what_it_recorded(folder):
    genome = genome_of("slerp", layer_granularity=3, tokenizer_source="math", range=[-3, 3])
    space = ours(genome, folder)
    content = json.loads(json.dumps(declaration(space)))
    again = ours({**content, "models": content["models"]}, folder)
    assert again.domain == space.domain
    assert again.decode(space.domain.initial) == space.decode(space.domain.initial)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"layer_granularity": 5}, "5 does not divide the 12 layers; use 1, 2, 3, 4, 6, 12"),
        ({"models": ["math", "maths"]}, "there is no model 'maths'; did you mean 'math'?"),
        ({"models": ["math", "math"]}, "models name one twice"),
        ({"base_model": False}, "ties needs the base"),
        ({"merge_method": "slerp", "base_model": False, "smooth": True}, "slerp takes no 'smooth'"),
        ({"merge_method": "slerp", "base_model": False, "filters": ["mlp"]}, "no 'filters'"),
        ({"merge_method": "slerp", "base_model": False, "models": ["math"]}, "two models"),
        ({"merge_method": "linear", "base_model": True}, "without a weight, and fail"),
        ({"merge_method": "slerp", "base_model": True}, "without a weight, and fail"),
        ({"merge_method": "dare_linear"}, "did you mean"),
        ({"filters": ["mlp", "mlp"]}, "filters must differ"),
        ({"range": [0.5, 2]}, "range must include 0 and 1"),
        ({"granularity": 3}, "unknown key; did you mean 'layer_granularity'?"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(keys, message, folder):
    with pytest.raises(SpaceError, match="space: ") as caught:
        ours(genome_of("ties") | keys, folder)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_genotype_beyond_the_range_means_nothing(folder):
    space = ours(genome_of("linear", range=[-2, 2]), folder)
    with pytest.raises(InvalidGenotype):
        space.decode((0.1, 2.5, 0.2))
    with pytest.raises(InvalidGenotype):
        space.decode((0.1, 0.2))
