"""Safety context distillation (Llama 2, section 4.2.4): a policy learns to answer as if a preprompt told it to be safe.

Prompts that the policy answers unsafely are asked again with a preprompt, and the policy is fine-tuned on the prompts
without it. A response is kept only where the safety reward finds it safer than the original answer: on what was safe
already, context distillation does harm.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, cast

from pydantic import Field, model_validator

from accord.data.preprompts import load_preprompts
from accord.engine.config import TrainingConfig
from accord.engine.ending import Ending
from accord.errors import UserError
from accord.steps.base import (
    LATEST,
    Caution,
    Contradiction,
    DemonstrationsRef,
    Job,
    PlannedStep,
    PolicyRef,
    PromptsRef,
    RewardRef,
    StepConfig,
    StepKind,
)
from accord.steps.distill_work import work_of
from accord.steps.ending import check_ending
from accord.steps.judged import learning, slow_adapters
from accord.steps.reward_units import says_safety, taken_for_logit
from accord.strict import StrictModel

TRAINING = "training"  # the stage of checkpoints that name none


class Logit(StrictModel):
    """The logit of being safe is slope * raw score + bias."""

    slope: float
    bias: float = 0.0


class Config(StepConfig, TrainingConfig, Ending):
    """prompts: what is asked. start: the policy that answers, and is fine-tuned. reward: a safety reward, trained with
    `safety_coef`, whose raw score is the logit of being safe. calibration: of another reward, `{slope: S, bias: B}`,
    with which S * raw score + B is that logit; `{slope: 1}` says that the raw score is it already. only_adversarial:
    leave out prompts without a `risk_category`; on others context distillation causes false refusals. skip_prompts: the
    first so many of those are left to others. num_prompts: so many after them (null: all). below: asked again is what
    was answered with a probability of being safe below this; 1 takes all. context: the preprompt is `tailored` to the
    prompt's risk category, `generic`, or both are tried and the `best` response is taken. templates: a file of
    preprompts of one's own (null: ours). num_samples: responses to each prompt with each preprompt, of which the safest
    is taken. temperature: of all sampling here. max_response_tokens: a longer response is cut off, and not imitated.
    margin: a response is imitated where its logit of being safe is above that of the original answer by more than this.
    how: `sft` imitates the response; `kl` the distributions of the policy with the preprompt over its tokens, by the 50
    most probable tokens and the rest (Askell et al. 2021). demonstrations: of helpfulness, which are imitated, too;
    with `kl` the policy stays on them as it was. demonstrations_share: what they are of all that is imitated; so many
    are drawn, or all where there are fewer (null: all). held_out: prompts that are not learned from, on which safety is
    measured before and after. borderline: safe prompts that look like unsafe ones, on which false refusals are counted
    before and after."""

    prompts: PromptsRef
    reward: RewardRef
    start: PolicyRef = LATEST
    calibration: Logit | None = None
    only_adversarial: bool = True
    skip_prompts: int = Field(0, ge=0)
    num_prompts: int | None = Field(None, gt=0)
    below: float = Field(0.5, gt=0, le=1)
    context: Literal["tailored", "generic", "best"] = "best"
    templates: str | None = Field(None, min_length=1)
    num_samples: int = Field(4, gt=0)
    temperature: float = Field(1.0, gt=0)
    max_response_tokens: int = Field(256, gt=0)
    margin: float = Field(0.0, ge=0)
    how: Literal["sft", "kl"] = "sft"
    demonstrations: DemonstrationsRef | list[DemonstrationsRef] | None = None
    demonstrations_share: float | None = Field(None, gt=0, lt=1)
    held_out: PromptsRef | None = None
    borderline: PromptsRef | None = None
    fingerprint: str = ""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: dict[str, Any]) -> dict[str, Any]:
        """What the templates say, and not what their file is called, decides what comes out."""
        file = values.get("templates")
        known = file is None or (isinstance(file, str) and file)
        return {**values, "fingerprint": load_preprompts(file).fingerprint} if known else values

    @property
    def logit(self) -> Logit:
        """Of being safe, from the reward's raw score."""
        return self.calibration or Logit(slope=1.0)


