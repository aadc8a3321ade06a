"""Decoding against brute force: what each genotype of a small space means, spelled out here."""

import itertools
import random

import numpy as np
import pytest

from evomerge.errors import InvalidGenotype
from evomerge.optimizers import build_optimizer
from evomerge.recipe import fingerprint, native
from evomerge.spaces import declaration, load_space
from tests.spaces.models import decoders, shipped_with

NONE = {"scales": "none"}
FREE = {"fixed_ends": False}
LONG = {"limits": {"max_growth": 2}}


def space_of(path, n_layers=4, n_donors=2, models=None, **fields):
    return load_space({"path": path, **fields}, models or decoders(n_layers, n_donors))


def words(recipe, names=("math", "code", "chat")):
    """Write a path as 'm0 c1', by the first letters of ('math', 'code')."""
    letter = {f"./{name}": name[0] for name in names}
    paths = [source.model.path for source in recipe.models]
    return " ".join(f"{letter[paths[hop.model]]}{hop.layer}" for hop in recipe.path.hops)


def scales(recipe):
    return [hop.scale for hop in recipe.path.hops]


@pytest.mark.parametrize(
    ("order", "one_pass"),
    [
        ("donors", "m0 m1 c0 c1"),
        ("reversed", "c0 c1 m0 m1"),
        ("interleaved", "m0 c0 m1 c1"),
    ],
)
def test_slots_are_the_subsets_of_the_repeated_pool(order, one_pass):
    space = space_of("slots", 2, order=order, repeats=2, **NONE, **FREE)
    slots = one_pass.split() * 2
    assert len(space.domain) == len(slots)
    for bits in itertools.product(("off", "on"), repeat=len(slots)):
        kept = [slot for slot, bit in zip(slots, bits, strict=True) if bit == "on"]
        recipe = space.decode(bits)
        assert words(recipe) == (" ".join(kept) or "m0")
        used = {"./math"} | {f"./{'math' if word[0] == 'm' else 'code'}" for word in kept}
        assert {source.model.path for source in recipe.models} == used
        assert recipe.models[0].model.path == "./math"


def test_slots_between_fixed_ends():
    space = space_of("slots", 3, repeats=1, **NONE)
    for bits in itertools.product(("off", "on"), repeat=4):
        free = zip(["m1", "c0", "c1", "c2"], bits, strict=True)
        inner = [word for word, bit in free if bit == "on"]
        assert words(space.decode(bits)) == " ".join(["m0", *inner, "m2"])
    # of later passes the end layers are slots like others
    space = space_of("slots", 2, n_donors=1, repeats=2, **NONE)
    for bits in itertools.product(("off", "on"), repeat=2):
        inner = [word for word, bit in zip(["m0", "m1"], bits, strict=True) if bit == "on"]
        assert words(space.decode(bits)) == " ".join(["m0", *inner, "m1"])


def test_scales_of_fixed_ends():
    names = ["math:1", "code:0", "code:1", "code:2"]
    space = space_of("slots", 3, repeats=1)
    assert [gene.name for gene in space.domain.genes[4:]] == [
        *(f"scale[{name}.pass0]" for name in names),
        "scale[last]",
    ]
    recipe = space.decode(("off", "on", "off", "on", 0.5, 0.6, 0.7, 0.8, 0.9))
    assert (words(recipe), scales(recipe)) == ("m0 c0 c2 m2", [1.0, 0.6, 0.8, 0.9])
    space = space_of("slots", 3, repeats=1, scale_embedding=True)
    assert space.domain.genes[4].name == "scale[first]"
    recipe = space.decode(("off", "on", "off", "on", 0.4, 0.5, 0.6, 0.7, 0.8, 0.9))
    assert scales(recipe) == [0.4, 0.6, 0.8, 0.9]


