"""The command line of mergekit-evolve 0.1.5, and what each of its options becomes.

`TABLE` is the mapping as users read it in `evomerge migrate --help`; what it says of a study's keys
is done in `evomerge.migrate.translation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any, Literal, TypeAlias

from evomerge.errors import ConfigError, nearest

PROGRAM = "mergekit-evolve"
Kind: TypeAlias = Literal["flag", "number", "count", "text", "texts"]
STRATEGIES = ("pool", "buffered", "serial")


@dataclass(frozen=True, slots=True)
class Option:
    """One option of mergekit-evolve.

    Attributes:
        name: with its dashes.
        field: of `EvolveOptions`.
        kind: 'flag' stands alone; the others take a number, a whole number, a text, or one of
            several texts.
        becomes: what it is in evomerge.
        refused: it asks for what evomerge does not do, and leaving it out changes what is measured.
        negation: the name that says no.
        short: its letter.
    """

    name: str
    field: str
    kind: Kind
    becomes: str
    refused: bool = False
    negation: str | None = None
    short: str | None = None


def _option(name: str, kind: Kind, becomes: str, **more: Any) -> Option:
    return Option(f"--{name}", more.pop("field", name.replace("-", "_")), kind, becomes, **more)


def _switch(name: str, becomes: str, **more: Any) -> Option:
    return _option(name, "flag", becomes, negation=f"--no-{name}", **more)


ALLOWS_BENCHMARKS = "i-understand-the-depths-of-the-evils-i-am-unleashing"

TABLE: tuple[Option, ...] = (
    _option("max-fevals", "count", "budget.trials"),
    _switch("vllm", "engine: vllm, of every objective"),
    _option(
        "strategy",
        "text",
        "nothing: each of workers.count processes merges and scores in turn, and none waits",
        short="-s",
    ),
    _switch("in-memory", "nothing: candidates are always merged in memory"),
    _option("storage-path", "text", "the run folder, --out of 'evomerge run'"),
    _option("num-gpus", "count", "workers.count"),
    _switch("merge-cuda", "nothing: merges happen where the model is, workers.device"),
    _switch(
        "trust-remote-code",
        "no code of checkpoints is ever run; models of transformers' own architectures need none",
        refused=True,
    ),
    _switch("allow-crimes", "nothing: models of one architecture merge, others do not"),
    _option("random-seed", "count", "seed, of the whole search and not only of DARE"),
    _option("batch-size", "count", "batch_size, of every objective"),
    _option("sigma0", "number", "search.sigma0"),
    _switch("wandb", "callbacks: wandb, which sees what evomerge tells of a trial"),
    _option("wandb-project", "text", "project, of the callback wandb"),
    _option("wandb-entity", "text", "entity, of the callback wandb"),
    _option("task-search-path", "texts", "include_path, of every objective; one folder"),
    _option(
        ALLOWS_BENCHMARKS,
        "flag",
        "nothing: searching on a benchmark's test items warns, and the report keeps the warning",
        field="allow_benchmark_tasks",
    ),
    _switch(
        "save-final-model",
        "a command: 'evomerge export --trial N FOLDER' writes the merged model of a trial",
    ),
    _switch("reshard", "nothing: checkpoints are mapped into memory as they are"),
    _option("timeout", "number", "budget.hours"),
    _option(
        "load-in-8bit",
        "flag",
        "candidates are scored in the dtype they are merged in; lower batch_size to save memory",
        refused=True,
        field="load_in_8bit",
    ),
    _option(
        "load-in-4bit",
        "flag",
        "candidates are scored in the dtype they are merged in; lower batch_size to save memory",
        refused=True,
        field="load_in_4bit",
    ),
    _option("force-population-size", "count", "search.population"),
)
"""Every option of mergekit-evolve 0.1.5."""


@dataclass(frozen=True, slots=True)
class EvolveOptions:
    """Values of the options, with mergekit-evolve's defaults.

    Attributes:
        given: names of the options as they were typed, with their values, in that order.
    """

    max_fevals: int = 100
    vllm: bool = False
    strategy: str = "pool"
    in_memory: bool = False
    storage_path: str | None = None
    num_gpus: int | None = None
    merge_cuda: bool = True
    trust_remote_code: bool = False
    allow_crimes: bool = False
    random_seed: int = 0
    batch_size: int | None = None
    sigma0: float = 1 / 6
    wandb: bool = False
    wandb_project: str | None = None
    wandb_entity: str | None = None
    task_search_path: tuple[str, ...] = ()
    allow_benchmark_tasks: bool = False
    save_final_model: bool = True
    reshard: bool = True
    timeout: float | None = None
    load_in_8bit: bool = False
    load_in_4bit: bool = False
    force_population_size: int | None = None
    given: tuple[tuple[Option, str], ...] = field(default=())


def read_command(
    words: Sequence[str], own: Iterable[str] = ()
) -> tuple[tuple[str, ...], EvolveOptions]:
    """Read a command line of mergekit-evolve.

    Args:
        words: of the command line; its first may be the program's name.
        own: further option names, to be offered as the nearest ones.

    Returns:
        The words that are neither options nor their values, and the options.

    Raises:
        ConfigError: one line for each word that means nothing.
    """
    rest = list(words)
    if rest and PurePath(rest[0]).name == PROGRAM:
        del rest[0]
    reader = _Reader(frozenset(own))
    while rest:
        reader.take(rest)
    if reader.problems:
        raise ConfigError(reader.problems)
    return tuple(reader.loose), replace(EvolveOptions(), **reader.values, given=tuple(reader.given))


class _Reader:
    """Takes words from the left, as click does."""

    def __init__(self, own: frozenset[str]) -> None:
        self.loose: list[str] = []
        self.values: dict[str, Any] = {}
        self.given: list[tuple[Option, str]] = []
        self.problems: list[str] = []
        self._own = own
        self._options = {
            name: option
            for option in TABLE
            for name in (option.name, option.negation, option.short)
            if name is not None
        }

    def take(self, rest: list[str]) -> None:
        word = rest.pop(0)
        if not word.startswith("-") or word in ("-", "--"):
            self.loose += [word] if word != "--" else []
            return
        name, separator, value = word.partition("=")
        if not word.startswith("--") and len(word) > 2:  # -spool
            name, separator, value = word[:2], "=", word[2:]
        option = self._options.get(name)
        if option is None:
            hint = nearest(name, (*self._options, *self._own))
            self.problems.append(f"{name}: no such option, here or in {PROGRAM}; {hint}")
            return
        if option.kind == "flag":
            if separator:
                self.problems.append(f"{name}: takes no value; remove '={value}'")
            self._put(option, name != option.negation, name)
            return
        if not separator:
            if not rest:
                self.problems.append(f"{name}: needs a value")
                return
            value = rest.pop(0)
        read = self._read(option, value)
        if read is not None:
            self._put(option, read, f"{option.name} {value}")

    def _put(self, option: Option, value: Any, typed: str) -> None:
        if option.kind == "texts":
            value = (*self.values.get(option.field, ()), value)
        self.values[option.field] = value
        self.given = [one for one in self.given if one[0] != option or option.kind == "texts"]
        self.given.append((option, typed))

    def _read(self, option: Option, value: str) -> int | float | str | None:
        if option.kind in ("text", "texts"):
            if option.field == "strategy" and value not in STRATEGIES:
                self.problems.append(
                    f"{option.name}: expected {', '.join(STRATEGIES)}, got '{value}'"
                )
                return None
            return value
        try:
            return int(value) if option.kind == "count" else float(value)
        except ValueError:
            wanted = "a whole number" if option.kind == "count" else "a number"
            self.problems.append(f"{option.name}: expected {wanted}, got '{value}'")
            return None
