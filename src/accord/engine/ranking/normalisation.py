"""What makes a reward model's scores comparable: which responses they are normalised on, and the offset and gain.

Ziegler et al. 2019 (arXiv:1909.08593) give scores mean 0 and variance 1 over responses that the starting policy
samples, before and after the training; Stiennon et al. 2020 (arXiv:2009.01325) and Ouyang et al. 2022
(arXiv:2203.02155) give reference answers a mean of 0. The head has no bias, as the class that others open the folder
with has none. So offset and gain are kept beside it in the end; what is done before the training is done to the head's
weights, and can only be the gain: losses of pairs do not see a constant, which the offset takes off in the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch

from accord.engine.ranking.config import Normalise, RankingConfig
from accord.engine.ranking.training import scores_of
from accord.engine.rollout import answerable, context_of, roll_out
from accord.errors import UserError
from accord.models import compute, folders
from accord.models.policy import Policy
from accord.models.scalar import Normalisation, ScalarModel
from accord.store.workspace import Workspace
from accord.text.batching import shuffled_batches
from accord.text.template import Template
from accord.text.tree import Tree
from accord.types import Demonstration, Prompt, Response


def normalisation_of(model: ScalarModel, trees: Sequence[Tree], kind: Normalise) -> Normalisation:
    """What gives the scores of these trees' responses mean 0 and variance 1, mean 0 alone, or nothing."""
    if kind == "none":
        return Normalisation()
    scores = torch.cat(scores_of(model, trees))
    if kind == "mean":
        return Normalisation(float(scores.mean()))
    return Normalisation(float(scores.mean()), 1 / max(float(scores.std()), 1e-6))


def order_of_training(num_examples: int, config: RankingConfig, seed: int, num_steps: int | None = None) -> list[int]:
    """The indices of examples as they are trained on, over all epochs, or in the first optimizer steps."""
    batches = shuffled_batches(num_examples, config.batch_size, config.num_epochs, seed)
    return [i for batch in islice(batches, num_steps) for i in batch]


def sampled_trees(
    start: Path, prompts: Sequence[Prompt], config: RankingConfig, *, seed: int, work: Workspace, label: str
) -> list[Tree]:
    """One response of the policy in the folder `start` to each prompt, at temperature 1, as a reward model reads it."""
    prompts, _ = answerable(prompts, [start], config.max_response_tokens, label)
    policy = Policy.load(start, compute.compute_dtype())
    with work.progress(f"{label}: sampling", len(prompts), "responses") as progress:
        rollout = roll_out(
            policy,
            prompts,
            num_samples=1,
            max_response_tokens=config.max_response_tokens,
            temperature=1.0,
            ending=config,
            key=(seed, "normalisation"),
            advance=work.advancer(progress),
        )
    return _trees(start, list(zip(rollout.prompts, rollout.responses, strict=True)), label)


def answered_trees(start: Path, demonstrations: Sequence[Demonstration], num: int, label: str) -> list[Tree]:
    """The first `num` reference answers that a reward model can read."""
    return _trees(start, [(one.prompt, (one.response,)) for one in demonstrations], label)[:num]


def _trees(start: Path, answers: Sequence[tuple[Prompt, tuple[Response, ...]]], label: str) -> list[Tree]:
    """Those that hold no control token and fit into the model. Raises UserError when fewer than two do."""
    template, context = Template(folders.load_tokenizer(start)), context_of(folders.load_config(start))
    plain = [(prompt, given) for prompt, given in answers if template.control_token(prompt, given) is None]
    trees = [template.scored_tree(prompt, given) for prompt, given in plain]
    trees = [tree for tree in trees if context is None or tree.depth <= context]
    if len(trees) < 2:
        raise UserError(
            f"of {len(answers)} responses to normalise the scores on, {len(trees)} can be used, and two are needed",
            where=label,
            remedy="Control tokens and the model's context leave responses out. Give more, or set normalise_on: data.",
        )
    return trees
