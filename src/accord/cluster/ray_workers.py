"""The workers of a Ray cluster: actors, one for each bundle of a placement group. The only file that imports Ray.

What crosses to them and back is JSON; tensors go between the actors alone, by torch.distributed. Token authentication
is on unless RAY_AUTH_MODE says otherwise: who reaches a Ray cluster without it runs code there (CVE-2023-48022).
"""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accord.cluster.assignment import Assignment, Outcome
from accord.errors import UserError, first_line
from accord.placement import Cluster
from accord.steps.base import PlannedStep

if TYPE_CHECKING:
    from types import ModuleType

OLDEST = (2, 54)  # token authentication on every way in


class RayWorkers:
    """Raises UserError when the cluster is not reached, is too small, or its machines have other versions."""

    def __init__(self, cluster: Cluster) -> None:
        self._ray = ray = connected(cluster)
        self._timeout = cluster.timeout
        self._group: Any = None
        self._actors: list[Any] = []
        self._running: list[Any] = []
        gpus = _gpus(ray, cluster)
        self._threads = None if gpus else max(1, int(cluster.cpus_per_worker or 1))
        try:
            self._place(cluster, cluster.workers or _num_workers(ray, gpus), gpus)
            self._about = self._asked("about")
            _check_versions(self._about)
        except BaseException:
            self.close()
            raise

    def assign(self, step: PlannedStep, settings: Mapping[str, Any]) -> None:
        for about, sees in zip(self._about, self._asked("sees", settings["store"]), strict=True):
            if not sees:
                what = f"the worker on {about['host']} does not see the store {settings['store']}"
                remedy = "Put it on a file system that all machines share, at the same place, and name it with --store."
                raise UserError(what, where=step.name, remedy=remedy)
        host, port = self._asked("address", actors=self._actors[:1])[0]
        size = len(self._actors)
        own = {**settings, "rendezvous": f"tcp://{host}:{port}", "threads": self._threads}
        self._running = [
            actor.perform.remote(Assignment.of(step, rank=rank, size=size, **own).to_json())
            for rank, actor in enumerate(self._actors)
        ]

    def _place(self, cluster: Cluster, size: int, gpus: int) -> None:
        ray = self._ray
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        cpus = cluster.cpus_per_worker or 1
        bundle = {"CPU": cpus, **({"GPU": gpus} if gpus else {})}
        self._group = placement_group([bundle] * size, strategy="PACK")
        try:
            ray.get(self._group.ready(), timeout=min(cluster.timeout, 60.0))
        except ray.exceptions.GetTimeoutError:
            whole, free = ray.cluster_resources(), ray.available_resources()
            wanted = f"{size} workers of {cpus:g} CPU{f' and {gpus} GPU' if gpus else ''} each"
            has = ", ".join(f"{free.get(name, 0):g} of {whole.get(name, 0):g} {name} free" for name in bundle)
            raise UserError(
                f"the Ray cluster has no room for {wanted}: {has}",
                where="cluster.workers",
                remedy="Lower cluster.workers or cpus_per_worker, wait for other work to end, or add machines.",
            ) from None
        actor = ray.remote(Actor)
        environment = {name: value for name, value in os.environ.items() if _may_be_shown(name)}
        if gpus:
            environment["ACCORD_DEVICE"] = "cuda"
        for rank in range(size):
            strategy = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=rank)
            options: dict[str, Any] = {
                "num_cpus": cpus,
                "num_gpus": gpus,
                "scheduling_strategy": strategy,
                "max_restarts": 0,
            }
            options["runtime_env"] = {"env_vars": environment}
            self._actors.append(actor.options(**options).remote())

    def _asked(self, method: str, *given: Any, actors: Sequence[Any] | None = None) -> list[Any]:
        """What each of the actors answers."""
        asked = [getattr(actor, method).remote(*given) for actor in (self._actors if actors is None else actors)]
        try:
            return list(self._ray.get(asked, timeout=self._timeout))
        except self._ray.exceptions.GetTimeoutError:
            what = f"not all of {len(asked)} workers have answered within {self._timeout:g} s"
            raise UserError(what, where="cluster.timeout", remedy="Look at `accord cluster status`.") from None
        except self._ray.exceptions.RayError as error:
            remedy = "Accord has to be installed on every machine of the cluster, at the version of this one."
            raise UserError(f"a worker is gone: {first_line(error)}", where="cluster", remedy=remedy) from error

    def poll(self) -> list[Outcome | None]:
        ended, _ = self._ray.wait(self._running, num_returns=len(self._running), timeout=0)
        return [self._outcome(one) if one in ended else None for one in self._running]

    def _outcome(self, running: Any) -> Outcome:
        try:
            return Outcome.from_json(self._ray.get(running, timeout=1.0))
        except self._ray.exceptions.RayError as error:
            return Outcome("failed", f"it is gone: {first_line(error)}")

    def name(self, rank: int) -> str:
        about = self._about[rank]
        return f"process {about['pid']} on {about['host']}"

    def close(self) -> None:
        from ray.util.placement_group import remove_placement_group

        for actor in self._actors:
            with suppress(Exception):  # it may be gone, and the cluster with it
                self._ray.kill(actor)
        if self._group is not None:
            with suppress(Exception):
                remove_placement_group(self._group)


