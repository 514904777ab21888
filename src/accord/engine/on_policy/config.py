"""What training on a policy's own samples can be told. No tensors here: a recipe is checked without loading them.

    RolloutConfig     what every such method has: sampling, what a response is worth, optimizer steps
      OnPolicyConfig  policy gradients: the KL to the reference, clipping
        PPOConfig     a value model and GAE
        RLOOConfig    the other samples of the prompt as the baseline
        GRPOConfig    the group's mean and spread
      OnlineDPOConfig   pairs of samples, and a loss of direct preference optimisation

Learning rates are for all weights: the policy's of Huang et al. 2024 (arXiv:2403.17031), the value model's ours. Score
units are those of the reward as it is given: of a reward model of this program mean 0 and variance 1 over what it was
normalised on.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from accord.engine.config import Optimization
from accord.engine.direct.config import PreferenceLossConfig
from accord.engine.ending import Ending
from accord.engine.engines import EngineName
from accord.models.lora import Lora, without_dropout
from accord.strict import Later

Decay = Literal["constant", "linear", "cosine"]

IMPORTANCE_CAP: Final = 2.0  # where sampler and learner compute apart


class RolloutConfig(Ending):
    """Sampling, scoring and optimizer steps.

    engine: who writes the responses, "torch", the policy itself; or "vllm", which is given the policy's weights before
    each rollout (`make install-vllm`), and draws other responses. staleness: by how many updates the policy that
    samples is behind the one that learns, 0; or 1, where each rollout but the first is drawn before the update of the
    iteration before its own, as asynchronous training has it (Noukhovitch et al. 2024, arXiv:2410.18252).
    num_iterations: rollouts, each followed by its
    update; all of them, those in which only a value model learns too. prompts_per_iteration: different prompts in a
    rollout. num_samples: responses to each. max_response_tokens:
    a longer response is cut off. temperature: of sampling, and of all logprobs. truncation_score: replaces the
    score of an unfinished response, in the reward's units (null: leaves it). truncation_penalty: is subtracted from
    it. mask_truncated: unfinished responses give no gradient. score_normalisation: "batch", to mean 0 and variance
    1 over a rollout; "running", over all rollouts so far; "none". score_clip: scores are held between plus and
    minus this, after that (null: not). learning_rate: AdamW's, at its highest. warmup: the share of the iterations
    over which learning rates rise from 0. decay: how they fall after that. final_learning_rate: where `decay` ends,
    as a share. betas, adam_epsilon, weight_decay: AdamW's. adam_form: "pytorch"; "tensorflow", where adam_epsilon
    is added before the second moment is corrected for its start from 0, as in OpenAI's code (Huang et al. 2023).
    max_grad_norm: larger gradients are scaled down to this norm. num_minibatches, num_epochs: optimizer steps an
    iteration are their product. ptx_coef: what the loss of the pre-training examples in `ptx_data` is multiplied by
    (both are means over tokens). ptx_examples: so many of them for each response of an iteration. ema: the policy
    that is kept is the exponential moving average of the weights, of this decay an iteration (null: the last
    weights). max_tokens: tokens in a micro-batch. watch_every: iterations between two looks of
    the rewards that only watch. lora: train adapters in place of all weights, without dropout; the models then
    share one copy of the weights.
    """

    engine: Annotated[EngineName, Later()] = "torch"
    staleness: Annotated[Literal[0, 1], Later()] = 0
    num_iterations: int = Field(30, gt=0)
    prompts_per_iteration: int = Field(16, gt=0)
    num_samples: int = Field(4, gt=0)
    max_response_tokens: int = Field(48, gt=0)
    temperature: float = Field(1.0, gt=0)
    truncation_score: float | None = -1.0
    truncation_penalty: float = Field(0.0, ge=0)
    mask_truncated: bool = False
    score_normalisation: Literal["none", "batch", "running"] = "none"
    score_clip: float | None = Field(None, gt=0)
    learning_rate: float = Field(3e-6, gt=0)
    warmup: float = Field(0.05, ge=0, lt=1)
    decay: Decay = "constant"
    final_learning_rate: float = Field(0.0, ge=0, le=1)
    betas: tuple[float, float] = (0.9, 0.95)
    adam_epsilon: float = Field(1e-5, gt=0)
    adam_form: Literal["pytorch", "tensorflow"] = "pytorch"
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    num_epochs: int = Field(1, gt=0)
    num_minibatches: int = Field(2, gt=0)
    ptx_coef: float = Field(0.0, ge=0)
    ptx_examples: float = Field(1.0, gt=0)
    ema: float | None = Field(None, gt=0, lt=1)
    max_tokens: int = Field(1024, gt=0)
    watch_every: int = Field(4, gt=0)
    lora: Lora | None = None

    @model_validator(mode="after")
    def _check_rollouts(self) -> Self:
        without_dropout(self.lora)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas lie from 0 up to, but not including, 1")
        return self

    @property
    def num_sequences(self) -> int:
        """Of an iteration."""
        return self.prompts_per_iteration * self.num_samples

    @property
    def num_policy_iterations(self) -> int:
        """In which the policy learns: the last ones, and of most methods all."""
        return self.num_iterations

    def optimization(self) -> Optimization:
        of_tensorflow = self.adam_form == "tensorflow"
        return Optimization(self.betas, self.adam_epsilon, self.weight_decay, self.max_grad_norm, of_tensorflow)

    def learning_rate_scale(self, iteration: int) -> float:
        """What every learning rate is multiplied by in an iteration, in (0, 1]. iteration: counted from 0, of those in
        which the policy learns."""
        num = self.num_policy_iterations
        num_warmup = round(self.warmup * num)
        if iteration < num_warmup:
            return (iteration + 1) / (num_warmup + 1)
        done = (iteration - num_warmup) / max(1, num - num_warmup)
        left = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[self.decay]
        return self.final_learning_rate + (1 - self.final_learning_rate) * left


class OnPolicyConfig(RolloutConfig):
    """Policy gradients with a KL penalty.

    kl_coef: score units per nat of the KL to the reference (with kl_target, where it starts). kl_target: nats per
    sequence; null keeps kl_coef fixed. kl_horizon: the share of the run's sequences over which an error of 20 % moves
    kl_coef by 20 %: a horizon in sequences, as papers give it, does nothing in a short run. kl_horizon_sequences: that
    horizon in sequences, in place of kl_horizon. kl_estimator: k1, log(policy / reference), unbiased; k2, half its
    square; k3, never negative (Schulman 2020). kl_in: "reward", where the penalty is part of each token's reward;
    "loss", where its own gradient is taken. stop_at_kl: the run ends with the first iteration whose samples have a KL
    per sequence above it, in nats; that iteration's update is still made, and the policy after it is kept (null: the
    run does not end so). max_update_kl_per_token: the remaining optimizer steps of an iteration, the
    value model's too, are left out once the policy moved so far from the one that sampled, in nats per token (null:
    none are). clip_range: of the ratio of
    probabilities, below 1. clip_range_high: above 1 (null: clip_range). dual_clip: the most that a token of negative
    advantage may cost, in multiples of the advantage (null: no limit). entropy_coef: what the entropy of each token is
    rewarded with. importance_cap: tokens are weighted by the ratio of the learner's probability to the sampler's, held
    at this or below (Yao et al. 2025; null: they are not weighted). With `engine: vllm` it is 2 unless you say so.
    """

    kl_coef: float = Field(0.05, ge=0)
    kl_target: float | None = Field(None, gt=0)
    kl_horizon: float = Field(0.05, gt=0)
    kl_horizon_sequences: float | None = Field(None, gt=0)
    kl_estimator: Literal["k1", "k2", "k3"] = "k1"
    kl_in: Literal["reward", "loss"] = "reward"
    stop_at_kl: float | None = Field(None, gt=0)
    max_update_kl_per_token: float | None = Field(None, gt=0)
    clip_range: float = Field(0.2, gt=0)
    clip_range_high: float | None = Field(None, gt=0)
    dual_clip: float | None = Field(None, gt=1)
    entropy_coef: float = Field(0.0, ge=0)
    importance_cap: float | None = Field(None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _weigh_what_another_sampled(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("engine") == "vllm":
            return {"importance_cap": IMPORTANCE_CAP, **values}
        return values

    @property
    def horizon(self) -> float:
        """Of the adaptive KL coefficient, in sequences."""
        return self.kl_horizon_sequences or self.kl_horizon * self.num_policy_iterations * self.num_sequences


class PPOConfig(OnPolicyConfig):
    """PPO (Schulman et al. 2017) on language (Ziegler et al. 2019).

    value_model: "separate", a model of its own; "shared", a head on the policy's. value_start: what a separate one
    starts from, "reward", "policy" or null: the reward model when it is one with the policy's own tokens, and else the
    policy. value_learning_rate: as learning_rate, for a separate one. value_warmup: in so many of the iterations, the
    first ones, only the value model learns. value_coef: what the value loss is multiplied by where weights are shared.
    value_clip_range: of a value around its old one, in score units (null: none). gamma: discount of later rewards. lam:
    GAE's lambda; 1 takes nothing from the value model but variance. whiten_rewards: the tokens' rewards are scaled to
    variance 1 over a rollout, their mean kept. whiten_advantages: to mean 0 and variance 1. whiten_over: the tokens
    of the "rollout", or of each "minibatch" by itself, as in OpenAI's code.
    """

    value_model: Literal["separate", "shared"] = "separate"
    value_start: Literal["reward", "policy"] | None = None
    value_learning_rate: float = Field(1e-5, gt=0)
    value_warmup: int = Field(0, ge=0)
    value_coef: float = Field(0.1, gt=0)
    value_clip_range: float | None = Field(0.5, gt=0)
    gamma: float = Field(1.0, gt=0, le=1)
    lam: float = Field(0.95, ge=0, le=1)
    whiten_rewards: bool = False
    whiten_advantages: bool = True
    whiten_over: Literal["rollout", "minibatch"] = "rollout"

    @property
    def num_policy_iterations(self) -> int:
        return self.num_iterations - self.value_warmup


class RLOOConfig(OnPolicyConfig):
    """REINFORCE leave-one-out (Kool et al. 2019; Ahmadian et al. 2024): a response's baseline is the mean of the
    prompt's other responses.

    ratio: "sequence", the response is one action, as in the paper; "token". whiten_advantages: to mean 0 and variance 1
    over a rollout's responses.
    """

    num_minibatches: int = Field(1, gt=0)
    ratio: Literal["sequence", "token"] = "sequence"
    whiten_advantages: bool = False


class GRPOConfig(OnPolicyConfig):
    """Group-relative policy optimisation (Shao et al. 2024, arXiv:2402.03300), and what followed it.

    scale: an advantage is divided by the spread of the "group", of the "batch", or "none" (Liu et al. 2025,
    arXiv:2503.20783). ratio: "token", each token has its own; "sequence", a response has one, the geometric mean of its
    tokens' (GSPO, Zheng et al. 2025, arXiv:2507.18071, eq. 7), which is clipped and averaged over responses; it lies
    close to 1, and the paper's clip_range is 3e-4, its clip_range_high 4e-4. aggregation: the loss is the mean over
    responses of the mean over a response's tokens ("sequence", the paper's), the mean over all tokens ("token", DAPO,
    arXiv:2503.14476), or the sum over tokens divided by max_response_tokens, whatever their number ("constant", Liu et
    al.).
    """

    num_samples: int = Field(8, gt=0)
    num_minibatches: int = Field(1, gt=0)
    kl_coef: float = Field(0.04, ge=0)
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    kl_in: Literal["reward", "loss"] = "loss"
    scale: Literal["group", "batch", "none"] = "group"
    ratio: Literal["token", "sequence"] = "token"
    aggregation: Literal["sequence", "token", "constant"] = "sequence"


class OnlineDPOConfig(RolloutConfig, PreferenceLossConfig):
    """Direct preference optimisation of a policy's own samples, as a reward orders them (Guo et al. 2024,
    arXiv:2402.04792, "OAIF").

    A prompt's loss is the mean over its pairs; one without a pair adds nothing. Log-probabilities are at the
    temperature of sampling, the reference's too, so that the policy that is trained is the one that samples.

    pairs: "best-worst", of a prompt's samples the one of highest score against the one of lowest; "all", every two that
    are no tie. tie_below: scores that differ by less than this, and equal scores, are a tie. reference_every: after so
    many iterations, and again and again, the reference becomes the policy as it then is (null: it stays what it was).
    """

    num_samples: int = Field(2, gt=0)
    pairs: Literal["best-worst", "all"] = "best-worst"
    tie_below: float = Field(0.0, ge=0)
    reference_every: int | None = Field(None, gt=0)
