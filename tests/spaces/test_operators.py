"""Spaces whose first gene is the merge method: what they mean is what spaces of one method mean."""

import json
from dataclasses import replace

import numpy as np
import pytest

from evomerge.errors import InvalidGenotype, SpaceError
from evomerge.located_yaml import load_located
from evomerge.merging.method import METHODS as MERGED
from evomerge.merging.method import Method, load_method
from evomerge.recipe import ModelRef, fingerprint, mergekit, native
from evomerge.recipe.vocabulary import METHODS
from evomerge.spaces import (
    Condition,
    OperatorsSpec,
    Origin,
    SpaceContext,
    declaration,
    load_space,
    seeded,
)
from evomerge.spaces.operators.spec import parameters_of
from tests.recipe.layouts import gpt2, llama, qwen2
from tests.spaces.models import context, shipped_with
from tests.spaces.test_seeded import BASE, CONTEXT, DONORS, SHAPE, SHAPES

WEIGHT = {"range": [0.0, 1.5], "initial": "uniform"}
DENSITY = {"range": [0.1, 1.0], "initial": 1.0}
T = {"range": [0.0, 1.0], "initial": 0.5}
MANY = {
    "operators": {
        "task_arithmetic": {"parameters": {"normalize": False}},
        "trimmed": {
            "merge_method": "ties",
            "genes": {"density": DENSITY, "normalize": {"choices": [True, False]}},
        },
        "dare_ties": {"parameters": {"normalize": False, "rescale": "l1"}, "genes": {"density": T}},
        "slerp": {"genes": {"t": {**T, "layers": 2}}},
        "linear": {"base": "input"},
        "karcher": {"genes": {"max_iter": {"range": [1, 20], "kind": "integer"}}},
        "model_stock": None,
    },
    "genes": {"weight": {**WEIGHT, "layers": 4}},
}


def plain(content, operator):
    """The space of one operator alone, written by hand from the file of all."""
    one = content["operators"][operator] or {}
    method = one.get("merge_method", operator)
    shared = content.get("genes", {}) if method not in ("slerp", "karcher") else {}
    genes = {**shared, **one.get("genes", {})}
    return {**one, "merge_method": method, "genes": genes}


def drawn(domain, seed=0):
    """A point of the whole domain, not canonical."""
    units = np.random.default_rng(seed).random(len(domain))
    return tuple(gene.from_unit(unit) for gene, unit in zip(domain.genes, units, strict=True))


def put(domain, operator, values):
    """Write the values of genes, by the names they have in the operator's own space."""
    known = {f"{operator}:{name}": value for name, value in values.items()} | values
    return (operator, *(known.get(gene.name, gene.initial) for gene in domain.genes[1:]))


def test_the_genes_of_the_shipped_space():
    domain = load_space("operators", context(llama(5))).domain
    method, *rest = domain.genes
    names = ("task_arithmetic", "ties", "dare_ties")
    assert (method.name, method.kind, method.choices) == ("method", "categorical", names)
    assert [(gene.name, gene.condition) for gene in rest] == [
        ("weight[math]", None),
        ("weight[code]", None),
        ("ties:density[math]", Condition(0, ("ties",))),
        ("ties:density[code]", Condition(0, ("ties",))),
        ("dare_ties:density[math]", Condition(0, ("dare_ties",))),
        ("dare_ties:density[code]", Condition(0, ("dare_ties",))),
    ]
    assert domain.initial == ("task_arithmetic", *(0.5,) * 6)
    assert not domain.linear
    assert [seed.name for seed in domain.seeds] == [
        *("base", "math", "code", "uniform"),
        *("uniform:ties", "uniform:dare_ties"),
    ]


