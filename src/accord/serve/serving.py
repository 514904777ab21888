"""`accord serve`: policies and rewards on a port of this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType

import uvicorn

from accord.api.models import Reward, load_policy
from accord.api.sources import find_policy, ready_folder
from accord.engine.engines import EngineName
from accord.engine.sampling import Engine
from accord.errors import UserError
from accord.models.policy import Policy
from accord.ports import LOOPBACK, address, listen
from accord.serve.app import create_app
from accord.serve.guard import key_of_environment
from accord.serve.reward_worker import RewardWorker
from accord.serve.worker import NUM_SLOTS, Worker

_PATIENCE = 5  # seconds that requests have to end, once the server is to stop


def check_best_of(best_of: int, num_policies: int, num_rewards: int) -> None:
    """Raises UserError for a best of N that nobody can choose, or that cannot be written at once."""
    if best_of == 1:
        return
    if num_rewards != 1 or not num_policies:
        what = f"--best-of wants a policy and one reward that chooses, and there are {num_policies} and {num_rewards}"
        raise UserError(what, remedy="Name one with --reward.")
    if best_of > NUM_SLOTS:
        what = f"--best-of {best_of} is more than can be written at once, which is {NUM_SLOTS}"
        raise UserError(what, remedy=f"Ask for at most {NUM_SLOTS}.")


def check_engine(engine: EngineName, num_policies: int) -> None:
    """Raises UserError for an engine that is not installed, or cannot serve so many policies."""
    if engine == "torch":
        return
    if num_policies != 1:
        what = f"--engine {engine} serves one policy, and there are {num_policies}"
        raise UserError(what, remedy="Start a server for each policy, or leave --engine out.")
    from accord.engine.vllm_engine import require_vllm

    require_vllm()


def open_policy(source: str, store: Path, engine: EngineName) -> Policy | Engine:
    """What writes, from what it is called. Raises UserError."""
    if engine == "torch":
        return load_policy(source, store=store).engine
    from accord.engine.vllm_engine import VllmEngine

    return VllmEngine(ready_folder(find_policy(source, store)), num_slots=NUM_SLOTS)


def serve(
    policies: Mapping[str, Policy | Engine],
    rewards: Mapping[str, Reward],
    *,
    best_of: int = 1,
    host: str,
    port: int,
    names: Sequence[str],
    say: Callable[[str], None],
) -> None:
    """Serves until it is stopped. best_of: as `check_best_of` allows. port: 0 for one that is free. names: by which it
    is asked, beside the loopback's and `host`. say: prints a line. Raises UserError."""
    key = key_of_environment()
    with closing(listen(host, port)) as listening:
        workers = {name: Worker(policy) for name, policy in policies.items()}
        scoring = {name: RewardWorker(name, reward) for name, reward in rewards.items()}
        hosts = [*LOOPBACK, *names, host]
        app = create_app(workers, scoring, best_of=best_of, key=key, hosts=hosts)
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="off")
        for kind, found in (("models", policies), ("rewards", rewards)):
            if found:
                say(f"{kind}: {', '.join(found)}")
        if key is not None:
            say("clients send the key of ACCORD_API_KEY")
        say(f"serving {address(host, listening.getsockname()[1])}/v1; Ctrl-C stops")
        _Server(config, list(workers.values()), say).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Gives requests some time to end when it is to stop, and says so. What is not written by then fails."""

    def __init__(self, config: uvicorn.Config, workers: Sequence[Worker], say: Callable[[str], None]) -> None:
        super().__init__(config)
        self._workers, self._say = workers, say
        self._timer = threading.Timer(_PATIENCE, self._give_up)
        self._timer.daemon = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            super().handle_exit(sig, frame)
            self._timer.start()  # whether anything is being answered or not: a request may be on its way
            if num := len(self.server_state.tasks):
                requests = "1 request is" if num == 1 else f"{num} requests are"
                self._say(f"stopping: {requests} being answered, for {_PATIENCE} s at most; Ctrl-C stops at once")
        elif not self._timer.finished.is_set():
            self._timer.cancel()
            self._give_up()
        else:
            super().handle_exit(sig, frame)

    def _give_up(self) -> None:
        for worker in self._workers:
            worker.give_up("the server stops")