@pytest.mark.parametrize("kind", ["slots", "depthwise", "sequence"])
def test_between_fixed_ends_every_canonical_genotype_is_another_path(kind):
    fields = {"sequence": {"limits": {"max_hops": 4}}, "depthwise": {"window": 1}}.get(kind, {})
    space = space_of(kind, 3, n_donors=2, **({"repeats": 1} if kind == "slots" else {}), **fields)
    genes = space.domain.genes
    values = [gene.choices or (1.0, 1.25) for gene in genes]
    if kind == "sequence":  # where an empty position stands says nothing
        values[1] = values[1][1:]
    meant: dict[str, tuple] = {}
    for genotype in itertools.product(*values):
        point = space.domain.canonical(genotype)
        assert meant.setdefault(fingerprint(space.decode(point)), point) == point


def test_scales_of_slots():
    space = space_of("slots", 2, repeats=1, **FREE)
    assert [gene.name for gene in space.domain.genes[4:]] == [
        "scale[math:0.pass0]",
        "scale[math:1.pass0]",
        "scale[code:0.pass0]",
        "scale[code:1.pass0]",
    ]
    recipe = space.decode(("off", "on", "off", "on", 0.5, 0.6, 0.7, 0.8))
    assert words(recipe) == "m1 c1"
    assert scales(recipe) == [1.0, 0.8]  # the first hop's would multiply the embeddings
    space = space_of("slots", 2, repeats=1, scale_embedding=True, **FREE)
    assert scales(space.decode(("off", "on", "off", "on", 0.5, 0.6, 0.7, 0.8))) == [0.6, 0.8]


def test_matrix_scales_belong_to_pairs_of_layers():
    space = space_of("slots", 2, repeats=2, scales="matrix", order="reversed", **FREE)
    rank = {"m0": 0, "m1": 1, "c0": 2, "c1": 3}  # in the pool's order, whatever the slots'
    matrix = [0.5 + i / 32 for i in range(16)]
    assert space.domain.genes[8 + 6].name == "scale[math:1>code:0]"
    draw = random.Random(2)
    for _ in range(50):
        bits = tuple(draw.choice(("off", "on")) for _ in range(8))
        recipe = space.decode(bits + tuple(matrix))
        path = words(recipe).split()
        expected = [matrix[4 * rank[i] + rank[j]] for i, j in itertools.pairwise(path)]
        assert scales(recipe) == [1.0, *expected]
    space = space_of("slots", 2, repeats=2, scales="matrix")
    recipe = space.decode(("on", "on", "off", "off", "off", "off", *matrix))
    assert words(recipe) == "m0 c0 c1 m1"
    assert scales(recipe) == [1.0, matrix[2], matrix[4 * 2 + 3], matrix[4 * 3 + 1]]


def test_depthwise_is_a_choice_at_each_depth():
    space = space_of("depthwise", 3, **NONE, **FREE)
    assert space.domain.genes[1].choices == ("math:1", "code:1", "skip")
    for choice in itertools.product((0, 1, 2), repeat=3):
        genotype = tuple(g.choices[c] for g, c in zip(space.domain.genes, choice, strict=True))
        kept = [f"{'mc'[c]}{depth}" for depth, c in enumerate(choice) if c < 2]
        assert words(space.decode(genotype)) == (" ".join(kept) or "m0")


def test_depthwise_window_stack_and_conditions():
    space = space_of("depthwise", 4, window=1, stack=2)
    names = [gene.name for gene in space.domain.genes]
    assert names[:4] == ["layer[1]", "layer[1.2]", "layer[2]", "layer[2.2]"]
    assert names[4:] == ["scale[1]", "scale[1.2]", "scale[2]", "scale[2.2]", "scale[last]"]
    near = space.domain.genes[0].choices
    assert set(near) == {f"{d}:{i}" for d in ("math", "code") for i in (0, 1, 2)} | {"skip"}
    given = (0.5, 0.6, 0.7, 0.8, 0.9)
    recipe = space.decode(("code:2", "math:1", "math:2", "skip", *given))
    assert words(recipe) == "m0 c2 m1 m2 m3"
    assert scales(recipe) == [1.0, 0.5, 0.6, 0.7, 0.9]
    # nothing is stacked on nothing
    skipped = ("skip", "math:1", "math:2", "skip", *given)
    assert words(space.decode(skipped)) == "m0 m2 m3"
    active = [True, False, True, True, False, False, True, False, True]
    assert list(space.domain.active(skipped)) == active
    assert fingerprint(space.decode(space.domain.canonical(skipped))) == fingerprint(
        space.decode(skipped)
    )


