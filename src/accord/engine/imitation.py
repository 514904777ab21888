"""Maximum likelihood of given responses: supervised fine-tuning, and the second half of rejection sampling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from accord.algorithms.likelihood import negative_log_likelihood
from accord.algorithms.loss import Loss
from accord.engine.config import TrainingConfig
from accord.engine.learner import Learner
from accord.engine.training import train
from accord.errors import UserError
from accord.models.folders import compute_dtype
from accord.models.policy import Policy
from accord.store.checkpoints import Checkpoint
from accord.store.workspace import Workspace
from accord.text.batching import micro_batches, shared_prompts
from accord.types import Demonstration


def imitate(
    start: Path,
    demonstrations: Sequence[Demonstration],
    config: TrainingConfig,
    *,
    check_boundaries: bool,
    max_response_tokens: int | None,
    joint_tokens: int,
    seed: int,
    work: Workspace,
    label: str,
    checkpoint: Checkpoint | None,
) -> dict[str, int]:
    """Trains the policy in the folder `start` and saves it to out/model. Returns how many demonstrations were used.

    check_boundaries: refuse demonstrations that a tokenizer joins to their prompt; a policy's own samples may do so.
    max_response_tokens: longer demonstrations are left out (None: none).
    joint_tokens: demonstrations with equal prompts are computed as branches of one tree of at most so many tokens.
    """
    policy = Policy.load(start)
    template = policy.template
    trees = [template.tree(demonstration.prompt, [demonstration.response]) for demonstration in demonstrations]
    if check_boundaries:
        for demonstration in demonstrations:
            template.check_boundary(demonstration.prompt, demonstration.response)
    if max_response_tokens is not None:
        trees = [tree for tree in trees if len(tree.branches[0].ids) <= max_response_tokens]
    if not trees:
        raise UserError(
            f"of {len(demonstrations)} demonstrations none has a response of at most {max_response_tokens} tokens",
            where=label,
            remedy="Raise max_response_tokens, or look at the data.",
        )
    learner = Learner(policy.module, compute_dtype(), config.optimization())

    def losses_of(indices: tuple[int, ...]) -> Iterator[Loss]:
        joined = shared_prompts([trees[i] for i in indices], joint_tokens)
        for micro in micro_batches(joined, template.pad_id, config.max_tokens):
            yield negative_log_likelihood(policy.token_logprobs(micro.batch).logprobs)

    train(learner, len(trees), losses_of, config, seed=seed, work=work, label=label, checkpoint=checkpoint)
    policy.save(work.out / "model", learner.masters)
    return {"num_demonstrations": len(trees), "num_too_long": len(demonstrations) - len(trees)}
