"""The verbs that search: quickstart, init, check, run, resume."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomerge.cli.places import default_out, find_run, more_of
from evomerge.cli.studies import NamedStudy, StudyWords, named_study
from evomerge.errors import RunDirectoryError, UserError

if TYPE_CHECKING:
    from evomerge.spaces import Space
    from evomerge.study import Ended, Prepared, StandIns, StudyConfig
    from evomerge.study.config import PickConfig, StageConfig
    from evomerge.study.rungs.config import RungsConfig

EXIT_INTERRUPTED = 130

RunFolder = Annotated[
    Path | None, typer.Argument(metavar="RUN", help="A run directory; the latest by default.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key of the study, e.g. budget.trials=50. Repeat for several.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def quickstart(
    folder: Annotated[Path, typer.Argument(help="Where to put everything.")] = Path("quickstart"),
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Search merges of the shipped models: a Pareto set of recipes in a few minutes.

    Everything is written into one folder; at the end it says what is where and what to type next.
    """
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
    from evomerge.cli.export import export_all  # noqa: PLC0415
    from evomerge.cli.results import print_front  # noqa: PLC0415

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
            f"  evomerge export merged/ --trial N --run {out}      # a checkpoint with its card\n"
            f"  evomerge resume {out} --add trials=200\n"
            f"  evomerge init my-study/      # the same for your own models"
        )


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write the study.")] = Path(),
    base: Annotated[
        str, typer.Option(help="The base model: a folder, a Hub id or zoo:NAME.")
    ] = "zoo:base",
    donor: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=MODEL",
            help="A donor: a checkpoint, or a LoRA adapter of the base. Repeat for each.",
        ),
    ] = None,
    space: Annotated[
        str, typer.Option(help="What is searched: a shipped space or a YAML file.")
    ] = "task_arithmetic",
) -> None:
    """Write a first study file and a custom fitness beside it.

    Without options the study is one of the shipped models, and runs as it is.
    """
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


