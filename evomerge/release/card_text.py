"""The text of a model card: what the model is, its scores, how to make it again, what binds it.

Local folders are called by the names the study gives them; the card may be read by strangers.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from evomerge import __version__
from evomerge.merging.checkpoint import is_hub_id
from evomerge.recipe import ModelRef, native
from evomerge.release.contents import Contents
from evomerge.release.gguf import gguf_summary
from evomerge.release.subject import Subject
from evomerge.report.markdown import cell, gains_list, legend, scores_table, standing_list
from evomerge.study.preparation import library_versions

_LONGEST_RECIPE = 60  # lines that a card shows
_MOST_ANCESTORS = 30
_LIBRARIES = ("evomerge", "torch", "transformers", "tokenizers", "numpy")  # that make the weights


def card_text(subject: Subject, contents: Contents) -> Iterator[str]:
    """Yield the lines of a card below its metadata."""
    yield f"# {contents.name}"
    yield ""
    yield from _what(subject, contents)
    for title, lines in (
        ("Use", _use(subject, contents)),
        ("Scores", _scores(subject, contents)),
        ("Recipe", _recipe(subject)),
        ("Rebuild", _rebuild(subject, contents)),
        ("Lineage", _lineage(subject)),
        ("Inputs and licences", _inputs(subject, contents)),
        ("Verification", _verification(contents)),
        ("GGUF", _gguf(contents)),
        ("Versions", _versions(subject)),
    ):
        found = list(lines)
        if found:
            yield from ("", f"## {title}", "", *found)


def _what(subject: Subject, contents: Contents) -> Iterator[str]:
    names = [cell(name) for name in subject.models if name != "base"]
    over = " over the base" if "base" in subject.models else ""
    kind = "A LoRA adapter that holds a merge" if contents.adapter else "A merge"
    yield (
        f"{kind} of {', '.join(names)}{over}, found by "
        f"[evomerge](https://github.com/evomerge/evomerge) {__version__}: trial {subject.trial} of "
        f"the study {cell(subject.study.config.name)}"
        f"{f', stage {cell(subject.stage)}' if subject.stage else ''}, merge method "
        f"`{subject.recipe.merge_method}`. "
        f"{contents.n_parameters:,} parameters are stored, in {contents.dtype}."
    )
    if contents.adapter is not None:
        ranks = set(contents.adapter.ranks.values())
        span = f"{min(ranks)}" if len(ranks) == 1 else f"{min(ranks)} to {max(ranks)}"
        yield ""
        yield f"It changes {len(contents.adapter.ranks)} modules of its base, with rank {span}."
    if not contents.is_exact and contents.adapter is not None:
        yield ""
        yield (
            "**It is an approximation**: task vectors were cut off after "
            f"{contents.adapter.rank} singular values a module, a relative error of "
            f"{contents.adapter.error:.3g} in the Frobenius norm. What was evaluated is the exact "
            "merge, so no scores are given here."
        )


def _use(subject: Subject, contents: Contents) -> Iterator[str]:
    loader = contents.task.auto_class
    yield "```python"
    if contents.adapter is not None:
        base = subject.models["base"].path if "base" in subject.models else "BASE"
        base = base if is_hub_id(base) else "path/to/base"
        yield "from peft import PeftModel"
        yield f"from transformers import {loader}"
        yield ""
        yield f'base = {loader}.from_pretrained("{base}")'
        yield f'model = PeftModel.from_pretrained(base, "{contents.name}")'
    else:
        tokens = ", AutoTokenizer" if contents.task.is_causal else ""
        yield f"from transformers import {loader}{tokens}"
        yield ""
        yield f'model = {loader}.from_pretrained("{contents.name}")'
        if tokens:
            yield f'tokenizer = AutoTokenizer.from_pretrained("{contents.name}")'
    yield "```"


def _scores(subject: Subject, contents: Contents) -> Iterator[str]:
    row, analysis = subject.row, subject.analysis
    if not contents.is_exact:
        return
    if row is None or row.holdout is None or analysis is None:
        if row is None:
            why = "only members of the front are scored on hold-out items, and it is none"
        elif analysis is None or not analysis.front.n_held:
            why = "the study has no hold-out items, or they are not scored yet"
        elif row.row in analysis.front.to_hold_out:
            why = "it is not scored on hold-out items yet, or could not be"
        else:
            front = analysis.front
            why = (
                f"of {len(front.members)} members of the front {front.n_held} are scored on "
                f"hold-out items (front.size: {front.holdout_size}), and it is none of these"
            )
        yield f"None: {why}. Scores that the search picked by are optimistic and not repeated here."
        return
    rows = [row, *analysis.baselines]
    yield from scores_table(analysis, rows, bold=row.row.name)
    yield ""
    yield legend(analysis, rows)
    if contents.adapter is not None:
        yield (
            f"They were measured on the merge as a checkpoint in {subject.study.context.dtype}; "
            "base and adapter together are the same up to rounding."
        )
    gains = gains_list(analysis, row)
    if gains:
        yield from ("", "Gains over the best baseline of each objective, paired on the same items:")
        yield from ("", *gains)
    yield from ("", *standing_list(analysis, row))


def _recipe(subject: Subject) -> Iterator[str]:
    text = native.dumps(subject.named_recipe).rstrip().splitlines()
    where = "`evomerge_recipe.yaml`, where local models stand with the folders they were read from"
    if len(text) <= _LONGEST_RECIPE:
        yield from ("```yaml", *text, "```", "")
        yield f"Models are called as in the study; the same is in {where}."
    else:
        yield f"{len(text)} lines, in {where}."
    yield ""
    yield f"Fingerprint `{subject.fingerprint}`, seed {subject.study.config.seed} of the study."


def _rebuild(subject: Subject, contents: Contents) -> Iterator[str]:
    options = ""
    if contents.adapter is not None:
        options = " --as adapter" + (
            "" if contents.is_exact else f" --rank {contents.adapter.rank}"
        )
    run = shlex.quote(subject.run.name if subject.run.is_absolute() else str(subject.run))
    yield "```sh"
    yield "evomerge merge evomerge_recipe.yaml rebuilt/    # from the recipe and the models alone"
    yield f"evomerge export again/ --trial {subject.trial} --run {run}{options}    # from the run"
    yield "```"
    yield ""
    yield (
        "Models are identified by the sha256 in the recipe, wherever they lie; the merged weights "
        "come out the same to the last bit"
        + (" (the first command writes them whole)." if contents.adapter else ".")
    )


def _lineage(subject: Subject) -> Iterator[str]:
    tree = subject.tree
    if tree is None:
        return
    own = tree.individuals[subject.trial]
    if not own.parents:
        yield f"It is a founder of its population: {cell(own.founder or '?')} as it is."
        return
    ancestors = [number for number in tree.ancestors(subject.trial) if number != subject.trial]
    yield (
        f"Trial {subject.trial} has {len(ancestors)} ancestors. How much of each founder is in it "
        "(mean weight over all positions of the model, mutations left out): "
        + ", ".join(f"{cell(name)} {share:.3f}" for name, share in own.shares.items())
        + ". The whole lineage is in `evomerge_lineage.yaml` and gives the same bytes."
    )
    yield from ("", "| trial | parents (mean weight) | mutation |", "|---|---|---|")
    shown = [subject.trial, *reversed(ancestors)][:_MOST_ANCESTORS]
    for number in shown:
        one = tree.individuals[number]
        parents = ", ".join(f"trial {each.trial} ({each.weight:.3f})" for each in one.parents)
        mutation = one.mutation["kind"] if one.mutation else ""
        founder = f"founder {one.founder}"
        yield f"| {number} | {parents or cell(founder)} | {cell(mutation)} |"
    if len(ancestors) + 1 > len(shown):
        yield ""
        yield f"{len(ancestors) + 1 - len(shown)} older ancestors are left out of the table."


def _inputs(subject: Subject, contents: Contents) -> Iterator[str]:
    yield from ("| name | model | sha256 | licence |", "|---|---|---|---|")
    licences = {one.model: one for one in contents.inheritance.licences}
    for name, ref in subject.models.items():
        digest = f"`{ref.sha256[:16]}…`" if ref.sha256 else ""
        yield f"| {cell(name)} | {_called(ref)} | {digest} | {licences[name].sentence} |"
    yield ""
    unknown = contents.inheritance.unknown
    if unknown:
        yield (
            f"**Nobody says under which licence {', '.join(map(cell, unknown))} may be used.** "
            "Find out before you publish or use this model."
        )
    yield "A merge is bound by the licences of everything that went into it."


def _called(ref: ModelRef) -> str:
    """Name a model for strangers: by its id on the Hub, not by a folder of this machine."""
    path, revision = ref.path, ref.revision
    kind = "model"
    if ref.adapter is not None:
        path, revision, kind = ref.adapter, ref.adapter_revision, "adapter"
    if not is_hub_id(path):
        return f"local {kind}"
    return f"[{path}](https://huggingface.co/{path})" + (f" at {revision}" if revision else "")


def _verification(contents: Contents) -> Iterator[str]:
    if contents.verification is None:
        yield "**Not verified**: it was exported with --no-verify."
    else:
        yield f"After writing: {contents.verification}."


def _gguf(contents: Contents) -> Iterator[str]:
    if contents.gguf is None or not contents.task.is_causal:
        return
    yield f"llama.cpp: {gguf_summary(contents.gguf)}."
    yield ""
    for one in contents.gguf:
        yield f"- {one.what}: {one.missing or 'as the converter needs it'}"


def _versions(subject: Subject) -> Iterator[str]:
    now = library_versions()
    yield from ("| | search | export |", "|---|---|---|")
    for name in _LIBRARIES:
        yield f"| {name} | {subject.versions.get(name, '')} | {now.get(name, '')} |"
