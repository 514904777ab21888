"""Policies and rewards to call from Python: thin shells over the engine's."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from accord.api.prompts import (
    PromptLike,
    ResponseLike,
    check_sampling,
    check_temperature,
    prompt_of,
    prompts_of,
    responses_of,
)
from accord.api.sources import DEFAULT_STORE, find_policy, find_reward, ready_folder
from accord.engine.rollout import context_of, roll_out
from accord.engine.sampler import Request, Sampler
from accord.engine.scorer import padded, per_token
from accord.errors import UserError
from accord.models.compute import compute_dtype
from accord.models.policy import Policy as EnginePolicy
from accord.rewards.functions import FunctionReward
from accord.rewards.loading import artifact_reward
from accord.rewards.loading import load_reward as folder_reward
from accord.rewards.stored import StoredReward
from accord.rewards.stored import raw as raw_scores
from accord.store.artifacts import Artifact
from accord.store.place import store_folder
from accord.text.batching import micro_batches
from accord.text.streaming import StreamDecoder
from accord.types import Prompt
from accord.user_code import Source

_NUM_SLOTS = 128
_MAX_TOKENS = 2048  # in a batch of the forward-only pass


def load_policy(source: str | Path, *, store: str | Path = DEFAULT_STORE) -> Policy:
    """A policy by what it is called: a run (its last policy), RUN:STEP, a folder, a built-in model's name, a .gguf
    file or a hub id. A model that is not ready for Accord is prepared once, in the cache. Raises UserError."""
    folder = ready_folder(find_policy(str(source), store_folder(store)))
    return Policy(EnginePolicy.load(folder, compute_dtype()), folder)


def load_reward(source: str | Path, *, store: str | Path = DEFAULT_STORE) -> Reward:
    """A reward by what it is called: a run (what its last policy was trained on), RUN:STEP, a folder of a reward model
    (anybody's that AutoModelForSequenceClassification opens with one label), or FILE.py:FUNCTION. The code of a step's
    function is run, a step's server asked, and rewards that others make up opened, only if the step is of this `store`.
    Raises UserError."""
    found = find_reward(str(source), store_folder(store))
    if isinstance(found, Artifact):
        return Reward(artifact_reward(found, compute_dtype()), str(source))
    if isinstance(found, Path):
        return Reward(folder_reward(found, compute_dtype()), str(source))
    file, function = found
    return Reward(FunctionReward.of(Source.read(file).load(function)), str(source))


class Policy:
    """A language model that answers prompts. folder: where it lies, an ordinary Hugging Face folder."""

    def __init__(self, policy: EnginePolicy, folder: Path) -> None:
        self._policy, self.folder = policy, folder

    @property
    def engine(self) -> EnginePolicy:
        """What it is a shell of."""
        return self._policy

    def __repr__(self) -> str:
        return f"<accord.Policy {str(self.folder)!r}>"

    def sample(
        self,
        prompts: Iterable[PromptLike],
        *,
        num_samples: int = 1,
        max_response_tokens: int = 256,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> list[list[str]]:
        """`num_samples` responses to each prompt, `[P][K]`.

        prompts: texts, lists of {"role", "content"}, or Prompts. temperature: 0 takes the most probable token. What is
        drawn depends on the seed and the prompt's place in the list (a Prompt's id). A response ends at the latest
        where the model's context does. Raises UserError when a prompt is too long.
        """
        check_sampling(num_samples, max_response_tokens, temperature)
        given = prompts_of(prompts)
        rooms = [self._room(prompt, max_response_tokens) for prompt in given]
        out: list[list[str]] = [[] for _ in given]
        for room in sorted(set(rooms)):  # mostly one
            places = [i for i, own in enumerate(rooms) if own == room]
            rollout = roll_out(
                self._policy,
                [given[i] for i in places],
                num_samples=num_samples,
                max_response_tokens=room,
                temperature=temperature,
                key=(seed, "sample"),
                num_slots=min(_NUM_SLOTS, len(places) * num_samples),
            )
            for i, responses in zip(places, rollout.responses, strict=True):
                out[i] = [response.text for response in responses]
        return out

    def stream(
        self, prompt: PromptLike, *, max_response_tokens: int = 256, temperature: float = 1.0, seed: int = 0
    ) -> Stream:
        """One response, piece by piece: what `sample` would give for the prompt alone. Raises UserError."""
        check_sampling(1, max_response_tokens, temperature)
        given = prompt_of(prompt)
        return Stream(self._policy, given, self._room(given, max_response_tokens), temperature, (seed, "sample"))

    def logprobs(
        self, prompts: Iterable[PromptLike], responses: Iterable[Iterable[ResponseLike]], *, temperature: float = 1.0
    ) -> list[list[float]]:
        """The log-probability of each response, `[P][K]`: in nats, summed over its tokens and the end of its turn.

        prompts, responses: [P] and `[P][K]`. Raises UserError, also when a prompt and a response to it are too long.
        """
        check_temperature(temperature)
        given = prompts_of(prompts)
        answers = responses_of(responses, len(given))
        template = self._policy.template
        trees = [template.tree(prompt, of_prompt) for prompt, of_prompt in zip(given, answers, strict=True)]
        if not trees:
            return []
        for prompt, tree in zip(given, trees, strict=True):
            num = len(tree.prompt_ids) + max(len(branch.ids) for branch in tree.branches)
            if self.context is not None and num > self.context:
                raise self._too_long(prompt, f"the prompt and a response have {num} tokens")
        micros = micro_batches(trees, _MAX_TOKENS)
        flat = per_token(micros, lambda batch: self._policy.token_logprobs(batch, temperature).logprobs)
        values, mask = padded(micros, flat, trees)
        return nested(torch.where(mask, values, 0.0).sum(dim=1), [len(of_prompt) for of_prompt in answers])

    def num_tokens(self, prompt: PromptLike) -> int:
        """How many tokens the prompt is, with what the chat template writes around it."""
        return len(self._policy.template.prompt_ids(prompt_of(prompt)))

    @property
    def context(self) -> int | None:
        """How many tokens it can read and write in all; None when its config does not say."""
        return context_of(self._policy.module.config)

    def save(self, folder: str | Path) -> None:
        """Copies its Hugging Face folder to `folder`, which must not be there. Raises UserError."""
        target = Path(folder)
        if target.exists():
            raise UserError("there is something at this path already", where=str(target), remedy="Name another folder.")
        shutil.copytree(self.folder, target)

    def _room(self, prompt: Prompt, wanted: int) -> int:
        num = len(self._policy.template.prompt_ids(prompt))
        if self.context is not None and num >= self.context:
            raise self._too_long(prompt, f"the prompt has {num} tokens")
        return wanted if self.context is None else min(wanted, self.context - num)

    def _too_long(self, prompt: Prompt, what: str) -> UserError:
        what = f"{what}, and the model reads at most {self.context}"
        return UserError(what, where=f"prompt {prompt.id!r}", remedy="Shorten it.")


class Stream(Iterator[str]):
    """Pieces of a response as they are written. text: all so far. finished: the response ended its turn, rather than
    ran out of tokens; False as long as it is being written."""

    def __init__(
        self,
        policy: EnginePolicy,
        prompt: Prompt,
        max_response_tokens: int,
        temperature: float,
        key: tuple[int | str, ...],
    ) -> None:
        ids = policy.template.prompt_ids(prompt)
        self._sampler = Sampler(
            policy,
            num_slots=1,
            max_response_tokens=max_response_tokens,
            temperature=temperature,
        )
        self._sampler.submit(Request(ids, 1, (*key, prompt.id)))
        self._decoder = StreamDecoder(policy.template, ids[-1:])
        self.text, self.finished = "", False

    def __next__(self) -> str:
        while self._sampler.busy:
            ended = self._sampler.step()
            sample = ended[0] if ended else self._sampler.active[0]
            self.finished = bool(ended) and sample.finished
            if piece := self._decoder.feed(sample.ids, final=bool(ended)):
                self.text += piece
                return piece
        raise StopIteration


class Reward:
    """What says how good responses are. source: what it was loaded from."""

    def __init__(self, reward: StoredReward, source: str) -> None:
        self._reward, self.source = reward, source

    @property
    def engine(self) -> StoredReward:
        """What it is a shell of."""
        return self._reward

    def __repr__(self) -> str:
        return f"<accord.Reward {self.source!r}>"

    def score(
        self,
        prompts: Iterable[PromptLike],
        responses: Iterable[Iterable[ResponseLike]],
        *,
        normalised: bool = True,
    ) -> list[list[float]]:
        """The score of each response, `[P][K]`; higher is better.

        normalised: in the units in which PPO sees it, for a model trained by Accord mean 0 and variance 1 over its
        training responses; otherwise as the model or the function gives it; the parts of a combined reward stay
        normalised. Raises UserError.
        """
        given = prompts_of(prompts)
        answers = responses_of(responses, len(given))
        if not given:
            return []
        scores = self._reward.score(given, answers)
        if not normalised:
            scores = raw_scores(self._reward, scores)
        return nested(scores, [len(of_prompt) for of_prompt in answers])


def nested(flat: torch.Tensor, counts: Iterable[int]) -> list[list[float]]:
    """`[P][K]` from [P * K]; `counts`: the K of each prompt."""
    values = iter(flat.tolist())
    return [[next(values) for _ in range(count)] for count in counts]