@pytest.mark.parametrize("layout", [llama, gpt2, qwen2])
@pytest.mark.parametrize("name", shipped_with("operators"))
def test_shipped_spaces_decode(name, layout):
    for n_donors in range(1, 5):
        space = load_space(name, context(layout(5), n_donors, dtype="bfloat16", seed=9))
        domain = space.domain
        assert len({gene.name for gene in domain.genes}) == len(domain)
        for genotype in (domain.initial, drawn(domain), *(seed.genotype for seed in domain.seeds)):
            recipe = space.decode(tuple(json.loads(json.dumps(genotype))))
            assert native.loads(native.dumps(recipe)) == recipe
            assert mergekit.dumps(recipe, layout=layout(5))
            assert (recipe.dtype, recipe.seed) == ("bfloat16", 9)


@pytest.mark.parametrize("operator", [name for name in MANY["operators"] if name != "model_stock"])
def test_a_recipe_is_that_of_the_space_of_its_operator(operator):
    models = context(llama(5), dtype="bfloat16", seed=9)
    space, alone = load_space(MANY, models), load_space(plain(MANY, operator), models)
    for seed in range(20):
        values = drawn(alone.domain, seed)
        named = {g.name: value for g, value in zip(alone.domain.genes, values, strict=True)}
        genotype = put(space.domain, operator, named)
        assert fingerprint(space.decode(genotype)) == fingerprint(alone.decode(values))
        # what belongs to other operators is not read
        noise = drawn(space.domain, seed + 100)
        noisy = tuple(
            value if active else other
            for value, other, active in zip(
                genotype, noise, space.domain.active(genotype), strict=True
            )
        )
        assert space.domain.canonical(noisy) == genotype
        assert space.decode(noisy) == space.decode(genotype)
    assert sum(space.domain.active(genotype)) == 1 + len(alone.domain)
    assert fingerprint(space.starts()[operator]) == fingerprint(alone.decode(alone.domain.initial))


def test_an_operator_may_have_no_genes():
    space = load_space(MANY, context(llama(5), seed=3))
    recipes = {space.decode(("model_stock", *drawn(space.domain, k)[1:])).seed for k in range(3)}
    assert recipes == {3}
    recipe = space.starts()["model_stock"]
    assert (recipe.merge_method, recipe.parameters) == ("model_stock", {})
    assert all(source.parameters == {} for source in recipe.models)


def test_what_stands_under_an_operator_is_its_own():
    content = {
        "operators": {
            "task_arithmetic": {},
            "ties": {"genes": {"density": {"range": [0.5, 1.0]}}},
            "dare_ties": {"parameters": {"density": 0.3}},
            "dare_linear": {},
        },
        "genes": {"density": DENSITY, "weight": WEIGHT},
    }
    space = load_space(content, context(llama(2)))
    conditions = {gene.name: gene.condition for gene in space.domain.genes}
    # task arithmetic takes a density in mergekit's YAML and does nothing with it
    assert conditions["density[math]"] == Condition(0, ("dare_linear",))
    assert conditions["ties:density[math]"] == Condition(0, ("ties",))
    assert conditions["weight[math]"] is None
    assert not any(name.startswith("dare_ties:") for name in conditions)
    assert space.starts()["dare_ties"].parameters == {"density": 0.3}


def test_the_parameters_that_genes_are_shared_by_are_those_that_are_read():
    shared = {"weight", "density"}
    for name in MERGED.names():
        if name not in METHODS:
            continue
        method = load_method(name)
        assert isinstance(method, Method)
        assert shared & parameters_of(name) == shared & set(method.parameters)
        assert not parameters_of(name) & method.inert
    assert parameters_of("my.own:method") == frozenset()


def test_known_points_are_those_of_the_first_operator_that_has_them():
    models = context(llama(5))
    low = {"range": [0.0, 0.9], "initial": "uniform"}
    content = {**MANY, "genes": {"weight": low}}
    space = load_space(content, models)
    seeds = {seed.name: seed.genotype for seed in space.domain.seeds}
    assert len(set(seeds.values())) == len(space.domain.seeds)
    assert {name: genotype[0] for name, genotype in seeds.items()} == {
        "base": "task_arithmetic",
        "uniform": "task_arithmetic",
        "uniform:trimmed": "trimmed",
        "uniform:dare_ties": "dare_ties",
        "math": "slerp",  # a weight of 1 is out of bounds
        "code": "slerp",
        "uniform:slerp": "slerp",
        "uniform:linear": "linear",
    }
    for name, genotype in seeds.items():
        assert space.domain.canonical(genotype) == genotype
        alone = load_space(plain(content, genotype[0]), models)
        (same,) = [one for one in alone.domain.seeds if one.name == name.partition(":")[0]]
        assert fingerprint(space.decode(genotype)) == fingerprint(alone.decode(same.genotype))