def test_depthwise_bands():
    space = space_of("depthwise", 7, band=2)
    assert [gene.name for gene in space.domain.genes[:3]] == [
        "layer[1-2]",
        "layer[3-4]",
        "layer[5]",
    ]
    recipe = space.decode(("math:1-2", "code:3-4", "skip", 0.5, 0.6, 0.7, 0.8))
    assert words(recipe) == "m0 m1 m2 c3 c4 m6"
    assert scales(recipe) == [1.0, 0.5, 1.0, 0.6, 1.0, 0.8]


def test_depthwise_without_ends_has_no_scale_for_what_comes_first():
    names = [gene.name for gene in space_of("depthwise", 2, **FREE).domain.genes]
    assert names == ["layer[0]", "layer[1]", "scale[1]"]
    free = space_of("depthwise", 2, scale_embedding=True, **FREE)
    assert [gene.name for gene in free.domain.genes][2:] == ["scale[0]", "scale[1]"]
    fixed = space_of("depthwise", 3, scale_embedding=True)
    recipe = fixed.decode(("code:1", 0.5, 0.6, 0.7))
    assert (words(recipe), scales(recipe)) == ("m0 c1 m2", [0.5, 0.6, 0.7])


def test_sequences_are_all_sequences():
    space = space_of("sequence", 2, limits={"max_hops": 3}, **NONE, **FREE)
    choices = ("-", "math:0", "math:1", "code:0", "code:1")
    short = dict(zip(choices, ("", "m0", "m1", "c0", "c1"), strict=True))
    assert {gene.choices for gene in space.domain.genes} == {choices}
    for genotype in itertools.product(choices, repeat=3):
        expected = " ".join(filter(None, (short[one] for one in genotype)))
        assert words(space.decode(genotype)) == (expected or "m0")


def test_sequence_genes():
    space = space_of("sequence", 2, limits={"max_growth": 2})
    sequence = space.domain.sequence
    assert sequence.elements == (0, 1)  # the ends of every path have none
    assert sequence.attributes == ((2,), (3,))
    assert space.domain.genes[4].name == "scale[last]"
    assert [gene.empty for gene in space.domain.genes] == ["-", "-", None, None, None]
    assert space.domain.initial == ("-", "-", 1.0, 1.0, 1.0)
    recipe = space.decode(("-", "code:1", 0.5, 0.6, 0.7))
    assert (words(recipe), scales(recipe)) == ("m0 c1 m1", [1.0, 0.6, 0.7])
    recipe = space.decode(("math:1", "math:0", 0.5, 0.6, 0.7))
    assert (words(recipe), scales(recipe)) == ("m0 m1 m0 m1", [1.0, 0.5, 0.6, 0.7])
    free = space_of("sequence", 2, limits={"max_hops": 2}, **FREE).domain
    assert free.sequence.attributes == ((2,), (3,))
    assert free.initial == ("math:0", "math:1", 1.0, 1.0)
    none = space_of("sequence", 2, limits={"max_hops": 2}, **FREE, **NONE).domain
    assert none.sequence.attributes == ((), ())
    alone = space_of("sequence", 2, limits={"max_hops": 2}).domain
    assert ([gene.name for gene in alone.genes], alone.sequence) == (["scale[last]"], None)


