"""The keys of a step that asks a language model to judge: where it is, and what it is asked. Not a step."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from accord.collect.judge_prompts import PAIRWISE, judge_prompt
from accord.errors import UserError
from accord.paths import text_file
from accord.rewards.http_json import check_url, is_local
from accord.steps.base import Caution, Contradiction, Job
from accord.strict import StrictModel

if TYPE_CHECKING:
    from accord.collect.askers import Asker, EndpointAsker
    from accord.collect.judge import JudgeAnnotator


class Endpoint(StrictModel):
    """endpoint: the base URL of an OpenAI-compatible API, as https://judge.example/v1. model: its name there. timeout,
    retries, concurrent, key_env: as a `reward_endpoint` has them. skip_declined: a question that the endpoint declines,
    as too long or by a filter, counts as unanswered, rather than as an error."""

    endpoint: str | None = None
    model: str | None = Field(None, min_length=1)
    timeout: float = Field(120.0, gt=0, le=3600)
    retries: int = Field(4, ge=0, le=20)
    concurrent: int = Field(4, gt=0, le=64)
    key_env: str | None = Field(None, pattern=r"^[A-Za-z_]\w*$")
    skip_declined: bool = False

    @field_validator("endpoint")
    @classmethod
    def _is_url(cls, url: str | None) -> str | None:
        if url is not None:
            try:
                check_url(url)
            except ValueError as error:
                raise Contradiction("endpoint", str(error), "As in https://judge.example/v1.") from error
        return url

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        if (self.endpoint is None) != (self.model is None):
            raise ValueError("endpoint and model go together: the API, and the model's name there")
        return self

    def asker(self, store: Path) -> Asker:
        """Of several processes that compute a step one asks. Raises UserError when the key is not there."""
        from accord.collect.asked_once import asked_once

        assert self.model is not None
        return asked_once(lambda: self._endpoint_asker(store), self.model)

    def _endpoint_asker(self, store: Path) -> EndpointAsker:
        from accord.collect.askers import endpoint_asker

        assert self.endpoint is not None
        assert self.model is not None
        return endpoint_asker(
            self.endpoint,
            self.model,
            store,
            key_env=self.key_env,
            timeout=self.timeout,
            retries=self.retries,
            concurrent=self.concurrent,
            skip_declined=self.skip_declined,
        )


class Asked(StrictModel):
    """prompt: `pairwise-1`, `pairwise-explained-1`; in points `points-2` (expected values), `points-1`, `rubric-2` or
    `rubric-1`; or a .yaml file. rubric: a text file for a prompt with a place for it."""

    prompt: str = Field(PAIRWISE, min_length=1)
    rubric: str | None = Field(None, min_length=1)
    fingerprint: str = ""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        """The texts of the prompt and the rubric decide what is answered, and not what their files are called."""
        if not isinstance(values, dict):
            return values
        try:
            prompt = judge_prompt(str(values.get("prompt", PAIRWISE))).prompt
            rubric = text_file(str(values["rubric"]), "the rubric") if values.get("rubric") else ""
        except UserError as error:
            raise ValueError(error.what) from error
        if prompt.asks_for_rubric != bool(rubric):
            raise ValueError("a rubric goes with a prompt that has a place for it, such as rubric-2, and the other way")
        texts = json.dumps([prompt.model_dump(mode="json"), rubric])
        return {**values, "fingerprint": hashlib.sha256(texts.encode()).hexdigest()}

    def annotator(self, asker: Any) -> JudgeAnnotator:
        from accord.collect.judge import JudgeAnnotator

        rubric = text_file(self.rubric, "the rubric") if self.rubric else ""
        return JudgeAnnotator(asker, judge_prompt(self.prompt), rubric)


_JUDGED = ("judge", "harmbench", "strongreject")


def check_judge(config: Any, keys: Sequence[str] = ("by",)) -> None:
    """Of a step with the key `judge`, a policy. keys: those that say `judge`, or what a judge is asked, where one is to
    judge. Raises Contradiction unless one is named who judges, or nobody where nobody is to."""
    asking = [key for key in keys if getattr(config, key) in _JUDGED]
    judges = [name for name in ("endpoint", "judge") if getattr(config, name) is not None]
    if asking and len(judges) != 1:
        what = "a judge is either the model of an endpoint, or a policy" if judges else "nobody is named who judges"
        raise Contradiction(asking[0], what, "Give `endpoint` and `model`, or `judge: POLICY`.")
    if judges and not asking:
        what = f"{judges[0]} is who judges, and `by: {config.by}` decides"
        raise Contradiction(judges[0], what, f"Write `by: judge`, or leave out {judges[0]}.")


def judge_asker(job: Job) -> Asker:
    """Of a step whose config has passed `check_judge`, and asks one."""
    from accord.collect.policy_asker import PolicyAsker
    from accord.models.compute import compute_dtype
    from accord.models.policy import Policy

    if job.config.judge is not None:
        source = job.input("judge")
        return PolicyAsker(Policy.load(source.model, compute_dtype()), source.name)
    assert job.store is not None, "a recipe has a store"
    asker: Asker = job.config.asker(job.store.root)
    return asker


def key_cautions(config: Endpoint, key: str | None = None) -> Iterator[Caution]:
    """Of a key that is not there, or that everybody on the way could read. key: of the step's Config, where `config` is
    the value of one."""
    if config.endpoint is not None and config.key_env is not None:
        if not os.environ.get(config.key_env):
            what = f"the environment variable {config.key_env} is not set."
            yield Caution(key or "key_env", what, "Set it before the run.")
        if urlsplit(config.endpoint).scheme == "http" and not is_local(config.endpoint):
            yield Caution(key or "endpoint", "the key is sent in the clear, as is all else.", "Use https.")
