"""The verb that takes results home: export."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomerge.cli.places import find_run
from evomerge.cli.results import AsJson
from evomerge.errors import UserError

if TYPE_CHECKING:
    from evomerge.release import Exported


class Form(StrEnum):
    """What a trial is written as."""

    checkpoint = "checkpoint"
    adapter = "adapter"


def export(
    out: Annotated[Path, typer.Argument(help="The folder to write; must not exist.")],
    run_folder: Annotated[
        Path | None, typer.Option("--run", help="A run directory; the latest by default.")
    ] = None,
    trial: Annotated[
        int | None,
        typer.Option(help="The merged model of this trial, with its card, instead of the front."),
    ] = None,
    form: Annotated[
        Form, typer.Option("--as", help="A checkpoint, or one LoRA where all donors are LoRAs.")
    ] = Form.checkpoint,
    rank: Annotated[
        int | None,
        typer.Option(
            min=1, help="Of --as adapter: cut off at this rank; exact without, the error is told."
        ),
    ] = None,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Do not read the model back; the card says so.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an earlier export, here and on the Hub.")
    ] = False,
    push_to_hub: Annotated[
        str | None,
        typer.Option(metavar="REPO", help="Upload the verified folder to the Hugging Face Hub."),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Of --push-to-hub: for your eyes only.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the front as recipes, table and plots, or take one trial home (--trial).

    A trial becomes a folder for transformers, PEFT and llama.cpp's converter: weights, tokenizer,
    chat template, generation config, recipe, and a model card with hold-out scores and licences.
    It is read back and compared with the evaluated model; if they differ, nothing is kept and the
    exit code is 1.
    """
    folder = find_run(run_folder)
    _require_options_fit(trial, form, rank, no_verify, push_to_hub, private)
    from evomerge.release import require_hub  # noqa: PLC0415
    from evomerge.release.exporting import require_replaceable  # noqa: PLC0415

    require_replaceable(out, replace=force)
    if push_to_hub is not None:
        require_hub(push_to_hub)
    document: dict[str, Any] = {"run": str(folder), "out": str(out)}

    def tell(text: str) -> None:
        if not as_json:
            typer.echo(text)

    if trial is None:
        export_all(folder, out, replace=force)
        tell(f"wrote {out}")
    else:
        exported = _export_trial(folder, trial, out, form, rank, verify=not no_verify, force=force)
        document |= _document(exported)
        tell("\n".join(_lines(exported)))
        if push_to_hub is not None:
            if exported.names_folders:
                tell("  pushing   the recipe too, which names folders of this machine")
            document["url"] = _push(out, push_to_hub, trial, private=private, replace=force)
            tell(f"  pushed    {document['url']}")
    if as_json:
        typer.echo(json.dumps(document, indent=2))


def export_all(run: Path, out: Path, *, replace: bool = False) -> None:
    """Write every recipe of a run's front, its table and its plots."""
    from evomerge.report import collect_front, export_front  # noqa: PLC0415
    from evomerge.study import open_study  # noqa: PLC0415

    study, _ = open_study(run)
    context = study.context
    refused = export_front(
        collect_front(run), out, context.layout, context.dtype, context.shape, replace=replace
    )
    for refusal in refused:
        typer.echo(f"evomerge: {refusal}", err=True)


def _require_options_fit(
    trial: int | None,
    form: Form,
    rank: int | None,
    no_verify: bool,
    push_to_hub: str | None,
    private: bool,
) -> None:
    """Refuse options that would do nothing."""
    of_a_trial = {
        "--as adapter": form is Form.adapter,
        "--rank": rank is not None,
        "--no-verify": no_verify,
        "--push-to-hub": push_to_hub is not None,
    }
    for option, given in of_a_trial.items():
        if trial is None and given:
            raise UserError(
                f"{option} goes with --trial N; of a front recipes are written, no model"
            )
    if rank is not None and form is not Form.adapter:
        raise UserError("--rank goes with --as adapter; a checkpoint has no rank")
    if private and push_to_hub is None:
        raise UserError("--private goes with --push-to-hub REPO")


def _export_trial(
    run: Path, trial: int, out: Path, form: Form, rank: int | None, *, verify: bool, force: bool
) -> Exported:
    from evomerge.release import export_adapter, export_checkpoint, read_subject  # noqa: PLC0415

    subject = read_subject(run, trial)
    if form is Form.adapter:
        return export_adapter(subject, out, rank=rank, verify=verify, replace=force)
    return export_checkpoint(subject, out, verify=verify, replace=force)


def _push(out: Path, repo: str, trial: int, *, private: bool, replace: bool) -> str:
    from evomerge.release import push  # noqa: PLC0415

    message = f"Trial {trial}, exported by evomerge"
    return push(out, repo, private=private, replace=replace, message=message)


def _lines(exported: Exported) -> list[str]:
    """Say what was written and what was found of it."""
    from evomerge.release.gguf import gguf_summary  # noqa: PLC0415

    contents = exported.contents
    what = contents.task.architecture or contents.task.auto_class
    if contents.adapter is not None:
        rank = f"rank {contents.adapter.rank}"
        error = "" if contents.is_exact else f", relative error {contents.adapter.error:.3g}"
        what = f"LoRA of {rank}{error} for {what}"
    lines = [
        f"wrote {exported.folder}: {what}, {contents.n_parameters:,} parameters, {contents.dtype}",
        f"  verified  {contents.verification or 'no: --no-verify'}",
        f"  licence   {contents.inheritance.summary}",
    ]
    if contents.gguf is not None and contents.task.is_causal:
        lines.append(f"  GGUF      {gguf_summary(contents.gguf)}")
    if exported.chat is not None:
        lines.append(f"  chat      {exported.chat}")
    return [*lines, f"  card      {exported.folder / 'README.md'}"]


def _document(exported: Exported) -> dict[str, Any]:
    contents = exported.contents
    return {
        "form": "checkpoint" if contents.adapter is None else "adapter",
        "architecture": contents.task.architecture,
        "dtype": contents.dtype,
        "parameters": contents.n_parameters,
        "verified": contents.verification,
        "license": contents.inheritance.metadata,
        "license_unknown": list(contents.inheritance.unknown),
        "gguf": None if contents.gguf is None else {one.what: one.missing for one in contents.gguf},
        "rank": None if contents.adapter is None else contents.adapter.rank,
        "error": None if contents.adapter is None else contents.adapter.error,
    }
