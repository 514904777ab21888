"""A reward that a server computes, asked over HTTP.

It is sent, as JSON, for n responses:

    {"prompts": [[{"role", "content"}, ...], ...], "responses": [...], "prefills": [...], "finished": [...],
     "prompt_ids": [...]}

each a list of n, as a function of the user's gets them (`accord.rewards.functions`), and answers n numbers, higher is
better: {"rewards": [0.3, ...]}, or "scores" in place of "rewards", or the list alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from threading import Event
from typing import Any

import torch
from torch import Tensor

from accord.engine.group import current
from accord.engine.leading import once
from accord.errors import UserError
from accord.models.scalar import Normalisation
from accord.rewards.functions import MARK, numbers, reward_arguments
from accord.rewards.http_json import Server
from accord.store.artifacts import Artifact
from accord.types import Prompt, Response

ANSWERS = ("rewards", "scores")
FIELDS = ("prompts", "responses", "prefills", "finished", "prompt_ids")


@dataclass(frozen=True, slots=True)
class EndpointReward:
    """gain * (what the server answers - offset). batch_size: responses in a request. concurrent: requests at once."""

    server: Server
    normalisation: Normalisation
    batch_size: int = 32
    concurrent: int = 4

    @classmethod
    def load(cls, artifact: Artifact) -> EndpointReward:
        """From what `save_endpoint` wrote. Raises UserError when it was changed since, or the key is not there."""
        artifact.verify()
        row = json.loads(artifact.file(MARK).read_text(encoding="utf-8"))
        server = Server(**row["server"])
        if current().rank == 0:  # who asks
            server.check_key()
        return cls(server, Normalisation(**row["normalisation"]), row["batch_size"], row["concurrent"])

    @once
    def score(
        self,
        prompts: Sequence[Prompt],
        responses: Sequence[Sequence[Response]],
        advance: Callable[[int], None] | None = None,
    ) -> Tensor:
        """[P * K]. Raises UserError for an answer that is not n finite numbers, and when there is none."""
        pairs = list(zip(prompts, responses, strict=True))
        flat = [(prompt, response) for prompt, of_prompt in pairs for response in of_prompt]
        ends = list(accumulate(len(of_prompt) for _, of_prompt in pairs))  # of each prompt, in `flat`
        scores: list[float] = []
        told = 0
        batches = [flat[at : at + self.batch_size] for at in range(0, len(flat), self.batch_size)]
        with closing(self._answers(batches)) as answers:
            for some in answers:
                scores += some
                done = sum(end <= len(scores) for end in ends)
                if advance:
                    advance(done - told)
                told = done
        return self.normalisation.gain * (torch.tensor(scores, dtype=torch.float32) - self.normalisation.offset)

    def _answers(self, batches: Sequence[Sequence[tuple[Prompt, Response]]]) -> Generator[list[float], None, None]:
        """The numbers of each batch, in order. What goes wrong with one ends the others."""
        stop = Event()
        with ThreadPoolExecutor(self.concurrent, thread_name_prefix="endpoint") as pool:
            asked = [pool.submit(self._ask, batch, stop) for batch in batches]
            try:
                for one in asked:
                    yield one.result()
            finally:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, batch: Sequence[tuple[Prompt, Response]], stop: Event) -> list[float]:
        arguments = reward_arguments(batch)
        answer = self.server.ask({name: arguments[name] for name in FIELDS}, stop)
        return numbers(_Returned(self.server), _listed(self.server, answer), len(batch))


@dataclass(frozen=True, slots=True)
class _Returned:
    """The server, as one who returned something."""

    server: Server

    def wrong(self, what: str) -> UserError:
        return self.server.wrong(what)


def _listed(server: Server, answer: Any) -> Any:
    """The numbers in an answer, unchecked. Raises UserError when it names none."""
    if not isinstance(answer, dict):
        return answer
    name = next((name for name in ANSWERS if name in answer), None)
    if name is None:
        raise server.wrong(
            'answered without "rewards"', 'It has to answer {"rewards": [one number for each response]}.'
        )
    return answer[name]


def save_endpoint(folder: Path, reward: EndpointReward) -> None:
    """Writes where to ask and how; of a key its name alone."""
    row = {
        "server": asdict(reward.server),
        "normalisation": asdict(reward.normalisation),
        "batch_size": reward.batch_size,
        "concurrent": reward.concurrent,
    }
    (folder / MARK).write_text(json.dumps(row, indent=2, allow_nan=False) + "\n", encoding="utf-8")