def test_a_shared_gene_starts_where_the_first_operator_does():
    genes = {gene.name: gene for gene in load_space(MANY, context(llama(5))).domain.genes}
    assert genes["weight[math].layers[0:4]"].initial == 0.5  # linear counts the base too
    assert genes["weight[base].layers[0:4]"].initial == pytest.approx(1 / 3)
    assert genes["weight[base].layers[0:4]"].condition == Condition(0, ("linear",))
    users = ("task_arithmetic", "trimmed", "dare_ties", "linear")
    assert genes["weight[math].layers[0:4]"].condition == Condition(0, users)


@pytest.mark.parametrize("content", [MANY, *shipped_with("operators")])
def test_what_a_journal_records_rebuilds_the_space(content):
    models = context(llama(5))
    space = load_space(content, models)
    recorded = json.loads(json.dumps(declaration(space)))
    again = load_space(recorded, models)
    assert again.domain == space.domain
    genotype = drawn(space.domain)
    assert again.decode(genotype) == space.decode(genotype)
    assert load_space(OperatorsSpec.model_validate(recorded), models).domain == space.domain


def test_schema_is_json_schema():
    schema = OperatorsSpec.model_json_schema()
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["operators"]


def test_genotypes_that_mean_nothing():
    space = load_space("operators", context(llama(2)))
    start = space.domain.initial
    for wrong in (("slerp", *start[1:]), ("ties", 2.0, *start[2:]), start[1:]):
        with pytest.raises(InvalidGenotype):
            space.decode(wrong)


