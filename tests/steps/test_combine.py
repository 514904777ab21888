from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.errors import UserError
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.rewards.combined import CombinedReward
from accord.rewards.loading import artifact_reward, load_reward
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.types import Message, Prompt, Response
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]

PROMPT = Prompt("a", (Message("user", "Write a line of a film review."),))
RESPONSES = [Response("It is warm"), Response("A")]
PARTS = (
    "  - reward_rule: {name: a, rule: length}\n"  # 3 and 1
    "  - reward_rule: {name: b, rule: length, unit: characters, offset: 1, gain: 0.5}\n"  # (10 - 1) / 2 = 4.5 and 0
    "  - reward_rule: {name: c, rule: contains, words: [warm]}\n"  # 1 and 0
)


@pytest.fixture(autouse=True)
def data(made_up: str) -> None: ...


def load(folder: Path, run: Path, step: str = "both") -> CombinedReward:
    artifact = Store(folder / "store").at(run / "steps" / step)
    assert artifact is not None
    reward = artifact_reward(artifact, torch.float32)
    assert isinstance(reward, CombinedReward)
    return reward


BY_HAND = {
    "rewards: [a, b, c]": [8.5, 1.0],
    "rewards: [a, b, c], weights: [1, 2, -1]": [11.0, 1.0],
    "rewards: [a, b], how: mean, offset: 1, gain: 2": [5.5, -1.0],
    "rewards: [a, b, c], how: worst": [1.0, 0.0],
    # means 8.5 / 3 and 1 / 3; variances (9 + 20.25 + 1) / 3 - (8.5 / 3)^2 and 1 / 3 - 1 / 9
    "rewards: [a, b, c], how: uncertainty, coef: 2": [17 / 6 - 2 * (30.25 / 3 - (17 / 6) ** 2), 1 / 3 - 4 / 9],
}


def test_by_hand(tmp_path: Path, tiny_model: Path):
    steps = "".join(f"  - combine: {{name: by-{at}, {config}}}\n" for at, config in enumerate(BY_HAND))
    run = run_steps(tmp_path, tiny_model, PARTS + steps)
    for at, expected in enumerate(BY_HAND.values()):
        reward = load(tmp_path, run, f"by-{at}")
        assert reward.score([PROMPT], [RESPONSES]).tolist() == pytest.approx(expected, abs=1e-5)
        assert reward.members([PROMPT], [RESPONSES])[0].tolist() == [3.0, 1.0]


def test_models_and_combinations_in_combinations(tmp_path: Path, tiny_model: Path):
    """Each as it is normalised by its own step; prompts are counted once."""
    steps = PARTS + "  - combine: {name: inner, rewards: [a, c], how: mean}\n"
    steps += "  - reward: {name: learned, data: mine.pairs, batch_size: 4}\n"
    steps += "  - combine: {name: both, rewards: [learned, inner], weights: [1, 3]}\n"
    run = run_steps(tmp_path, tiny_model, steps)
    told: list[int] = []
    scores = load(tmp_path, run).score([PROMPT, PROMPT], [RESPONSES, RESPONSES], told.append)
    model = load_reward(run / "steps/learned", torch.float32).score([PROMPT], [RESPONSES])
    expected = (model + 3 * torch.tensor([2.0, 0.5])).tolist()
    assert scores.tolist() == pytest.approx(expected * 2, abs=1e-4)
    assert sum(told) == 2


def test_ppo_takes_it_and_watches_it(tmp_path: Path, tiny_model: Path):
    steps = PARTS + "  - combine: {name: both, rewards: [a, c]}\n"
    steps += "  - ppo: {prompts: mine.prompts, reward: both, watch: [both], num_iterations: 1, num_samples: 2,"
    run = run_steps(tmp_path, tiny_model, steps + " prompts_per_iteration: 4, max_response_tokens: 6}\n")
    (row,) = [json.loads(line) for line in (run / "steps/ppo/metrics.jsonl").read_text().splitlines()]
    assert row["watch/both"] == pytest.approx(row["objective/scores"])


def test_a_part_that_is_gone_or_changed(tmp_path: Path, tiny_model: Path):
    run = run_steps(tmp_path, tiny_model, PARTS + "  - combine: {name: both, rewards: [a, b]}\n")
    part = (run / "steps/b").resolve()
    file = part / "reward.json"
    text = file.read_text()
    file.write_text(text.replace("0.5", "1.5"))
    with pytest.raises(UserError, match=r"reward\.json is not what was written"):
        load(tmp_path, run)
    shutil.rmtree(part)
    with pytest.raises(UserError, match="the reward 'b', which it is made of, is not in the store\n  Run its recipe"):
        load(tmp_path, run)


