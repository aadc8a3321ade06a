"""Every fenced block of every page is run, or held against what would read it."""

import pytest
import yaml

from evomerge import zoo
from evomerge.callbacks import FinishedTrial, build_callback
from evomerge.errors import UserError
from evomerge.fitness import (
    FITNESSES,
    MergedModel,
    build_fitness,
    check_fitness,
    load_items,
)
from evomerge.merging import MergeEngine, load_resident
from evomerge.migrate.translation import translate
from evomerge.recipe.files import load as load_recipe
from evomerge.recipe.model import Recipe, Source
from evomerge.spaces import load_space
from evomerge.study import StudyConfig, load_study, read_study
from evomerge.study.models import context_of, pinned
from evomerge.study.unseen import StandIns

from . import commands
from .pages import ROOT, blocks

BLOCKS = blocks()
SPACE_KEYS = {"operators", "genes", "path", "population"}
SMALL_STUDY = {
    "name": "small",
    "models": {"base": "./base", "donors": {"a": "./a"}},
    "space": "task_arithmetic",
    "objectives": {"a": {"fitness": "exact_match", "search": "a.jsonl"}},
    "budget": {"trials": 10},
}
TRIAL = FinishedTrial(
    number=7,
    count=8,
    stage="",
    origin="random",
    genes={},
    state="completed",
    metrics={"math": 0.5},
    failure="",
    rung=None,
    seconds=1.5,
    at=0.0,
    best={"math": 0.5},
    front=1,
    hypervolume=0.25,
    failed=0,
)


@pytest.fixture(scope="module")
def context():
    """The quickstart's models as a space sees them."""
    study = load_study(zoo.path() / "study.yaml")
    engine, none = MergeEngine(), StandIns()
    base = pinned(engine, none, ROOT, "base", study.models.base)
    donors = {
        name: pinned(engine, none, ROOT, name, text, base)
        for name, text in study.models.donors.items()
    }
    return context_of(study, engine, base, donors)


@pytest.fixture(scope="module")
def scored(context):
    """A merged model with four items, as a fitness is given it."""
    recipe = Recipe(merge_method="passthrough", models=(Source(model=context.base),))
    resident = load_resident(MergeEngine(), recipe)
    return MergedModel(
        resident.module,
        resident.tokenizer,
        recipe=recipe,
        split="search",
        items=load_items("zoo:sort_up.search.jsonl", folder=ROOT, limit=4),
        device="cpu",
        write=lambda folder: None,
        delta=lambda: pytest.fail("no snippet asks for the distance"),
    )


@pytest.mark.parametrize("block", BLOCKS, ids=lambda one: one.name)
def test_it_means_what_it_says(block, context, tmp_path):
    match block.language:
        case "yaml":
            check_yaml(block.text, context, tmp_path / "block.yaml")
        case "python":
            exec(compile(block.text, block.name, "exec"), {"__name__": "snippet"})
        case "bash" | "console":
            for words in commands.lines_of(block.text):
                commands.check(words, block.page)
        case "text":  # what a program printed
            assert block.text.strip()
        case other:
            pytest.fail(f"say what this block is, so that it can be tested; got '{other}'")


def test_lines_are_told_apart():
    text = "A=1 B=$C evomerge check a \\\n  b && make test   # both\n\n$ make zoo\n"
    assert list(commands.lines_of(text)) == [
        ["evomerge", "check", "a", "b"],
        ["make", "test"],
        ["make", "zoo"],
    ]


def check_yaml(text, context, path):
    path.write_text(text)
    data = yaml.safe_load(text)
    if SPACE_KEYS & data.keys():
        space = load_space(path, context)
        assert space.decode(space.domain.seeds[0].genotype) is not None
    elif "genome" in data:
        check_study(read_study(translate(text, path).study, str(path)))
    elif "merge_method" in data:
        assert load_recipe(path).merge_method == data["merge_method"]
    elif "name" in data:
        check_study(load_study(path))
    else:
        check_study(read_study(yaml.safe_dump({**SMALL_STUDY, **data}), str(path)))


def check_study(study: StudyConfig):
    """Built-in fitnesses take the arguments that their objectives give."""
    for objective in study.objectives.values():
        if objective.fitness in FITNESSES.names():
            arguments = objective.model_extra or {}
            check_fitness(objective.fitness, arguments, metric=objective.metric, folder=ROOT)


def snippet(page, mark):
    """Return the only python block of a page with these words in it."""
    (found,) = [
        block.text
        for block in BLOCKS
        if (block.page, block.language) == (ROOT / page, "python") and mark in block.text
    ]
    return found


@pytest.mark.parametrize(
    ("page", "mark", "name", "args"),
    [
        ("README.md", "def passes", "passes", {}),
        ("evomerge/fitness/README.md", "def passes", "passes", {}),
        ("evomerge/fitness/README.md", "class Passes", "Passes", {"max_new_tokens": 16}),
    ],
)
def test_a_fitness_scores_a_model(page, mark, name, args, scored, tmp_path):
    (tmp_path / "mine.py").write_text(snippet(page, mark))
    check_fitness(f"./mine.py:{name}", args, folder=tmp_path)
    metric, *_ = build_fitness(f"./mine.py:{name}", args, folder=tmp_path).score(scored)
    prompts = [item["prompt"] for item in scored.items]
    answers = scored.generate(prompts, max_new_tokens=16)
    right = [item["answer"] in text for item, text in zip(scored.items, answers, strict=True)]
    assert 0 < sum(right) < len(right)  # so that the score can be wrong
    assert metric == sum(right) / len(right)


def test_a_callback_is_told(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(snippet("evomerge/callbacks/README.md", "def say"))
    build_callback("./mine.py:say", {}, folder=tmp_path).trial(TRIAL)
    assert capsys.readouterr().out == "7 {'math': 0.5} 0.25\n"


@pytest.mark.parametrize(
    "line",
    [
        "evomerge frnt",
        "evomerge front --nee",
        "evomerge front --prefer math=much",
        "evomerge run study.yaml --max-evals 3",
        "evomerge resume --add hour=4",
        "evomerge report --format pdf",
        "python experiments/quickstart/compair.py",
        "python experiments/quickstart/compare.py --out runs --sead 5",
        "python experiments/data_flow/zoo_swaps.py --fast",
        "python -m pydoc evomerge.fitness.Fit",
        "pip install '.[lm_eval]'",
        "make tests",
        "docker build -f docker/Dockerfil -t evomerge:cpu .",
        "sbatch docker/slum.sh study.yaml",
        "mergekit-yaml a.yaml b",
    ],
)
def test_a_wrong_line_is_noticed(line):
    (words,) = commands.lines_of(line)
    with pytest.raises((AssertionError, UserError, SystemExit, pytest.fail.Exception)):
        commands.check(words, ROOT / "README.md")


@pytest.mark.parametrize(
    "text",
    [
        "budget: {trails: 8}",
        "objectives: {a: {fitness: exact_match, search: a.jsonl, samplse: 8}}",
        "genes: {weight: {rnage: [0, 1]}}\nmerge_method: linear",
        "genome: {models: [a]}\ntasks: [b]",
        "merge_method: tise\nmodels: [{model: a}]",
    ],
)
def test_a_wrong_page_of_yaml_is_noticed(text, context, tmp_path):
    with pytest.raises(UserError):
        check_yaml(text, context, tmp_path / "block.yaml")