TASK = "operators:\n  task_arithmetic:\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "operators:\n  ties: {}\n  dare_ties: {}\n",
            "s.yaml:1: operators: task_arithmetic must be among them, as only it reliably gains in "
            "the wild (arXiv 2511.21437); add 'task_arithmetic: {",
        ),
        (TASK, "s.yaml:1: operators: a choice needs at least two operators; add one"),
        ("operators: {}\n", "s.yaml:1: operators: task_arithmetic must be"),
        ("operators: []\n", "s.yaml:1: operators: expected a mapping, got []"),
        (
            TASK + "  ./my.py:ties: {}\n",
            "s.yaml:1: operators: './my.py:ties' cannot name an operator; use letters",
        ),
        (
            TASK + "  ties: {paramters: {}}\n",
            "s.yaml:3: operators.ties.paramters: unknown key; did",
        ),
        (
            TASK + "  ties:\n    genes:\n      density: {range: [0, 2]}\n",
            "s.yaml:5: operators.ties.genes.density.range: a density is a kept fraction",
        ),
        (
            TASK + "  ties:\n    genes:\n      density: {range: [0.5, 0.1]}\n",
            "s.yaml:5: operators.ties.genes.density: range must be [smallest, largest]",
        ),
        (
            TASK + "  ties:\n    genes: {dnsity: {range: [0, 1]}}\n",
            "s.yaml:4: operators.ties.genes.dnsity: ties has no parameter 'dnsity'; did you mean",
        ),
        (
            TASK + "  ties:\n    parameters: {dnsity: 1}\n",
            "s.yaml:4: operators.ties.parameters.dnsity: ties has no parameter 'dnsity'",
        ),
        (
            TASK + "  ties:\n    parameters: {density: 1}\n    genes: {density: {range: [0, 1]}}\n",
            "s.yaml:3: operators.ties: 'density' is both a gene and a fixed parameter",
        ),
        (
            TASK + "  nearswap: {genes: {t: {range: [0, 1]}}}\n",
            "s.yaml:3: operators.nearswap: nearswap merges exactly 1 donors, the study has 2",
        ),
        (
            TASK + "  near:\n    merge_method: nearswap\n",
            "s.yaml:4: operators.near.merge_method: nearswap merges exactly 1 donors",
        ),
        (
            TASK + "  ties: {base: input}\n",
            "s.yaml:3: operators.ties.base: ties has no place for the base as 'input'",
        ),
        (
            TASK + "  tie: {genes: {weight: {range: [0, 1]}}}\n",
            "s.yaml:3: operators.tie.genes.weight: evomerge has no merge method 'tie', did you "
            "mean 'ties'",
        ),
        (
            TASK + "  ties: {}\ngenes:\n  wieght: {range: [0, 1]}\n",
            "s.yaml:5: genes.wieght: no operator reads 'wieght'; did you mean 'weight'?",
        ),
        (
            TASK + "    genes: {weight: {range: [0, 1]}}\n  ties: {parameters: {weight: 1}}\n"
            "genes: {weight: {range: [0, 2]}}\n",
            "s.yaml:5: genes.weight: every operator that reads it says it itself; remove it here",
        ),
        (
            TASK + "  sum: {merge_method: task_arithmetic}\ngenes: {weight: {range: [0, 1]}}\n",
            "s.yaml:3: operators.sum: is the same as 'task_arithmetic'; drop one of them",
        ),
        (
            TASK + "  ties: {}\ngenes:\n  weight: {range: [0, 1], initial: 2}\n",
            "s.yaml:5: genes.weight.initial: expected a number in [0, 1]",
        ),
        (
            TASK + "  ties: {}\ngenes:\n  weight: {range: [0, 1], modules: [atention, rest]}\n",
            "s.yaml:5: genes.weight.modules: no tensor of the base has 'atention'",
        ),
        (
            TASK + "  slerp: {}\ngenes:\n  t: {range: [0, 1], per: donor}\n",
            "s.yaml:5: genes.t.per: slerp takes one 't' for all donors",
        ),
        (TASK + "  ties: {}\nparameters: {}\n", "s.yaml:4: parameters: unknown key; "),
    ],
)
def test_bad_files_say_one_clear_line(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SpaceError) as caught:
        load_space("s.yaml", context(llama(4)))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(message), line


def test_every_operator_that_does_not_fit_is_told_at_once():
    text = (
        "space:\n  operators:\n    task_arithmetic:\n    nearswap: {genes: {t: {range: [0, 1]}}}\n"
        "    ties:\n      genes: {density: {range: [0, 3]}}\n    slerp:\n"
    )
    data, locate = load_located(text, "study.yaml")
    origin = Origin("study.yaml", locate, ("space",))
    with pytest.raises(SpaceError) as caught:
        load_space(data["space"], context(llama(4), 3), origin=origin)
    assert [line.partition(": ")[0] for line in str(caught.value).splitlines()] == [
        "study.yaml:4",
        "study.yaml:6",
        "study.yaml:7",
    ]
    assert "space.operators.slerp: slerp merges exactly 2 donors" in str(caught.value)


OPERATORS = {
    "operators": {
        "task_arithmetic": {"parameters": {"normalize": False}},
        "ties": {"parameters": {"normalize": False}, "genes": {"density": DENSITY}},
        "dare_ties": {
            "parameters": {"normalize": False},
            "genes": {"density": DENSITY, "rescale": {"choices": ["none", "l1"]}},
        },
    },
    "genes": {"weight": WEIGHT},
}


def grouped(**fields):
    """The same operators with a weight and a density for each layer."""
    groups = {"layers": 1, "outside_layers": "separate"}
    operators = {
        name: {**one, "genes": {k: {**v, **groups} for k, v in one.get("genes", {}).items()}}
        for name, one in OPERATORS["operators"].items()
    }
    operators["dare_ties"]["genes"]["rescale"] = {"choices": ["none", "l1"]}
    weight = {**WEIGHT, **groups, "modules": ["attention", "mlp", "rest"]}
    return {"operators": operators, "genes": {"weight": weight}, **fields}