def check(
    context: typer.Context,
    words: StudyWords,
    overrides: Overrides = None,
    configs: Annotated[
        list[str] | None,
        typer.Option(
            "--config",
            metavar="[NAME=]FILE",
            help="A config.json for models (or one) that are not on this machine.",
        ),
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Estimate time, memory and disk beforehand.")
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(help="Of the estimate: h100, a100, …, or none; this machine's by default."),
    ] = None,
    device_tflops: Annotated[
        float | None, typer.Option(help="Peak 10^12 operations a second of the device.")
    ] = None,
    bandwidth: Annotated[
        float | None, typer.Option(help="Memory bandwidth of the device in GB/s.")
    ] = None,
    answer_tokens: Annotated[
        int | None, typer.Option(help="Tokens of a usual answer; the most allowed by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a study without running it: models, data, space, fitness; all errors at once."""
    from evomerge.cli.costs import EstimateOptions  # noqa: PLC0415
    from evomerge.study import (  # noqa: PLC0415
        StandIns,
        check_budget,
        described_workers,
        prepare,
    )
    from evomerge.study.budgets.gauges import limits  # noqa: PLC0415

    options = EstimateOptions(estimate, device, device_tflops, bandwidth, answer_tokens)
    options.check()
    stand_ins = StandIns.read(configs or ())
    named = named_study(words, overrides or (), context)
    prepared = prepare(named.config, named.path.parent, stand_ins)
    study = shlex.join(words)
    config, spaces = prepared.config, (prepared.space, *prepared.later)
    out = named.out or default_out(config.name)
    if not (stand_ins.used or estimate):  # an estimate may be for another machine
        check_budget(config, time.time())
    workers = None if stand_ins.used else described_workers(config, prepared.folder)
    if as_json:
        summary = _summary(prepared, stand_ins, workers)
        if estimate:
            summary["estimate"] = options.estimate(prepared, stand_ins, out, as_json=True)
        typer.echo(json.dumps(summary, indent=2))
        return
    _remark(named)
    sound = "is sound as far as it can be seen" if stand_ins.used else "is sound"
    typer.echo(f"{study}: study '{config.name}' {sound}")
    if stand_ins.used:
        typer.echo(f"  not seen    {', '.join(stand_ins.used)}: a configuration stands in")
    typer.echo(f"  donors      {', '.join(config.models.donors)}")
    typer.echo(f"  {_varied(prepared.space)}")
    goals = ", ".join(f"{item.name} ({item.goal})" for item in prepared.objectives)
    typer.echo(f"  objectives  {goals}")
    budget = ", ".join(limits(config.limits))
    if config.stages is None:
        expected = prepared.expected_trials(prepared.space)
        about = "" if expected is None else f" (its items pay for about {expected} trials)"
        typer.echo(f"  search      {config.search.optimizer}, {budget}{about}")
        _say_choice(config.plan[0], prepared, prepared.space)
    for number, (stage, space) in enumerate(zip(config.stages or (), spaces, strict=False)):
        typer.echo(
            f"  {'' if number else 'stages':<12}{stage.name}: {_what(space)}, "
            f"{stage.search.optimizer}, {stage.trials} trials{_sources(stage)}"
        )
        _say_choice(stage, prepared, space)
    placed = [] if workers is None else [f"workers     {workers}"]
    for line in (*_batch_lines(config), *_rung_lines(config.rungs), *placed):
        typer.echo(f"  {line}")
    if config.stages is not None:
        typer.echo(f"  budget      {budget}")
    for line in _following_lines(config):
        typer.echo(f"  {line}")
    _warn(*prepared.warnings)
    if estimate:
        typer.echo(options.estimate(prepared, stand_ins, out, as_json=False))
    if stand_ins.used:
        typer.echo(f"next: evomerge check {study}, where the models are")
    else:
        typer.echo(f"next: evomerge run {study}")


def _say_choice(stage: StageConfig, prepared: Prepared, space: Space) -> None:
    """Say what 'auto' is going to choose; who takes a front divides trials by its unknown size."""
    from evomerge.optimizers.auto import choose, has_botorch  # noqa: PLC0415
    from evomerge.spaces import Domain  # noqa: PLC0415

    divided = any(pick.pick == "front" for pick in stage.picks)
    if stage.search.optimizer == "auto" and isinstance(space.domain, Domain) and not divided:
        count = 1 if stage.search.scalarize else len(prepared.objectives)
        expected = prepared.expected_trials(space)
        found = choose(
            space.domain, count, stage.trials, has_botorch=has_botorch(), expected=expected
        )
        typer.echo(f"              auto takes {found.name}: {found.why}")


def _summary(prepared: Prepared, stand_ins: StandIns, workers: str | None) -> dict[str, Any]:
    """Return what `check` says, without an estimate, as JSON data."""
    config, spaces = prepared.config, (prepared.space, *prepared.later)
    summary: dict[str, Any] = {
        "study": config.name,
        "donors": list(config.models.donors),
        "genes": [gene.name for gene in prepared.space.domain.genes],
        "objectives": {item.name: item.goal for item in prepared.objectives},
        "budget": config.limits.model_dump(exclude_none=True),
        "expected_trials": prepared.expected_trials(prepared.space),
        "inputs": dict(prepared.inputs),
    }
    if config.stages is not None:
        summary["stages"] = [
            {
                "stage": stage.name,
                "genes": len(space.domain.genes),
                "optimizer": stage.search.optimizer,
                "trials": stage.trials,
                "batches": stage.batches and stage.batches.model_dump(),
            }
            for stage, space in zip(config.plan, spaces, strict=True)
        ]
    elif config.batches is not None:
        summary["batches"] = config.batches.model_dump()
    summary |= config.model_dump(include={"rungs"}, exclude_none=True)
    summary["callbacks"] = [one.callback for one in config.callbacks]
    summary["workers"] = workers
    summary["not_seen"] = list(stand_ins.used)
    summary["warnings"] = list(prepared.warnings)
    return summary


def _what(space: Space) -> str:
    """Say in a few words what a stage varies."""
    genes = space.domain.genes
    return f"{len(genes)} genes" if genes else "a population"


def _varied(space: Space) -> str:
    """Say what a search varies: its genes, or its founders and how they are bred."""
    from evomerge.spaces.populations import PopulationSpace  # noqa: PLC0415

    domain = space.domain
    if domain.genes:
        more = ", …" if len(domain.genes) > 1 else ""
        return f"genes       {len(domain.genes)}: {domain.genes[0].name}{more}"
    line = f"population  {len(domain.seeds)} founders"
    if not isinstance(space, PopulationSpace):
        return line
    spec = space.spec
    how = spec.operator + (f" ({spec.angle} angle)" if spec.operator == "slerp" else "")
    return (
        f"{line}, {spec.population.replace('_', ' ')}, {how}, layout {spec.layout}, "
        f"splits between {spec.granularity}s"
    )


def _batch_lines(config: StudyConfig) -> Iterator[str]:
    """Say what the trials of each stage that has batches are scored on, and who is validated."""
    if config.picked_on != config.compared_on:
        each = " of each stage" if config.stages else ""
        yield f"validation  the best {config.front.size} by search scores{each}; the front of these"
    label = "batches"
    for stage in config.plan:
        batches = stage.batches
        if batches is not None:
            name = f"{stage.name}: " if stage.name else ""
            yield (
                f"{label:<12}{name}{batches.items} search items a trial, others after "
                f"{batches.trials} trials; of these the best {batches.keep} on validation items"
            )
            label = ""


def _rung_lines(rungs: RungsConfig | None) -> Iterator[str]:
    """Say how candidates climb."""
    if rungs is None:
        return
    rules = []
    if rungs.promote is not None:
        rules.append(f"{rungs.promote:.0%} go on ({rungs.rule})")
    if rungs.n_brackets > 1:
        rules.append(f"{rungs.n_brackets} brackets")
    if rungs.race is not None:
        rules.append(f"whoever is proven worse than the front stops (error rate {rungs.race:g})")
    yield f"rungs       {', '.join(map(str, rungs.items))} and all search items; {', '.join(rules)}"


def _following_lines(config: StudyConfig) -> Iterator[str]:
    """Say where the run is shown, and who is told of its end."""
    if config.callbacks:
        yield f"callbacks   {', '.join(one.callback for one in config.callbacks)}"
    if config.notify is not None:
        yield f"notify      {config.notify.redacted} on {' and '.join(config.notify.on)}"


def _sources(stage: StageConfig) -> str:
    """Say what a stage takes from earlier ones."""
    sources = [f"{name} = {_picked(pick)}" for name, pick in stage.take.items()]
    if stage.through is not None:
        sources.append(f"through {_picked(stage.through)}")
    return f"; {', '.join(sources)}" if sources else ""


def _picked(pick: PickConfig) -> str:
    count = f" ({pick.count})" if pick.count else ""
    return f"{pick.pick}{count} of {pick.stage}"


def run(
    context: typer.Context,
    words: StudyWords,
    out: Annotated[
        Path | None, typer.Option(help="The run directory to create; runs/NAME by default.")
    ] = None,
    or_resume: Annotated[
        bool,
        typer.Option(
            "--or-resume", help="Continue the run that the folder holds, if there is one."
        ),
    ] = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Search: evaluate recipes until the budget is spent, then score the front on hold-out.

    Ctrl-C once finishes what is in flight, twice stops; 'evomerge resume' goes on either way.
    """
    from evomerge.study import holds_run, require_same_study  # noqa: PLC0415

    study = named_study(words, overrides or (), context)
    folder = out or study.out or default_out(study.config.name)
    if not as_json:
        _remark(study)
    if or_resume and holds_run(folder):
        require_same_study(study.config, folder)
        ended = _continue(folder, as_json)
    else:
        ended = _start(study.config, study.path.parent, folder, as_json, study.keep)
    _leave(ended, folder, as_json)


def resume(
    run_folder: RunFolder = None,
    add: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=AMOUNT",
            help="More budget: hours=4, trials=, items=, gpu_hours=, money=, stagnation=, "
            "deadline=07:30. Repeat for several.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Continue a run that was interrupted or killed, or give a finished one more budget."""
    folder = find_run(run_folder)
    amounts = dict(_amount(entry) for entry in add or ())
    if len(amounts) < len(add or ()):
        raise UserError("--add: give each kind of budget once")
    _leave(_continue(folder, as_json, amounts), folder, as_json)


def _remark(study: NamedStudy) -> None:
    """Say on standard error what a translated study was."""
    for line in study.remarks:
        typer.echo(line, err=True)


def _start(
    config: StudyConfig,
    folder: Path,
    out: Path,
    as_json: bool,
    keep: Mapping[str, str] | None = None,
) -> Ended:
    from evomerge.cli.view import watching  # noqa: PLC0415
    from evomerge.study import start_run  # noqa: PLC0415

    with watching(quiet=as_json) as observe:
        return start_run(config, folder, out, keep=keep, observe=observe, warn=_warn)


def _continue(folder: Path, as_json: bool, add: Mapping[str, str] | None = None) -> Ended:
    from evomerge.cli.view import watching  # noqa: PLC0415
    from evomerge.study import resume_run  # noqa: PLC0415

    with watching(quiet=as_json) as observe:
        return resume_run(folder, add=add, observe=observe, warn=_warn)


def _warn(*lines: str) -> None:
    for line in lines:
        typer.echo(f"warning: {line}", err=True)


def _leave(ended: Ended, out: Path, as_json: bool) -> None:
    """Say how the session ended and what to type next; exit 130 when interrupted."""
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "state": ended.state,
                    "reason": ended.reason,
                    "budget": ended.budget,
                    "run": str(out),
                }
            )
        )
    elif ended.state == "interrupted":
        typer.echo(f"{ended.reason}; continue with: evomerge resume {out}")
    else:
        typer.echo(f"done ({ended.reason}); see the front with: evomerge front {out}")
        more = more_of(ended.budget, out)
        if more is not None:
            typer.echo(f"more of the same search: {more}")
    if ended.state == "interrupted":
        raise typer.Exit(EXIT_INTERRUPTED)


def _amount(entry: str) -> tuple[str, str]:
    kind, separator, amount = entry.partition("=")
    if not separator or not amount:
        raise UserError(f"--add {entry}: write it as kind=amount, e.g. --add trials=100")
    return kind, amount
