"""The part of a study file that says where candidates are evaluated."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import (
    ByteSize,
    Field,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from evomerge.study.interrupt import GRACE_S
from evomerge.study.sections import Section
from evomerge.workers.cluster.spec import ClusterSpec
from evomerge.workers.machine import available_cores

OF_A_CLUSTER = (
    "address",
    "cpus_per_worker",
    "memory",
    "placement",
    "runtime_env",
)
"""Keys that mean something on a Ray cluster only."""


class PlacementConfig(Section):
    """Which nodes of a cluster workers are placed on.

    Attributes:
        strategy: 'pack' is Ray's default, which fills nodes up to a half before it goes round
            them; 'spread' goes round them at once.
        labels: what a node must be labelled with, such as 'ray.io/accelerator-type: H100'; values
            may be conditions of Ray's label selectors, 'in(a,b)' or '!a'.
        on_demand: the cluster starts nodes when they are asked for, so that there need be none
            yet that can hold a worker.
    """

    strategy: Literal["pack", "spread"] = "pack"
    labels: dict[str, str] = Field(default_factory=dict)
    on_demand: bool = False


class WorkersConfig(Section):
    """Where candidates are evaluated.

    Attributes:
        backend: 'local' runs worker processes on this machine, 'ray' on the nodes of a Ray
            cluster, 'inline' runs in the driver (for debugging).
        count: number of workers; of a cluster, as many of them as there is room for.
        device: 'auto', 'cpu', 'cuda', 'cuda:0', ...
        threads: CPU threads of each worker; the cores divided by the workers by default, on a
            cluster the cores of a worker.
        timeout_s: seconds one evaluation may take; by default an hour, or a hundred times the
            longest so far if that is more, once a worker has completed one.
        retries: further attempts after an error, a lost worker or a time-out.
        grace_s: how long what is in flight may go on after SIGTERM, before the run stops.
        prefix_cache_mb: device memory of each worker for what layer paths with a common beginning
            share: hidden states, keys and values; 0 keeps nothing. It changes no result.
        address: of the Ray cluster: 'auto' (the default) takes the one that runs here or that
            RAY_ADDRESS names, 'local' starts one for this run, or host:port.
        gpus_per_worker: a whole number above one spreads a model over so many; on a cluster a part
            of one shares a GPU between workers.
        device_memory: of the merged model's weights, what each device may hold: 60GB, or bytes; on
            a GPU most of what is free, once it says 'offload' or has several.
        offload: where weights stay that fit on no device: 'cpu', 'disk' (TMPDIR), or 'none'.
        cpus_per_worker: 1 by default; a part of one is legal.
        memory: of each worker, which Ray sets apart when it places workers: 16GB, or bytes.
        placement: 'pack' (the default), 'spread', or more.
        runtime_env: Ray's runtime environment of the workers; paths start at the study file.
    """

    backend: Literal["local", "ray", "inline"] = "local"
    count: int = Field(default=1, ge=1)
    device: str = "auto"
    threads: int | None = Field(default=None, ge=1)
    timeout_s: float | None = Field(default=None, gt=0)
    retries: int = Field(default=1, ge=0)
    grace_s: float = Field(default=GRACE_S, gt=0)
    prefix_cache_mb: int = Field(default=1024, ge=0)
    address: str | None = None
    gpus_per_worker: float | None = Field(default=None, ge=0)
    device_memory: ByteSize | None = Field(default=None, gt=0)
    offload: Literal["none", "cpu", "disk"] = "none"
    cpus_per_worker: float | None = Field(default=None, gt=0)
    memory: ByteSize | None = Field(default=None, gt=0)
    placement: PlacementConfig | None = None
    runtime_env: dict[str, Any] | None = None

    @property
    def cluster(self) -> ClusterSpec:
        """What is asked of a cluster."""
        placement = self.placement or PlacementConfig()
        return ClusterSpec(
            address=self.address or "auto",
            count=self.count,
            cpus=self.cpus_per_worker or 1.0,
            gpus=self.gpus_per_worker or 0.0,
            memory=int(self.memory or 0),
            device=self.device,
            strategy=placement.strategy,
            labels=placement.labels,
            on_demand=placement.on_demand,
            runtime_env=self.runtime_env or {},
        )

    @property
    def threads_each(self) -> int:
        """CPU threads of one worker."""
        if self.backend == "ray":
            return self.threads or max(1, int(self.cpus_per_worker or 1))
        return self.threads or max(1, available_cores() // self.count)

    @property
    def gpus_each(self) -> int:
        """GPUs that one worker has to itself; one where it has a part of one, or none."""
        return max(1, int(self.gpus_per_worker or 1))

    @property
    def spreads(self) -> bool:
        """Whether a model may be in more than one place."""
        return self.gpus_each > 1 or self.device_memory is not None or self.offload != "none"

    @property
    def unused(self) -> tuple[str, ...]:
        """Keys that say nothing here, and which a run therefore does not record."""
        keys = () if self.spreads else ("device_memory", "offload")
        if self.backend == "ray":
            return keys
        lone = ("gpus_per_worker",) if self.gpus_per_worker is None else ()
        return (*keys, *lone, *OF_A_CLUSTER)

    @property
    def device_each(self) -> str:
        """The device of one worker; 'auto' is for each to find out."""
        return self.cluster.devices if self.backend == "ray" else self.device

    @field_validator("placement", mode="before")
    @classmethod
    def _strategy_alone(cls, value: Any) -> Any:
        return {"strategy": value} if isinstance(value, str) else value

    @field_validator("address")
    @classmethod
    def _names_a_cluster(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"auto|local|[^\s/]+:\d+", value):
            raise ValueError(
                f"'{value}': say auto, local, or host:port of the head node; instead of through "
                "ray://, whose broken connection ends all workers, start evomerge on a node"
            )
        return value

    @field_validator("memory", "device_memory", mode="wrap")
    @classmethod
    def _is_a_size(cls, value: Any, read: ValidatorFunctionWrapHandler) -> Any:
        try:
            return read(value)
        except ValueError:
            raise ValueError(f"{value!r}: give a size such as 16GB, or bytes") from None

    @field_validator("gpus_per_worker")
    @classmethod
    def _whole_above_one(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value % 1:
            raise ValueError(f"{value:g} GPUs: give a whole number, or a part of one")
        return value

    @model_validator(mode="after")
    def _inline_is_one(self) -> Self:
        if self.backend == "inline" and (self.count > 1 or self.timeout_s is not None):
            raise ValueError(
                "backend 'inline' runs one evaluation at a time in the driver and cannot stop it; "
                "remove count and timeout_s, or use backend 'local'"
            )
        return self

    @model_validator(mode="after")
    def _keys_fit_the_backend(self) -> Self:
        given = [name for name in OF_A_CLUSTER if getattr(self, name) is not None]
        if given and self.backend != "ray":
            raise ValueError(f"{given[0]} belongs to backend 'ray'; remove it, or use that")
        gpus = self.gpus_per_worker
        if gpus is not None and self.backend != "ray":
            if gpus < 1:
                raise ValueError(
                    f"gpus_per_worker: {gpus:g}: Ray shares a GPU between workers; give a whole "
                    "number, or use backend 'ray'"
                )
            if self.device not in ("auto", "cuda"):
                raise ValueError(
                    f"gpus_per_worker and device '{self.device}': say device: auto, or remove one"
                )
        if self.offload == "cpu" and self.device == "cpu":
            raise ValueError("offload 'cpu' is where device 'cpu' is already; say 'disk'")
        if self.backend == "ray":
            if self.device not in ("auto", "cpu", "cuda"):
                raise ValueError(
                    f"device '{self.device}': Ray gives each worker its GPUs; say auto, cpu or cuda"
                )
            if (self.device == "cuda") > bool(self.gpus_per_worker):
                raise ValueError("device 'cuda' needs gpus_per_worker: 1, or a part of one")
            if self.device == "cpu" and self.gpus_per_worker:
                raise ValueError("device 'cpu' uses no GPU; remove gpus_per_worker, or the device")
        return self
