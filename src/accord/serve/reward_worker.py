"""A reward that is asked: what comes at once is scored together, in a thread of its own."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue

from accord.api.models import Reward
from accord.engine.rollout import context_of
from accord.errors import UserError
from accord.models.scalar import ScalarModel
from accord.rewards.combination import OfSeveral
from accord.rewards.learned import LearnedReward
from accord.serve.errors import Refusal
from accord.types import Prompt, Response

_MOST = 128  # responses that are scored in one call, which goes on when nobody waits any more

_Asked = tuple[Prompt, Response, "Future[float]"]


class RewardWorker:
    """name: by which messages call it."""

    def __init__(self, name: str, reward: Reward) -> None:
        self.name = name
        self._reward = reward
        self._models = _models(reward.engine)
        self._inbox: SimpleQueue[_Asked | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def num_tokens(self, prompt: Prompt, response: Response, param: str) -> int:
        """That its models read, 0 where it has none. Raises Refusal for what one of them cannot read."""
        num = 0
        for model in self._models:
            if found := model.template.control_token(prompt, [response]):
                raise Refusal(f"a text holds {found!r}, which begins or ends turns: take it out", param)
            with self._lock:
                try:
                    own = model.template.scored_tree(prompt, [response]).num_tokens
                except UserError as error:  # of the chat template
                    raise Refusal(error.what, param) from error
            context = context_of(model.module.config)
            if context is not None and own > context:
                what = f"the conversation has {own} tokens, and the reward model {self.name!r} reads at most {context}"
                raise Refusal(what, param)
            num += own
        return num

    def score(self, prompt: Prompt, response: Response) -> Future[float]:
        """Higher is better. Fails with a Refusal when the reward does."""
        future: Future[float] = Future()
        self._inbox.put((prompt, response, future))
        return future

    def close(self) -> None:
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (asked := self._inbox.get()) is not None:
            group, over = [asked], False
            with suppress(Empty):
                while len(group) < _MOST and not over:
                    more = self._inbox.get(block=False)
                    over = more is None
                    group += [more] if more is not None else []
            self._answer([one for one in group if one[2].set_running_or_notify_cancel()])
            if over:
                return

    def _answer(self, group: list[_Asked]) -> None:
        """One that fails keeps no other from its score."""
        try:
            scores = self._reward.score([one for one, _, _ in group], [[response] for _, response, _ in group])
        except Exception as error:
            if len(group) == 1:
                group[0][2].set_exception(_failure(error))
            else:
                for asked in group:
                    self._answer([asked])
            return
        for (_, _, future), (score,) in zip(group, scores, strict=True):
            future.set_result(score)


def _failure(error: Exception) -> Refusal:
    return Refusal(f"the reward failed: {error.what if isinstance(error, UserError) else error}", status=500)


def _models(reward: object) -> list[ScalarModel]:
    """The models that a reward reads with."""
    if isinstance(reward, LearnedReward):
        return [reward.model]
    return [model for part in reward.rewards for model in _models(part)] if isinstance(reward, OfSeveral) else []