def test_sequence_shorter_than_the_first_donor():
    space = space_of("sequence", 4, limits={"max_growth": 0.8}, **NONE)
    assert len(space.domain) == 1
    assert words(space.decode(space.domain.initial)) == "m0 m1 m3"
    assert space.domain.seeds == ()  # the first donor alone does not fit


def test_dimensions_of_the_paper():
    models = decoders(32, 2)
    per_slot = load_space("sakana_dfs", models).domain
    n_indicators = sum(gene.kind == "categorical" for gene in per_slot.genes)
    # of T = 192 slots two are the ends; the first hop has no scale
    assert (len(per_slot), n_indicators) == (190 + 191, 190)
    matrix = load_space("sakana_dfs_matrix", models).domain
    assert len(matrix) == 190 + 4096
    assert {gene.choices for gene in matrix.genes[:190]} == {("off", "on")}
    on = [gene.weights[1] for gene in matrix.genes[:190]]
    assert on == [0.977] * 30 + [0.03] * 160
    ranges = {(gene.low, gene.high, gene.initial, gene.spread) for gene in matrix.genes[190:]}
    assert ranges == {(0.4, 1.6, 1.0, 0.1)}


def test_a_search_starts_near_the_first_donor():
    space = space_of("slots", 32, start={"own": 0.97, "other": 0.03}, **NONE)
    generator = np.random.default_rng(3)
    n_on = [space.domain.draw(generator).count("on") for _ in range(128)]
    # 30 * 0.97 + 160 * 0.03 = 33.9 slots, variance 5.53: 0.21 the deviation of a mean of 128
    assert abs(np.mean(n_on) - 33.9) < 4 * 0.21
    assert abs(np.std(n_on) - 2.36) < 0.6
    space = space_of("depthwise", 32, start={"own": 0.9}, **NONE)
    own = [
        sum(value == gene.initial for value, gene in zip(point, space.domain.genes, strict=True))
        for point in (space.domain.draw(generator) for _ in range(128))
    ]
    assert abs(np.mean(own) - 27) < 4 * 1.65 / 128**0.5


def test_a_search_may_start_anywhere():
    for kind in ("slots", "depthwise", "sequence"):
        fields = {"start": {"at": "random", "own": 0.5, "other": 0.5}, "limits": {"max_growth": 2}}
        domain = space_of(kind, 16, models=decoders(16, seed=4), **fields).domain
        assert domain.seeds == ()
        assert domain == space_of(kind, 16, models=decoders(16, seed=4), **fields).domain
        other = space_of(kind, 16, models=decoders(16, seed=5), **fields).domain
        plain = space_of(kind, 16, limits={"max_growth": 2}).domain
        starts = {one.initial for one in (domain, other, plain)}
        assert len(starts) == 3
        assert {g.initial for g in domain.genes if g.kind == "continuous"} == {1.0}


@pytest.mark.parametrize("kind", ["slots", "depthwise", "sequence"])
def test_a_random_start_is_where_the_search_starts(kind):
    start = {"at": "random", "own": 0.6, "other": 0.3}
    domain = space_of(kind, 8, models=decoders(8, seed=4), start=start, **LONG).domain
    near = space_of(
        kind, 8, models=decoders(8, seed=4), start={**start, "at": "first_donor"}, **LONG
    )
    chosen = [i for i, gene in enumerate(domain.genes) if gene.kind == "categorical"]
    moved = [i for i in chosen if domain.initial[i] != near.domain.initial[i]]
    assert moved
    generator = np.random.default_rng(0)
    drawn = [tuple(gene.draw(generator) for gene in domain.genes) for _ in range(1500)]
    for i in chosen:
        gene, before = domain.genes[i], near.domain.genes[i]
        assert gene.weights[gene.choices.index(gene.initial)] == max(gene.weights)
        assert sorted(gene.weights) == sorted(before.weights)
        share = sum(point[i] == gene.initial for point in drawn) / len(drawn)
        assert share == pytest.approx(max(gene.weights), abs=0.07)
    for name in ("cat_cma", "cma_es", "cma_wm"):
        if kind == "slots":
            # the start of every algorithm is above one half where the drawn slot is on
            optimizer = build_optimizer(name, domain, 1, 0, {"seeds": False})
            on = [domain.initial[i] == "on" for i in chosen]
            assert [share > 0.5 for share in likely_on(name, optimizer)[: len(on)]] == on


