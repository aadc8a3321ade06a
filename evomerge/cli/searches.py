"""The verbs that search: quickstart, init, check, run, resume."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evomerge.cli.places import default_out, find_run
from evomerge.errors import RunDirectoryError, UserError

if TYPE_CHECKING:
    from evomerge.study import Ended, StudyConfig

EXIT_INTERRUPTED = 130

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="The study file (YAML).")]
RunFolder = Annotated[
    Path | None, typer.Argument(metavar="[RUN]", help="A run directory; the latest by default.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. budget.trials=50."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def quickstart(
    folder: Annotated[Path, typer.Argument(help="Where to put everything.")] = Path("quickstart"),
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Search merges of the shipped models: a Pareto set of recipes in a few minutes."""
    from evomerge import zoo  # noqa: PLC0415
    from evomerge.study import load_study  # noqa: PLC0415

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunDirectoryError(f"{folder} exists already; name another: evomerge quickstart DIR")
    shipped, study, out = zoo.path() / "study.yaml", folder / "study.yaml", folder / "run"
    config = load_study(shipped, overrides or ())
    ended = _start(config, zoo.path(), out, as_json)
    shutil.copyfile(shipped, study)
    if ended.state == "interrupted":
        _leave(ended, out, as_json)
    from evomerge.cli.results import export_all, print_front  # noqa: PLC0415

    print_front(out, as_json)
    export_all(out, folder / "front")
    if not as_json:
        typer.echo(
            f"\nWhere things are\n"
            f"  {study}      the study: models, space, objectives, budget\n"
            f"  {out}/             the run: its journal and per-example scores\n"
            f"  {folder / 'front'}/           each recipe, front.csv, front.png, front.html\n"
            f"\nWhat to type next\n"
            f"  evomerge front {out}\n"
            f"  evomerge merge {folder / 'front'}/trial-NNNNNN/recipe.yaml merged/\n"
            f"  evomerge resume {out} --add trials=200\n"
            f"  evomerge init my-study/      # the same for your own models"
        )


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write the study.")] = Path(),
    base: Annotated[str, typer.Option(help="The base model: folder or hub id.")] = "zoo:base",
    donor: Annotated[
        list[str] | None, typer.Option(metavar="NAME=MODEL", help="A donor; repeat the option.")
    ] = None,
    space: Annotated[str, typer.Option(help="A shipped space or a file.")] = "task_arithmetic",
) -> None:
    """Write a first study file and a custom fitness beside it."""
    from evomerge.cli.first_study import seen_from, write_first_study  # noqa: PLC0415

    donors: dict[str, str] = {}
    base = seen_from(folder, base)
    for entry in donor or ():
        name, separator, model = entry.partition("=")
        if not separator or not name or not model:
            raise UserError(f"--donor {entry}: write it as name=model, e.g. --donor math=./math")
        donors[name] = seen_from(folder, model)
    study = write_first_study(folder, base, donors, seen_from(folder, space))
    typer.echo(f"wrote {study} and the files it names")
    typer.echo(f"next: evomerge check {study} && evomerge run {study}")


def check(study: StudyFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Check a study without running it: models, data, space, fitness; all errors at once."""
    from evomerge.study import load_study, prepare  # noqa: PLC0415

    prepared = prepare(load_study(study, overrides or ()), study.parent)
    config, genes = prepared.config, prepared.space.domain.genes
    if as_json:
        summary = {
            "study": config.name,
            "donors": list(config.models.donors),
            "genes": [gene.name for gene in genes],
            "objectives": {item.name: item.goal for item in prepared.objectives},
            "budget": config.budget.model_dump(exclude_none=True),
            "inputs": dict(prepared.inputs),
        }
        typer.echo(json.dumps(summary, indent=2))
        return
    typer.echo(f"{study}: study '{config.name}' is sound")
    typer.echo(f"  donors      {', '.join(config.models.donors)}")
    typer.echo(f"  genes       {len(genes)}: {genes[0].name}{', …' if len(genes) > 1 else ''}")
    goals = ", ".join(f"{item.name} ({item.goal})" for item in prepared.objectives)
    typer.echo(f"  objectives  {goals}")
    limits = ", ".join(
        f"{value} {key}" for key, value in config.budget.model_dump(exclude_none=True).items()
    )
    typer.echo(f"  search      {config.search.optimizer}, {limits}")
    typer.echo(f"next: evomerge run {study}")


def run(
    study: StudyFile,
    out: Annotated[
        Path | None, typer.Option(help="The run directory; runs/<name> by default.")
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Search: evaluate recipes until the budget is spent, then score the front on hold-out."""
    from evomerge.study import load_study  # noqa: PLC0415

    config = load_study(study, overrides or ())
    folder = out or default_out(config.name)
    _leave(_start(config, study.parent, folder, as_json), folder, as_json)


def resume(
    run_folder: RunFolder = None,
    add: Annotated[
        list[str] | None, typer.Option(metavar="KEY=AMOUNT", help="More budget: trials=, hours=.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Continue a run that was interrupted or killed, or give a finished one more budget."""
    from evomerge.cli.view import watching  # noqa: PLC0415
    from evomerge.study import resume_run  # noqa: PLC0415

    folder = find_run(run_folder)
    amounts = dict(_amount(entry) for entry in add or ())
    if len(amounts) < len(add or ()):
        raise UserError("--add: give each kind of budget once")
    with watching(quiet=as_json) as observe:
        ended = resume_run(folder, add=amounts, observe=observe)
    _leave(ended, folder, as_json)


def _start(config: StudyConfig, folder: Path, out: Path, as_json: bool) -> Ended:
    from evomerge.cli.view import watching  # noqa: PLC0415
    from evomerge.study import start_run  # noqa: PLC0415

    with watching(quiet=as_json) as observe:
        return start_run(config, folder, out, observe=observe)


def _leave(ended: Ended, out: Path, as_json: bool) -> None:
    """Say how the session ended and what to type next; exit 130 when interrupted."""
    if as_json:
        typer.echo(json.dumps({"state": ended.state, "reason": ended.reason, "run": str(out)}))
    elif ended.state == "interrupted":
        typer.echo(f"{ended.reason}; continue with: evomerge resume {out}")
    else:
        typer.echo(f"done ({ended.reason}); see the front with: evomerge front {out}")
        typer.echo(f"more of the same search: evomerge resume {out} --add trials=100")
    if ended.state == "interrupted":
        raise typer.Exit(EXIT_INTERRUPTED)


def _amount(entry: str) -> tuple[str, float]:
    key, _, text = entry.partition("=")
    try:
        amount = float(text)
    except ValueError:
        amount = 0.0
    if not 0 < amount < math.inf:
        raise UserError(f"--add {entry}: write it as key=amount with a positive amount, trials=100")
    return key, amount