def test_a_copy_outside_the_store_is_refused(tmp_path: Path, tiny_model: Path):
    run = run_steps(tmp_path, tiny_model, PARTS + "  - combine: {name: both, rewards: [a, b]}\n")
    copy = shutil.copytree((run / "steps/both").resolve(), tmp_path / "copy")
    with pytest.raises(UserError, match="is not one model, and such are opened from a store of your own alone"):
        load_reward(copy, torch.float32)


def plan(model: Path, config: str) -> Any:
    text = f"model: {json.dumps(str(model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n{PARTS}"
    text += "  - reward: {name: m, data: mine.pairs}\n" + f"  - combine: {{{config}}}\n"
    return make_plan(parse_recipe(text, Path("few.yaml")), STEPS)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("rewards: [a]", ".rewards: "),
        ("rewards: [a, mine]", ".rewards.1: 'mine' is a data set, and a reward is wanted here"),
        (
            "rewards: [a, b], how: mean, weights: [1, 2]",
            ".weights: weights are for a sum, and the rewards are combined",
        ),
        ("rewards: [a, b], weights: [1]", ".weights: there are 1 weights for 2 rewards\n  Give one weight for each"),
        ("rewards: [a, b], weights: [0, 0]", ".weights: with weights of 0 all responses are equal"),
        ("rewards: [a, b], coef: 1", ".coef: coef weighs the variance in `how: uncertainty`, and the rewards are"),
        ("rewards: [a, a]", ".rewards: 'a' is among the rewards twice\n  Give it a weight of 2 in a sum."),
        ("rewards: [a, b], gain: 0", ": a gain of 0 makes all responses equal"),
    ],
)
def test_what_a_plan_refuses(tiny_model: Path, config: str, message: str):
    with pytest.raises(UserError) as caught:
        plan(tiny_model, config)
    assert str(caught.value).startswith("few.yaml:8:combine" + message)


def test_what_a_plan_warns_of(tiny_model: Path):
    (caution,) = plan(tiny_model, "rewards: [m, a], how: worst").cautions
    assert caution == (
        "few.yaml:8:combine.how: 'worst' compares the rewards, and 'a' is in another unit than trained models. "
        "Give it an offset and a gain that bring it to mean 0 and variance 1, or write `how: sum`."
    )
    assert not plan(tiny_model, "rewards: [m, a]").cautions
    assert not plan(tiny_model, "rewards: [a, b], how: worst").cautions
    assert not plan(tiny_model, "rewards: [m, b], how: worst").cautions, "b has a gain of its own"


@pytest.mark.parametrize(
    ("weights", "what"),
    [
        (
            "[-1, 0]",
            "no weight is above 0, so a response is the better the worse the rewards find it. Turn their signs",
        ),
        ("[-1, -2]", "no weight is above 0"),
        ("[0.3, -0.3]", "the weights add up to 0: only how far the rewards differ counts, and what all of them like"),
    ],
)
def test_weights_that_are_hardly_meant(tiny_model: Path, weights: str, what: str):
    (caution,) = plan(tiny_model, f"rewards: [a, b], weights: {weights}").cautions
    assert caution.startswith(f"few.yaml:8:combine.weights: {what}")
    assert caution.endswith("unless that is meant.")
    assert not plan(tiny_model, "rewards: [a, b], weights: [1, -0.5]").cautions


def test_what_is_watched_says_how_far_the_parts_are_apart(tmp_path: Path, tiny_model: Path):
    from accord.engine.reward import watched

    run = run_steps(tmp_path, tiny_model, PARTS + "  - combine: {name: both, rewards: [a, c], how: mean}\n")
    # 3 and 1, of which the mean is 2 and each is 1 away; 1 and 0: 0.5 and 0.5
    assert watched("both", load(tmp_path, run), [PROMPT], [RESPONSES]) == {
        "watch/both": 1.25,
        "spread/both": 0.75,
    }
    assert watched("a", load(tmp_path, run).rewards[0], [PROMPT], [RESPONSES]) == {"watch/a": 2.0}