def carried(content, recipe, models=CONTEXT):
    """Bring a recipe to a space; returns the space and the new seed."""
    space = load_space(content, models)
    found = seeded(space, {"x": recipe}, models)
    *known, last = found.domain.seeds
    assert tuple(known) == space.domain.seeds
    assert last.name == "x"
    assert space.domain.canonical(last.genotype) == last.genotype
    return space, last.genotype


@pytest.mark.parametrize("operator", OPERATORS["operators"])
def test_what_one_space_found_starts_a_finer_one_as_it_was(operator):
    coarse = load_space(OPERATORS, CONTEXT)
    genotype = coarse.domain.canonical((operator, *drawn(coarse.domain, 4)[1:]))
    recipe = coarse.decode(genotype)
    assert carried(OPERATORS, recipe)[1] == genotype  # not scored again: equal to the last bit
    space, fine = carried(grouped(), recipe)
    assert len(fine) > len(genotype)
    merged = space.decode(fine)
    assert merged.merge_method == recipe.merge_method
    assert merged.parameters == recipe.parameters
    for was, now in zip(recipe.models, merged.models, strict=True):
        for parameter, value in was.parameters.items():
            assert {one.value for one in now.parameters[parameter]} == {value}


def test_what_a_finer_space_found_is_averaged_by_the_sizes_of_tensors():
    fine = load_space(grouped(), CONTEXT)
    genotype = fine.domain.canonical(("ties", *drawn(fine.domain, 5)[1:]))
    _, coarse = carried(OPERATORS, fine.decode(genotype))
    values = {gene.name: value for gene, value in zip(fine.domain.genes, genotype, strict=True)}
    size = {"attention": 4 * 16, "mlp": 3 * 24, "rest": 4}
    total = sum(int(np.prod(shape)) for shape in SHAPES.values())
    for place, donor in enumerate("abc"):
        mean = 20 * values[f"weight[{donor}].embedding"] + 24 * values[f"weight[{donor}].head"]
        for layer in range(3):
            for part, elements in size.items():
                mean += elements * values[f"weight[{donor}].layers[{layer}:{layer + 1}].{part}"]
        assert coarse[1 + place] == pytest.approx(mean / total)


def test_donors_are_known_by_what_they_are():
    coarse = load_space(OPERATORS, CONTEXT)
    recipe = coarse.decode(put(coarse.domain, "ties", {"weight[a]": 0.3, "density[a]": 0.4}))
    turned = replace(CONTEXT, donors={"other": DONORS["c"], "first": DONORS["a"]})
    with pytest.raises(SpaceError, match="draws on '/b', which is no donor of this stage"):
        carried(OPERATORS, recipe, turned)
    new = ModelRef(path="/new", sha256="9" * 64)
    more = replace(
        CONTEXT, donors={"new": new, "c": DONORS["c"], "b": DONORS["b"], "one": DONORS["a"]}
    )
    space, genotype = carried(OPERATORS, recipe, more)
    values = dict(zip((gene.name for gene in space.domain.genes), genotype, strict=True))
    uniform = pytest.approx(1 / 3)
    assert values["method"] == "ties"
    assert (values["weight[one]"], values["ties:density[one]"]) == (0.3, 0.4)
    assert (values["weight[b]"], values["ties:density[b]"]) == (uniform, 1.0)
    assert (values["weight[new]"], values["ties:density[new]"]) == (0.0, 1.0)