def likely_on(name, optimizer):
    if name == "cat_cma":
        return [shares[1] for shares in optimizer.distribution.probabilities]
    return list(optimizer.mean if name == "cma_es" else optimizer.distribution.mean)


@pytest.mark.parametrize("scales", ["none", "per_hop"])
@pytest.mark.parametrize("kind", ["slots", "depthwise", "sequence"])
@pytest.mark.parametrize("fixed_ends", [True, False])
def test_more_hops_use_more_genes(kind, scales, fixed_ends):
    fields = {"limits": {"max_hops": 12}} if kind == "sequence" else {}
    if kind == "depthwise":
        fields = {"stack": 2}
    space = space_of(kind, 6, fixed_ends=fixed_ends, scales=scales, **fields)
    generator = np.random.default_rng(0)
    used: dict[int, set[int]] = {}
    for _ in range(400):
        share = generator.random()
        point = tuple(
            gene.empty if gene.empty and generator.random() < share else gene.draw(generator)
            for gene in space.domain.genes
        )
        if len(set(point)) > 1:
            used.setdefault(len(space.path(point)), set()).add(space.domain.n_used(point))
    assert len(used) > 4
    for fewer, more in itertools.pairwise(sorted(used)):
        assert fewer == 1 or max(used[fewer]) < min(used[more])


def test_genes_without_an_empty_choice_are_used_where_they_have_an_effect():
    plain = load_space(
        {"merge_method": "linear", "genes": {"weight": {"range": [0, 1]}}}, decoders(4)
    )
    assert plain.domain.n_used(plain.domain.initial) == len(plain.domain)


@pytest.mark.parametrize("kind", ["slots", "depthwise", "sequence"])
def test_seeds(kind):
    m = [f"m{i}" for i in range(8)]
    c = [f"c{i}" for i in range(8)]
    known = {
        "math": m,
        "depth_up:math": m[:6] + m[2:],
        "body:math+code": m[:1] + c[1:7] + m[7:],
        "layer_swap:math+code": m[:2] + c[2:6] + m[6:],
        "frankenmerge:math+code": m[:4] + c[2:6] + m[4:],
    }
    long = {"limits": {"max_growth": 1.5}}
    space = space_of(kind, 8, **long)
    found = {seed.name: space.decode(seed.genotype) for seed in space.domain.seeds}
    expected = list(known)
    if kind == "depthwise":  # longer paths need a window and a stack
        expected = ["math", "body:math+code", "layer_swap:math+code"]
        wide = space_of(kind, 8, **long, window=2, stack=2).domain
        assert "frankenmerge:math+code" in [seed.name for seed in wide.seeds]
        assert wide.seeds[0].genotype == wide.initial
    assert list(found) == expected
    for name, recipe in found.items():
        assert words(recipe) == " ".join(known[name])
        assert set(scales(recipe)) == {1.0}
    assert space.domain.seeds[0].genotype == space.domain.initial
    short = [seed.name for seed in space_of(kind, 8, limits={"max_growth": 1.2}).domain.seeds]
    assert short == ["math", "body:math+code", "layer_swap:math+code"]


@pytest.mark.parametrize("name", shipped_with("path"))
def test_off_scales_do_not_count(name):
    space = load_space(name, decoders(6, 3))
    domain = space.domain
    generator = np.random.default_rng(1)
    n_changed = 0
    for _ in range(20):
        point = domain.draw(generator)
        active = domain.active(point)
        other = tuple(
            value if on else gene.from_unit(float(generator.random()))
            for gene, value, on in zip(domain.genes, point, active, strict=True)
        )
        n_changed += other != point
        assert fingerprint(space.decode(other)) == fingerprint(space.decode(point))
        assert domain.canonical(other) == point
        changed = tuple(
            0.5 if on and gene.kind == "continuous" else value
            for gene, value, on in zip(domain.genes, point, active, strict=True)
        )
        assert fingerprint(space.decode(changed)) != fingerprint(space.decode(point))
    assert n_changed or name == "sakana_dfs_matrix"