class Actor:
    """A worker, as Ray starts it."""

    def about(self) -> dict[str, Any]:
        import torch

        import accord

        return {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "versions": {"Python": platform.python_version(), "torch": torch.__version__, "Accord": accord.__version__},
        }

    def sees(self, store: str) -> bool:
        return Path(store).is_dir()

    def address(self) -> tuple[str, int]:
        """Where this one can be met by the others."""
        import ray

        host = ray.util.get_node_ip_address()
        with closing(socket.socket()) as free:
            free.bind((host, 0))
            return host, free.getsockname()[1]

    def perform(self, assignment: str) -> str:
        from accord.cluster.worker import perform

        meet_at(self.address()[0])
        return perform(Assignment.from_json(assignment)).to_json()


def meet_at(host: str) -> None:
    """Gloo and NCCL use the network that this machine's address in the cluster belongs to, and not whatever its name is
    said to be."""
    import psutil

    for interface, addresses in psutil.net_if_addrs().items():
        if any(one.address == host for one in addresses):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
            os.environ.setdefault("NCCL_SOCKET_IFNAME", interface)


def _may_be_shown(name: str) -> bool:
    """Whether a variable may go to the workers: Ray shows to everybody in the cluster what they are started with."""
    secret = ("KEY", "TOKEN", "SECRET", "PASSWORD", "LABELS")
    return name.startswith("ACCORD_") and not any(word in name for word in secret)


def connected(cluster: Cluster) -> ModuleType:
    """Ray, connected to the cluster. Raises UserError."""
    ray = imported()
    if ray.is_initialized():
        return ray
    address = cluster.address or os.environ.get("RAY_ADDRESS")
    try:
        if address:
            _reach(address)  # where nobody answers, Ray ends this process
            ray.init(address=address, log_to_driver=True)
        else:
            ray.init(address="local", include_dashboard=False, log_to_driver=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"the Ray cluster is not reached: {first_line(error)}",
            where="cluster.address",
            remedy="Start one with `accord cluster up`, or give the address that `ray start --head` has printed; its "
            "token has to be in RAY_AUTH_TOKEN, or in the file that RAY_AUTH_TOKEN_PATH names.",
        ) from error
    return ray


def _reach(address: str) -> None:
    """Raises OSError where nobody answers, and ValueError for what is no address."""
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdecimal():
        raise ValueError(f"{address!r} is not HOST:PORT")
    with closing(socket.create_connection((host.rpartition("/")[2], int(port)), timeout=10.0)):
        pass


def imported() -> ModuleType:
    """Raises UserError where Ray is not installed, or is too old."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # read while it is imported
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "60")  # a busy machine takes its time
    try:
        import ray
    except ImportError as error:
        remedy = "pip install 'accord[ray]', or write `cluster: {kind: local, workers: 2}` for this machine alone."
        raise UserError("Ray is not installed", where="cluster.kind", remedy=remedy) from error
    module: ModuleType = ray
    if tuple(int(part) for part in ray.__version__.split(".")[:2]) < OLDEST:
        what = f"Ray {ray.__version__} is too old"
        raise UserError(what, where="cluster.kind", remedy="pip install --upgrade 'accord[ray]' on every machine.")
    return module


def _gpus(ray: ModuleType, cluster: Cluster) -> int:
    if cluster.gpus_per_worker is not None:
        return cluster.gpus_per_worker
    return int(ray.cluster_resources().get("GPU", 0) > 0)


def _num_workers(ray: ModuleType, gpus: int) -> int:
    if gpus:
        return int(ray.cluster_resources()["GPU"])
    return sum(node["Alive"] for node in ray.nodes())


def _check_versions(about: Sequence[Mapping[str, Any]]) -> None:
    """Raises UserError for a worker that is not as this process is, or as the first one."""
    import accord

    own = {"Python": platform.python_version(), "Accord": accord.__version__, "torch": about[0]["versions"]["torch"]}
    for one in about:
        for name, version in own.items():
            if one["versions"][name] != version:
                what = f"the worker on {one['host']} has {name} {one['versions'][name]}, and others have {version}"
                raise UserError(what, where="cluster", remedy="Install the same versions on every machine.")
