"""A trial as a folder to take home: a checkpoint, or the LoRA adapter that it is.

config.json, model*.safetensors    the merged weights; of an adapter adapter_config.json and
                                   adapter_model.safetensors
tokenizer files, chat templates    those the model was evaluated with
generation_config.json             of the same model
README.md                          the model card
LICENSE                            what the inputs say of their licences, where that is not one
                                   licence alone, and their licence files
evomerge_recipe.yaml               rebuilds the model
evomerge_lineage.yaml              of a population's individual, its whole lineage
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path

from evomerge.errors import RunDirectoryError, UserError
from evomerge.merging import MergeEngine
from evomerge.merging.adapter import ADAPTER_WEIGHTS, AdaptedCheckpoint
from evomerge.merging.adapter_folder import write_adapter
from evomerge.merging.checkpoint import FileCheckpoint, is_hub_id, resolve_folder
from evomerge.merging.low_rank import low_rank_terms, low_rank_updates
from evomerge.merging.own_code import names_own_code
from evomerge.merging.plan import Plan
from evomerge.merging.safetensors_file import SafetensorsFile
from evomerge.recipe import ModelRef, native
from evomerge.release.card import model_card
from evomerge.release.contents import Contents
from evomerge.release.gguf import gguf_findings
from evomerge.release.licences import inherited
from evomerge.release.samples import study_samples
from evomerge.release.subject import Subject
from evomerge.release.task import task_of
from evomerge.release.verification import verify_adapter, verify_checkpoint
from evomerge.report.whole_folder import whole_folder

RECIPE = "evomerge_recipe.yaml"
LINEAGE = "evomerge_lineage.yaml"


@dataclass(frozen=True, slots=True)
class Exported:
    """A finished folder.

    Attributes:
        folder: where it is.
        contents: what it holds.
        chat: what to know of chat templates; None where there is nothing to say.
        names_folders: whether the recipe in it names folders of this machine.
    """

    folder: Path
    contents: Contents
    chat: str | None
    names_folders: bool


def export_checkpoint(
    subject: Subject, out: Path, *, verify: bool = True, replace: bool = False
) -> Exported:
    """Write a trial as a checkpoint; the folder appears complete and verified or not at all.

    Args:
        subject: the trial.
        out: the folder.
        verify: read it back and compare it with the evaluated model.
        replace: an earlier export there gives way.

    Raises:
        RunDirectoryError: the folder exists, or cannot be written.
        VerificationError: what was written is not what was evaluated.
        UserError, NonFiniteMerge: see `MergeEngine.write`.
    """
    engine = MergeEngine(allow_pickle=subject.study.config.models.allow_pickle)
    _require_known_architecture(engine, subject)
    require_replaceable(out, replace=replace)
    with whole_folder(out, replace=replace) as folder:
        engine.write(subject.recipe, folder, extra_files=_recipe_files(subject))
        verified = None
        if verify:
            samples = study_samples(subject.study)
            verified = verify_checkpoint(engine, subject.recipe, folder, samples).sentence
        checkpoint = FileCheckpoint(folder, str(out))
        contents = Contents(
            name=out.absolute().name,
            task=task_of(checkpoint.config),
            dtype=str(checkpoint.config["dtype"]),
            n_parameters=sum(prod(checkpoint.shape(name)) for name in checkpoint.names),
            inheritance=inherited(subject.models),
            verification=verified,
            gguf=gguf_findings(folder),
        )
        _describe(subject, contents, folder)
        return Exported(out, contents, _chat_note(subject, folder), _names_folders(subject))


def export_adapter(
    subject: Subject,
    out: Path,
    *,
    rank: int | None = None,
    verify: bool = True,
    replace: bool = False,
) -> Exported:
    """Write a trial as one LoRA adapter on its base, in PEFT's format.

    Args:
        subject: the trial; its donors must be LoRA adapters on one base, and its merge linear.
        out: the folder.
        rank: cut off after so many singular values; None is exact, with the sum of the ranks.
        verify: load it with its base and compare the two with the evaluated model.
        replace: an earlier export there gives way.

    Raises:
        RecipeError: the merge is no LoRA adapter; the message says why.
        RunDirectoryError, VerificationError, UserError: see `export_checkpoint`.
    """
    engine = MergeEngine(allow_pickle=subject.study.config.models.allow_pickle)
    _require_known_architecture(engine, subject)
    require_replaceable(out, replace=replace)
    plan = engine.check(subject.recipe)
    terms = low_rank_terms(plan)
    engine.require_pinned(subject.recipe)
    base, like = _base_of(plan)
    with whole_folder(out, replace=replace) as folder:
        folder.mkdir()
        adapter = write_adapter(folder, low_rank_updates(plan, terms, rank), base, like.settings)
        plan.tokenizer.write(folder)
        for name, text in _recipe_files(subject).items():
            (folder / name).write_text(text, encoding="utf-8")
        verified = None
        if verify:
            verified = verify_adapter(
                engine,
                subject.recipe,
                base,
                folder,
                study_samples(subject.study),
                is_exact=adapter.is_exact,
            )
        written = AdaptedCheckpoint(like.base, folder, str(out))
        file = SafetensorsFile(folder / ADAPTER_WEIGHTS)
        contents = Contents(
            name=out.absolute().name,
            task=task_of(written.config),
            dtype=str(next(iter(file.entries.values())).dtype).removeprefix("torch."),
            n_parameters=sum(prod(entry.shape) for entry in file.entries.values()),
            inheritance=inherited(subject.models),
            verification=verified,
            adapter=adapter,
        )
        _describe(subject, contents, folder)
        return Exported(out, contents, _chat_note(subject, folder), _names_folders(subject))


def _require_known_architecture(engine: MergeEngine, subject: Subject) -> None:
    """Refuse a model that runs code of its own: what is taken home loads without any.

    Raises:
        UserError: saying what can be done instead.
    """
    trusts = bool(subject.study.config.models.trust_remote_code)
    if trusts and names_own_code(engine.check(subject.recipe).reference.config):
        raise UserError(
            "the model runs code of its own (models.trust_remote_code), and an export loads "
            "without any; write its weights with 'evomerge export front/' and 'evomerge merge', "
            "and put its Python files beside them"
        )


def require_replaceable(out: Path, *, replace: bool) -> None:
    """Check that a folder that is to be replaced is an earlier export, or empty.

    Raises:
        RunDirectoryError: it is something else.
    """
    if not out.exists():
        return
    if not replace:
        raise RunDirectoryError(
            f"{out} exists already; name a new folder, or say --force to replace an export"
        )
    ours = (RECIPE, "front.json")
    if not out.is_dir() or (any(out.iterdir()) and not any((out / n).is_file() for n in ours)):
        raise RunDirectoryError(f"{out} is no export of evomerge; --force replaces nothing else")


def _recipe_files(subject: Subject) -> dict[str, str]:
    files = {RECIPE: native.dumps(subject.recipe)}
    if subject.ancestry is not None:
        files[LINEAGE] = native.dumps(subject.ancestry)
    return files


def _describe(subject: Subject, contents: Contents, folder: Path) -> None:
    model_card(subject, contents).save(folder / "README.md")
    text = contents.inheritance.file()
    if text is not None:
        (folder / "LICENSE").write_text(text, encoding="utf-8")


def _base_of(plan: Plan) -> tuple[ModelRef, AdaptedCheckpoint]:
    """Return the base of a merge of adapters, and one of these."""
    for ref, checkpoint in plan.models.items():
        if isinstance(checkpoint, AdaptedCheckpoint):
            return ModelRef(path=ref.path, revision=ref.revision), checkpoint
    raise ValueError("the merge has no adapter")


def _chat_note(subject: Subject, folder: Path) -> str | None:
    """Say whose chat template could be taken, where the evaluated tokenizer has none."""
    if _has_template(folder):
        return None
    for name, ref in subject.models.items():
        own = resolve_folder(ref.path, ref.revision)
        if _has_template(own):
            return (
                f"the tokenizer it was evaluated with has no chat template; that of '{name}' has "
                f"one: {own}"
            )
    return None


def _names_folders(subject: Subject) -> bool:
    paths = [path for ref in subject.models.values() for path in (ref.path, ref.adapter)]
    return any(path is not None and not is_hub_id(path) for path in paths)


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    file = folder / "tokenizer_config.json"
    if not file.is_file():
        return False
    return bool(json.loads(file.read_text(encoding="utf-8")).get("chat_template"))
