"""A reward model of others: a sequence classification model with one label, for everything that takes a reward.

Its tokenizer may be another than the policy's: text is rendered with its own chat template, and its score is read at
the end of the assistant's turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from accord.errors import UserError
from accord.steps.base import Job, StepConfig, StepKind
from accord.steps.prepared import record
from accord.store.artifacts import MODEL

if TYPE_CHECKING:
    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work


class Config(StepConfig):
    """source: a folder or a hub id. offset, gain: the reward is gain * (what the model says - offset); null is what the
    model's own config says (`score_offset` and `score_gain`, as Accord writes them), or else 0 and 1. PPO's settings
    expect scores of mean 0 and variance 1 over ordinary responses. chat_template: instead of the model's own, one by
    name (chatml, llama3, plain) or the path of a .jinja file, whose text is kept here. pad_token, end_of_turn: tokens
    of the vocabulary, where those that are found are not wanted."""

    source: str
    fingerprint: str
    offset: float | None = None
    gain: float | None = None
    chat_template: str | None = None
    pad_token: str | None = None
    end_of_turn: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: dict[str, Any]) -> dict[str, Any]:
        from pathlib import Path

        from accord.models.complete import check_files, check_score_head
        from accord.models.sources import fingerprint, locate

        source, given = values.get("source"), values.get("chat_template")
        if values.get("gain") == 0:
            raise ValueError("a gain of 0 makes all responses equal")
        if not isinstance(source, str):
            return {"fingerprint": "", **values}  # the field's own check says what is wrong
        place = locate(source)
        if place.form not in ("folder", "hub"):
            raise UserError(
                f"the model {source!r} has no score head, so it is not a reward model",
                remedy="Name a Hugging Face folder or a hub id of a sequence classification model with one label.",
            )
        if isinstance(given, str):
            from accord.text.chat_templates import NAMED, template_text

            values = {**values, "chat_template": given if given in NAMED else template_text(given)}
        check_files(source)
        if place.form == "folder":
            check_score_head(Path(place.path))
        return {**values, "fingerprint": fingerprint(source)}

    @model_serializer(mode="wrap")
    def _without_defaults(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is not given is not in the step's key."""
        return {name: value for name, value in plain(self).items() if value is not None}


def run(job: Job) -> None:
    """Writes the reward model's folder, model/, with the offset and gain in its config.json."""
    from accord.models.catalog import prepare_reward
    from accord.models.sources import pinned

    config: Config = job.config
    options = {name: getattr(config, name) for name in ("chat_template", "pad_token", "end_of_turn")}
    source = pinned(config.source, config.fingerprint)
    notes = prepare_reward(source, job.work.out / MODEL, options, score_offset=config.offset, score_gain=config.gain)
    record(job, source, config.fingerprint, notes)


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do, as if the model had the size of the recipe's."""
    from accord.engine.workload import Phase, Work

    return Work([Phase(kept=2 * sizes.scalar)], loaded=[sizes.scalar], saved=[sizes.scalar])


STEP = StepKind(produces="reward", version=1, config=Config, run=run, work=work)