def test_a_linear_combination_of_another_kind_becomes_task_arithmetic():
    averaged = {"merge_method": "linear", "genes": {"weight": {"range": [0.0, 1.0]}}}
    recipe = load_space(averaged, CONTEXT).decode((0.2, 0.2, 0.4))
    assert carried(OPERATORS, recipe)[1][:4] == (
        "task_arithmetic",
        *map(pytest.approx, (0.25, 0.25, 0.5)),
    )
    halved = {
        "merge_method": "task_arithmetic",
        "parameters": {"normalize": False, "lambda": 0.5},
        "genes": {"weight": {"range": [0.0, 2.0]}},
    }
    recipe = load_space(halved, CONTEXT).decode((0.4, 1.0, 2.0))
    assert carried(OPERATORS, recipe)[1][:4] == (
        "task_arithmetic",
        *map(pytest.approx, (0.2, 0.5, 1.0)),
    )
    weights = load_space({"population": "task_vectors"}, CONTEXT)
    recipe = weights.decode(weights.domain.seeds[1].genotype)
    assert carried(OPERATORS, recipe)[1][:4] == ("task_arithmetic", 0.0, 1.0, 0.0)
    # where it is an operator, it stays what it is
    content = {**OPERATORS, "operators": {**OPERATORS["operators"], "linear": {}}}
    recipe = load_space(averaged, CONTEXT).decode((0.2, 0.2, 0.4))
    assert carried(content, recipe)[1][:4] == ("linear", 0.2, 0.2, 0.4)


def test_slerp_is_brought_over_between_the_same_two_models_only():
    two = replace(CONTEXT, donors={name: DONORS[name] for name in "ab"})
    content = {
        "operators": {"task_arithmetic": {}, "slerp": {"genes": {"t": T}}},
        "genes": {"weight": WEIGHT},
    }
    recipe = load_space(content, two).decode(("slerp", 0.5, 0.5, 0.7))
    assert carried(content, recipe, two)[1] == ("slerp", 0.5, 0.5, 0.7)
    turned = replace(CONTEXT, donors={name: DONORS[name] for name in "ba"})
    with pytest.raises(SpaceError, match=r"operators: none of them is slerp with the parameters"):
        carried(content, recipe, turned)


def test_a_merge_that_no_operator_is_is_refused():
    space = {"merge_method": "ties", "parameters": {"normalize": True}, "genes": {"weight": WEIGHT}}
    recipe = load_space(space, CONTEXT).decode((0.5, 0.5, 0.5))
    with pytest.raises(SpaceError, match="none of them is ties with the parameters of the seed"):
        carried(OPERATORS, recipe)
    content = {**space, "parameters": {"normalize": True, "density": 0.5}}
    with pytest.raises(SpaceError, match="none of them is ties"):
        carried(
            {**OPERATORS, "operators": {"task_arithmetic": {}, "ties": {}}},
            load_space(content, CONTEXT).decode((0.5,) * 3),
        )


def test_spaces_of_one_method_take_what_operators_found():
    recipe = load_space(OPERATORS, CONTEXT).decode(
        ("ties", 0.2, 0.4, 0.6, 0.3, 0.5, 0.7, *(1.0,) * 3, "none")
    )
    ties = {
        "merge_method": "ties",
        "parameters": {"normalize": False},
        "genes": {"weight": {**WEIGHT, "layers": 2}, "density": {**DENSITY, "per": "all"}},
    }
    found = seeded(load_space(ties, CONTEXT), {"x": recipe}, CONTEXT).domain.seeds[-1].genotype
    assert found == (0.2, 0.2, 0.4, 0.4, 0.6, 0.6, pytest.approx(0.5))
    with pytest.raises(SpaceError, match="by ties is no linear combination"):
        seeded(load_space("task_arithmetic", CONTEXT), {"x": recipe}, CONTEXT)
    flat = SpaceContext(BASE, DONORS, SHAPE.layout)
    with pytest.raises(SpaceError, match="only weights of models can be seeded"):
        seeded(load_space(OPERATORS, flat), {"x": recipe}, flat)


def test_kinds_of_genes_are_read_back():
    content = {
        "operators": {
            "task_arithmetic": {},
            "karcher": {"genes": {"max_iter": {"range": [1, 20], "kind": "integer"}}},
        }
    }
    genes = {"weight": WEIGHT}
    space = load_space({**content, "genes": genes}, CONTEXT)
    genotype = ("karcher", *space.domain.initial[1:4], 7)
    assert carried({**content, "genes": genes}, space.decode(genotype))[1] == genotype
    low = {"max_iter": {"range": [1, 5], "kind": "integer"}}
    content["operators"]["karcher"] = {"genes": low}
    assert carried({**content, "genes": genes}, space.decode(genotype))[1][-1] == 5
