"""What a plan refuses of a reward model, or warns of, before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.plan import Plan, make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from tests.fixtures.made_up_data import made_up

__all__ = ["made_up"]


def plan(model: Path, keys: str, above: str = "") -> Plan:
    data = "" if keys.startswith("data: ") else "data: mine.pairs, "
    step = f"  - reward:\n      {{{data}{keys}}}\n"
    text = f"model: {json.dumps(str(model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n{above}{step}"
    return make_plan(parse_recipe(text, Path("r.yaml")), STEPS)


SAMPLE = "  - sample: {prompts: mine.prompts}\n"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            "tie_probability: 0.2",
            "r.yaml:5:reward.tie_probability: ties are dropped, so no probability of theirs is used\n"
            "  Take tie_probability out, or set ties: rao-kupper or ties: davidson.",
        ),
        (
            "normalise: none, normalise_first: true",
            "r.yaml:5:reward.normalise_first: normalise_first says how scores are normalised, and normalise: none "
            "leaves them as they are\n  Take it out, or set normalise: mean-and-variance.",
        ),
        ("normalise: none, num_normalise: 5", "r.yaml:5:reward.num_normalise: num_normalise says how scores"),
        ("normalise: none, normalise_on: samples", "r.yaml:5:reward.normalise_on: normalise_on says how scores"),
        (
            "normalise: mean, normalise_first: true",
            "r.yaml:5:reward.normalise_first: normalise_first sets the variance of the first scores, and normalise: "
            "mean leaves variances alone\n  Take normalise_first out, or set normalise: mean-and-variance.",
        ),
        (
            "max_response_tokens: 9",
            "r.yaml:5:reward.max_response_tokens: nothing is sampled for a normalisation on data\n"
            "  Take max_response_tokens out, or set normalise_on: samples.",
        ),
        (
            "normalise_on: demonstrations",
            "r.yaml:5:reward.normalise_on: there are no demonstrations to normalise the scores on\n"
            "  Name a part with reference answers as `demonstrations`.",
        ),
        (
            "demonstrations: mine.demos",
            "r.yaml:5:reward.demonstrations: the scores are normalised on data, so demonstrations are not used\n"
            "  Take them out, or set normalise_on: demonstrations.",
        ),
        (
            "validation: mine.pairs",
            "r.yaml:5:reward.validation: mine.pairs is trained on, so it cannot be the validation\n"
            "  Split it, or name another part.",
        ),
        (
            "early_stopping: 3",
            "r.yaml:5:reward.early_stopping: early_stopping needs something to measure\n"
            "  Name the part with held-out data as `validation`, or remove this key.",
        ),
        ("validate_every: 3", "r.yaml:5:reward.validate_every: validate_every needs something to measure"),
        ("keep: best", "r.yaml:5:reward.keep: keep needs something to measure\n  Name the part"),
        (
            "loss: best, ties: davidson, margin: none",
            "r.yaml:5:reward.ties: loss: best learns which response is the best of all, and knows no ties\n"
            "  Take it out, or set loss: pairs.",
        ),
        (
            "loss: best, label_smoothing: 0.1",
            "r.yaml:5:reward.label_smoothing: loss: best has no pairs that could be the wrong way round\n  Take it",
        ),
        ("loss: worst", "r.yaml:5:reward.loss: it should be 'pairs' or 'best'"),
        ("label_smoothing: 0.5", "r.yaml:5:reward.label_smoothing: it should be less than 0.5"),
        ("tie_probability: 1, ties: davidson", "r.yaml:5:reward.tie_probability: it should be less than 1"),
        ("ties: bradley", "r.yaml:5:reward.ties: it should be 'drop', 'rao-kupper' or 'davidson'"),
        ("margin: [1, 0, 2, 3]", "r.yaml:5:reward.margin: the four margins ascend from 0 or more"),
        ("margin: [-1, 0, 2, 3]", "r.yaml:5:reward.margin: the four margins ascend from 0 or more"),
        ("margin: [0, 1]", "r.yaml:5:reward.margin: four numbers are wanted, for the levels from negligibly to"),
        ("margin_thresholds: [2, 1, 0]", "r.yaml:5:reward.margin_thresholds: four numbers are wanted, for the levels"),
        ("margin_thresholds: [2, 1, 3, 4]", "r.yaml:5:reward.margin_thresholds: the thresholds ascend"),
        ("data: []", "r.yaml:5:reward.data: an empty list names no data\n  Name a part, as in `mine.train`."),
        ("validation: []", "r.yaml:5:reward.validation: an empty list names no data\n  Name a part"),
    ],
)
def test_what_does_not_go_together(made_up: str, tiny_model: Path, keys: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        plan(tiny_model, keys)
    assert str(caught.value).startswith(message)


def test_responses_that_nobody_judged(made_up: str, tiny_model: Path) -> None:
    with pytest.raises(UserError) as caught:
        plan(tiny_model, "data: sample", SAMPLE)
    assert str(caught.value) == (
        "r.yaml:6:reward.data: nobody has judged the responses of 'sample', so there is nothing to learn from them\n"
        "  Put a step below it, `- collect: {comparisons: sample, ...}`, and name that here."
    )
    first = "  - reward: {name: first, data: mine.pairs}\n"
    plan(tiny_model, "data: collect", SAMPLE + first + "  - collect: {comparisons: sample, reward: first}\n")


def test_a_single_response_a_prompt_is_no_ranking(made_up: str, tiny_model: Path) -> None:
    with pytest.raises(UserError, match=r"r\.yaml:4:sample\.num_responses: it should be greater than 1"):
        plan(tiny_model, "data: sample", "  - sample: {prompts: mine.prompts, num_responses: 1}\n")


def test_margins_beside_a_model_of_ties(made_up: str, tiny_model: Path) -> None:
    assert plan(tiny_model, "ties: davidson, margin: small").cautions == (
        "r.yaml:5:reward.margin: with margins the probabilities of a win, of a loss and of a tie in davidson do not "
        "add up to 1. Set margin: none to read scores as probabilities.",
    )
    assert plan(tiny_model, "ties: davidson").cautions == ()
    assert plan(tiny_model, "margin: large").cautions == ()


def test_adapters_at_the_learning_rate_of_all_weights(made_up: str, tiny_model: Path) -> None:
    (caution,) = plan(tiny_model, "lora: {rank: 4}").cautions
    assert caution == (
        "r.yaml:5:reward.lora: the learning rate is 2e-05, as for all weights: adapters hardly move with it. "
        "Set learning_rate: 1e-4."
    )
    assert plan(tiny_model, "lora: {rank: 4}, learning_rate: 1.0e-4").cautions == ()


@pytest.mark.parametrize(
    "keys",
    [
        "normalise: none",
        "normalise: none, normalise_first: false",
        "normalise: mean, normalise_on: demonstrations, demonstrations: mine.demos",
        "normalise_on: samples, max_response_tokens: 9, normalise_first: true",
        "margin: [0, 0, 0, 1]",
        "keep: last, loss: best",
    ],
)
def test_what_goes_together(made_up: str, tiny_model: Path, keys: str) -> None:
    assert plan(tiny_model, keys).cautions == ()