def check(step: PlannedStep) -> Iterator[Caution]:
    """A score that is no logit of being safe, and keys that do not go together."""
    config = cast(Config, step.config)
    check_ending(step)
    (reward,), (asked,) = (link.step for link in step.parents["reward"]), step.parents["prompts"]
    list(taken_for_logit(reward, "reward"))  # what it cautions of has been said with a calibration
    if config.calibration is None and not says_safety(reward.kind, reward.config_json()):
        what = f"`below` and `margin` are on the logit of being safe, and the score of {reward.name!r} is none"
        raise Contradiction("reward", what, "Train it with `safety_coef`, or give its `calibration`.")
    if config.logit.slope == 0:
        raise Contradiction("calibration", "with a slope of 0 all responses are equally safe", "Give another.")
    if config.demonstrations == []:
        raise Contradiction("demonstrations", "an empty list names no data", "Leave it out, or name a part.")
    if config.demonstrations_share is not None and config.demonstrations is None:
        what = "it is a share of demonstrations, and there are none"
        raise Contradiction("demonstrations_share", what, "Name them as `demonstrations`, or leave this out.")
    if config.context == "tailored" and not config.only_adversarial:
        what = "a prompt without risk_category has no tailored preprompt, and such prompts are to be taken"
        raise Contradiction("context", what, "Write `context: best`, which asks them with the generic one alone.")
    if not config.only_adversarial:
        what = "prompts that nobody wrote to get an unsafe answer are distilled, which makes a policy refuse others."
        yield Caution("only_adversarial", what)
    for field in ("held_out", "borderline"):
        if any((link.step.key, link.part) == (asked.step.key, asked.part) for link in step.parents[field]):
            what = f"{asked.name} is what is distilled, so it tells nothing of other prompts"
            raise Contradiction(field, what, "Split it, or name another part.")
    yield from learning(step)
    yield from slow_adapters(config, "2e-4")


def run(job: Job) -> None:
    """Writes the policy's folder, model/; tried.jsonl, every prompt that was asked again, with the original answer, the
    best response with a preprompt, both scores, and whether it was kept; best.jsonl, what is imitated, as
    demonstrations; answers.jsonl, what is answered before and after; selection.json and results.json, how safe that is;
    and summary.json."""
    from accord.evaluate.distillation import alarms_of, brief, nothing_learned
    from accord.monitor.alarms import as_json
    from accord.steps import distill_measured, distilling
    from accord.steps.distill_tried import read_tried

    config: Config = job.config
    if load_preprompts(config.templates).fingerprint != config.fingerprint:
        what, remedy = "the templates have changed since the plan was made", "Run the same command again."
        raise UserError(what, where=f"{job.name}.templates", remedy=remedy)
    checkpoint = job.work.resume()
    stage = None if checkpoint is None else checkpoint.state.get("stage", TRAINING)
    if stage in (None, distilling.ASKING):
        distilling.prepare(job, checkpoint)
        checkpoint = None
    if stage == distill_measured.AFTER:
        assert checkpoint is not None
        trained = checkpoint.state["trained"]
    else:
        trained, checkpoint = distilling.learn(job, checkpoint), None
    chosen = distilling.selection(job)
    found = distill_measured.measure(job, checkpoint, trained, read_tried(job.work.out / distilling.TRIED))
    job.write_json(
        "results.json", {"below": config.below, "margin": config.margin, "contexts": chosen["contexts"], **found}
    )
    nothing = [] if chosen["counts"]["num_kept"] else [nothing_learned(chosen["counts"], config.below)]
    alarms = as_json([*nothing, *alarms_of(found)])
    job.write_json(
        "summary.json",
        {**chosen["counts"], **chosen["looked_at"], "training": trained, **brief(found), "alarms": alarms},
    )


STEP = StepKind(produces="policy", version=2, config=Config, run=run, work=work_of, check=check, together=True)