@pytest.mark.parametrize("n_layers", [3, 8])
@pytest.mark.parametrize("n_donors", [1, 2, 3])
@pytest.mark.parametrize("name", [*shipped_with("path"), *shipped_with("merge")])
def test_every_point_of_a_shipped_space_is_a_recipe(name, n_donors, n_layers):
    models = decoders(n_layers, n_donors, dtype="bfloat16", seed=9)
    space = load_space(name, models)
    domain = space.domain
    again = load_space(declaration(space), models)
    assert again.domain == domain
    assert len({gene.name for gene in domain.genes}) == len(domain)
    generator = np.random.default_rng(0)
    points = [domain.from_unit(generator.random(len(domain))) for _ in range(10)]
    points += [domain.from_unit([0.0] * len(domain)), domain.from_unit([1.0] * len(domain))]
    points += [domain.draw(generator) for _ in range(5)]
    for point in (*points, domain.initial, *(seed.genotype for seed in domain.seeds)):
        recipe = space.decode(point)
        assert again.decode(point) == recipe
        assert native.loads(native.dumps(recipe)) == recipe
        assert (recipe.dtype, recipe.seed) == ("bfloat16", 9)
        hops = recipe.path.hops
        assert [(hop.model, hop.layer) for hop in (hops[0], hops[-1])] == [
            (0, 0),
            (0, n_layers - 1),
        ]
        assert {hop.model for hop in hops} | {0} == set(range(len(recipe.models)))
        if name != "sakana_dfs" and "matrix" not in name:
            assert len(hops) <= (1.5 if name == "layer_sequence" else 1.2) * n_layers
    with pytest.raises(InvalidGenotype, match="the genotype"):
        space.decode(domain.initial[1:])
    with pytest.raises(InvalidGenotype, match=r"none of|outside"):
        space.decode(("both", *domain.initial[1:]))
    with pytest.raises(InvalidGenotype, match=r"is outside \[0.4, 1.6\]"):
        space.decode((*domain.initial[:-1], 1.7))


def test_donors_of_different_depth():
    models = decoders(4, 2, depths={"code": 8})
    slots = load_space({"path": "slots", "repeats": 1}, models).domain
    assert [gene.name for gene in slots.genes if "code:7" in gene.name] == [
        "slot[code:7.pass0]",
        "scale[code:7.pass0]",
    ]
    sequence = load_space({"path": "sequence", "limits": {"max_growth": 1}}, models)
    assert len(sequence.domain.genes[0].choices) == 1 + 4 + 8
    depthwise = load_space({"path": "depthwise", "fixed_ends": False}, models).domain
    # the same fraction of the depth: 0, 7/3, 14/3, 7
    assert [gene.choices[1] for gene in depthwise.genes[:4]] == [
        "code:0",
        "code:2",
        "code:5",
        "code:7",
    ]
    first = decoders(4, 2, depths={"math": 2})
    space = load_space({"path": "slots"}, first)
    assert words(space.decode(space.domain.initial)) == "m0 m1"


def test_free_ends_know_every_donor_alone():
    space = space_of("depthwise", 8, fixed_ends=False)
    (seed,) = [one for one in space.domain.seeds if one.name == "layers:code"]
    assert words(space.decode(seed.genotype)) == " ".join(f"c{i}" for i in range(8))
    assert set(scales(space.decode(seed.genotype))) == {1.0}
    ends = space_of("depthwise", 8, fixed_ends=True)
    assert "layers:code" not in {one.name for one in ends.domain.seeds}
