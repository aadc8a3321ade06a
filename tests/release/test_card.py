"""The card says what the journal holds, in the Hub's format, and nothing it does not hold."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard

from evomerge.journal import read_events
from evomerge.recipe import fingerprint, load
from evomerge.recipe.native import loads
from evomerge.release import export_adapter, export_checkpoint, read_subject
from evomerge.release.card import hub_ids, model_card
from evomerge.report import analyse, collect_front
from tests.report.fronts import limited


def member_of(run):
    """Return the trial of a member of the front that was scored on hold-out items."""
    return next(row.trial for row in collect_front(run).members if row.holdout is not None)


@pytest.fixture(scope="module")
def card(zoo_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("card") / "my-merge"
    export_checkpoint(read_subject(zoo_run, member_of(zoo_run)), folder, verify=False)
    return ModelCard.load(folder / "README.md")


def scored(run, name, split="holdout"):
    """Read the metrics of a model from the journal."""
    return next(
        event.payload["metrics"]
        for event in read_events(run)
        if event.kind == "scored"
        and (event.payload["name"], event.payload["split"]) == (name, split)
    )


def test_results_are_those_of_hold_out_items(card, zoo_run):
    metrics = scored(zoo_run, f"trial-{member_of(zoo_run):06d}")
    found = {one.dataset_type: one for one in card.data.eval_results}
    assert {name: one.metric_value for name, one in found.items()} == metrics
    assert card.data.model_name == "my-merge"
    flip, bits = found["flip"], found["bits"]
    assert (flip.task_type, flip.metric_type, flip.dataset_split) == (
        "text-generation",
        "exact_match",
        "holdout",
    )
    assert re.fullmatch(
        r"exact_match, 95% interval \d\.?\d* to \d\.?\d* over 12 items", flip.metric_name
    )
    assert bits.metric_type == "negative_log_likelihood"


def test_metadata_are_the_hubs(card):
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "text-generation"
    assert card.data.tags == ["merge", "evomerge"]
    assert card.data.license == "apache-2.0"  # the shipped models'
    assert card.data.base_model is None  # local folders have no id


def section(card, title):
    return card.text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_table_has_the_model_and_what_it_has_to_beat(card, zoo_run):
    rows = dict(
        re.findall(r"^\| (?:\*\*)?([^|*]+?)(?:\*\*)? \| (.+) \|$", section(card, "Scores"), re.M)
    )
    name = f"trial {member_of(zoo_run)}"
    assert {name, "base", "donor:flip", "donor:sort", "donor:bits", "uniform"} <= set(rows)
    for title, key in (("base", "base"), ("uniform", "uniform"), ("donor:flip", "donor:flip")):
        flip, bits = rows[title].split(" | ")
        metrics = scored(zoo_run, key)
        assert flip.startswith(f"{metrics['flip']:.3f} [")
        assert bits.startswith(f"{metrics['bits']:.3f} [")
    assert "| flip (max) | bits (min) |" in section(card, "Scores")


def test_scores_of_the_search_are_nowhere(card, zoo_run):
    trial = member_of(zoo_run)
    searched = next(
        event.payload["metrics"]["bits"]
        for event in read_events(zoo_run)
        if event.kind == "finished" and event.trial == trial
    )
    assert f"{searched:.3f}" not in str(card)


def test_a_trial_beside_the_front_has_no_scores(zoo_run, tmp_path):
    front = {row.trial for row in collect_front(zoo_run).members}
    other = next(trial for trial in range(6) if trial not in front)
    export_checkpoint(read_subject(zoo_run, other), tmp_path / "out", verify=False)
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.eval_results is None
    assert section(card, "Scores").strip().startswith("None: only members of the front")
    assert not re.search(r"\d\.\d{3}", section(card, "Scores"))
    assert "**Not verified**: it was exported with --no-verify." in section(card, "Verification")


def test_a_member_left_out_on_hold_out_items_has_no_scores(zoo_run, tmp_path):
    subject = read_subject(zoo_run, member_of(zoo_run))
    front = limited(subject.analysis.front, 1)
    assert len(front.members) == 2
    analysis = analyse(front)
    row = next(one for one in analysis.rows if one.row.kind == "front" and one.holdout is None)
    left_out = replace(subject, trial=row.row.trial, row=row, analysis=analysis)
    export_checkpoint(left_out, tmp_path / "out", verify=False)
    scores = section(ModelCard.load(tmp_path / "out" / "README.md"), "Scores").strip()
    assert scores.startswith("None: of 2 members of the front 1 are scored on hold-out items")
    assert "(front.size: 1), and it is none of these. " in scores
    assert not re.search(r"\d\.\d{3}", scores)


def test_a_member_that_is_still_to_be_scored_on_hold_out_items_says_so(zoo_run, tmp_path):
    subject = read_subject(zoo_run, member_of(zoo_run))
    front = subject.analysis.front
    third = replace(front.members[0], name="trial 99", trial=99)
    front = replace(front, rows=(*front.rows, third), holdout_size=2)
    waits = next(row for row in front.to_hold_out if row.trial != 99)
    rows = [replace(row, holdout=None) if row == waits else row for row in front.rows]
    analysis = analyse(replace(front, rows=tuple(rows)))
    row = next(one for one in analysis.rows if one.row.name == waits.name)
    subject = replace(subject, trial=waits.trial, row=row, analysis=analysis)
    export_checkpoint(subject, tmp_path / "out", verify=False)
    scores = section(ModelCard.load(tmp_path / "out" / "README.md"), "Scores").strip()
    assert scores.startswith("None: it is not scored on hold-out items yet, or could not be. ")


def test_the_recipe_names_models_as_the_study_does(card, zoo_run):
    text = re.search(r"```yaml\n(.+?)```", section(card, "Recipe"), re.S)[1]
    recipe = loads(text)
    assert fingerprint(recipe) == read_subject(zoo_run, member_of(zoo_run)).fingerprint
    assert [source.model.path for source in recipe.models] == ["flip", "sort", "base"]
    assert str(zoo_run.parent) not in str(card)
    assert "/evomerge/zoo/" not in str(card)
    metadata = yaml.safe_load(str(card).split("---")[1])
    assert metadata["tags"] == ["merge", "evomerge"]


def test_inputs_of_the_hub_are_linked(zoo_run):
    subject = read_subject(zoo_run, 5)
    ids = {"flip": "owner/flip", "sort": "owner/sort"}
    models = {
        name: ref.model_copy(update={"path": ids[name], "revision": "v1"}) if name in ids else ref
        for name, ref in subject.models.items()
    }
    assert hub_ids(replace(subject, models=models)) == ["owner/flip", "owner/sort"]


def test_a_merge_of_hub_models_says_so_in_its_metadata(zoo_run, tmp_path, monkeypatch):
    subject = read_subject(zoo_run, 5)
    contents = export_checkpoint(subject, tmp_path / "out", verify=False).contents
    models = {"base": subject.models["base"].model_copy(update={"path": "owner/base"})}
    named = replace(subject, models={**subject.models, **models})
    data = model_card(named, contents).data.to_dict()
    assert data["base_model"] == ["owner/base"]
    assert data["base_model_relation"] == "merge"


def test_an_adapter_is_pefts(lora_run, tmp_path):
    subject = read_subject(lora_run, member_of(lora_run))
    export_adapter(subject, tmp_path / "out", verify=False)
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.library_name == "peft"
    assert card.data.tags == ["merge", "evomerge", "lora"]
    assert card.data.license == "other"
    assert card.data.license_name == "apache-2.0-and-mit"
    assert "| one | local adapter |" in card.text
    assert "(from README.md)" in card.text


def test_an_individual_has_its_family(lora_population, tmp_path):
    subject = read_subject(lora_population, 9)
    export_checkpoint(subject, tmp_path / "out", verify=False)
    text = section(ModelCard.load(tmp_path / "out" / "README.md"), "Lineage")
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", text, re.M)
    genotypes = {
        event.trial: event.payload["genotype"]
        for event in read_events(lora_population)
        if event.kind == "asked"
    }
    shown = {int(number): words for number, words in rows}
    waiting, family = [9], set()
    while waiting:  # a genotype of offspring: a word, how many parents, their trials, ...
        number = waiting.pop()
        family.add(number)
        parents = genotypes[number][2 : 2 + genotypes[number][1]] if shown[number][0] == "t" else []
        assert [int(n) for n in re.findall(r"trial (\d+)", shown[number])] == parents
        waiting += [parent for parent in parents if parent not in family]
    assert set(shown) == family
    assert {shown[number] for number in family if number < 3} <= {
        "founder bits",
        "founder one",
        "founder two",
    }
    assert fingerprint(load(tmp_path / "out" / "evomerge_lineage.yaml")) == fingerprint(
        subject.ancestry
    )
