"""The step that holds proxies against gold: on rules, whose curve is known, after trainings, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accord.errors import Interrupted, UserError
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.results import write_report
from accord.rewards.kept import KeptScores
from accord.rewards.ruled import RuleReward
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.store.workspace import MetricsLog, Workspace
from tests.fixtures.recipes import run_steps
from tests.fixtures.two_kinds import two_kinds

__all__ = ["two_kinds"]

pytestmark = pytest.mark.usefixtures("two_kinds")

START = """\
  - reward_rule: {name: gold, rule: length, unit: characters}
  - reward_rule: {name: turned, rule: length, unit: characters, gain: -1}
  - reward_rule: {name: words, rule: length, unit: words}
  - sample: {name: many, policies: [start], prompts: mine.helpful, num_prompts: 4, num_responses: 8,
      max_response_tokens: 8}
"""
PPO = """\
  - rloo: {reward: turned, prompts: mine.helpful, watch: [gold], watch_every: 1, num_iterations: 4, kl_coef: 0,
      learning_rate: 1.0e-2, prompts_per_iteration: 4, num_samples: 4, max_response_tokens: 8, truncation_score: null}
"""
HALF = "  - combine: {name: half, rewards: [gold, words]}\n"
STUDY = "  - overoptimization: {gold: gold, samples: many, proxies: [turned, words]}\n"


def results(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "steps/overoptimization/results.json").read_text())
    return found


def test_best_of_n_by_rules(tmp_path: Path, tiny_model: Path):
    """Choosing the shortest loses what choosing the longest gains; choosing by words is in between."""
    run = run_steps(tmp_path, tiny_model, START + STUDY)
    found = results(run)["best_of_n"]
    assert found["n"] == [1, 2, 4, 8]
    turned, words = found["proxies"]["turned"], found["proxies"]["words"]
    assert turned["gold"] == sorted(turned["gold"], reverse=True)
    assert found["gold"] == sorted(found["gold"])
    assert turned["proxy"][-1] > 0 > turned["gold"][-1]
    assert turned["gold"][-1] < words["gold"][-1] <= found["gold"][-1]
    assert turned["fit"]["peak"] is None
    samples = json.loads((run / "steps/overoptimization/samples.json").read_text())
    assert [[*one["responses"]][1] for one in samples[::4]] == [
        f"best of 8 by {by}" for by in ("turned", "words", "gold")
    ]
    for one, by in zip(samples[::4], ("turned", "words", "gold"), strict=True):
        before, after = one["responses"].values()
        assert (len(after) <= len(before)) if by == "turned" else (len(after.split()) >= len(before.split()))
        assert ("proxy" in one) == (by != "gold")
        assert all(one[who].keys() == one["responses"].keys() for who in ("gold", "proxy") if who in one)
    assert samples[0]["gold"]["best of 8 by turned"] == pytest.approx(
        -samples[0]["proxy"]["best of 8 by turned"], abs=1e-5
    )
    write_report(run, Store(tmp_path / "store"))
    page = (run / "report.html").read_text()
    assert "how far the proxies can be trusted" in page
    assert "none: gold falls from the start" in page
    assert "12 of 12 samples beside the baseline" in page
    assert "best of 8 by turned" in page
    assert "No samples were kept" not in page


def test_trainings(tmp_path: Path, tiny_model: Path):
    """What gold saw of a training against a turned rule, in the unit of the samples, for gold and proxy alike."""
    study = "  - overoptimization: {gold: gold, samples: many, proxies: [turned], policies: [rloo]}\n"
    run = run_steps(tmp_path, tiny_model, START + PPO + study)
    training = results(run)["training"]["rloo"]
    assert training["proxy_in_deviations"] is True
    points = training["points"]["rloo"]
    assert len(points) == 4
    assert points[0][1:] == [0.0, 0.0]
    for _, proxy, gold in points:
        assert proxy == pytest.approx(-gold, abs=1e-5)
    run = run_steps(tmp_path, tiny_model, START + PPO + study.replace("[turned]", "[words]"))
    training = results(run)["training"]["rloo"]
    assert training["proxy_in_deviations"] is False, "it was not trained on words"
    assert training["points"]["rloo"][-1][1] != pytest.approx(points[-1][1], abs=1e-3)


def test_where_a_training_broke_nothing_was_seen(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    study = "  - overoptimization: {gold: gold, samples: many, proxies: [turned], policies: [rloo]}\n"
    read = MetricsLog.read

    def broken(log: MetricsLog) -> list[dict[str, Any]]:
        rows = read(log)
        return [row | ({"objective/kl": float("nan")} if at == 2 else {}) for at, row in enumerate(rows)]

    with monkeypatch.context() as patched:
        patched.setattr(MetricsLog, "read", broken)
        run = run_steps(tmp_path, tiny_model, START + PPO + study)
    assert len(results(run)["training"]["rloo"]["points"]["rloo"]) == 3


def test_what_is_combined_of_others_asks_them_once(tmp_path: Path, tiny_model: Path, asked: list[RuleReward]):
    steps = START + "  - combine: {name: both, rewards: [turned, words], weights: [1, 4]}\n"
    study = "  - overoptimization: {gold: gold, samples: many, proxies: [%s]}\n"
    alone = results(run_steps(tmp_path / "alone", tiny_model, steps + study % "both"))
    asked.clear()
    together = results(run_steps(tmp_path / "together", tiny_model, steps + study % "turned, words, both"))
    assert len(asked) == 3
    for key in ("gold", "proxy"):
        of_alone, of_together = (one["best_of_n"]["proxies"]["both"][key] for one in (alone, together))
        assert of_together == pytest.approx(of_alone, abs=1e-6)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[RuleReward]:
    """The rules that are asked from here on, in their order."""
    found, score = [], RuleReward.score
    monkeypatch.setattr(RuleReward, "score", lambda *given: found.append(given[0]) or score(*given))
    return found


def test_a_stopped_step_goes_on(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, asked: list[RuleReward]
):
    """What was scored before is in the store."""
    whole = run_steps(tmp_path / "whole", tiny_model, START + STUDY)
    keep = KeptScores.keep
    with monkeypatch.context() as patched:

        def stopped(self: KeptScores, *given: Any) -> None:
            keep(self, *given)
            if len(asked) == 3 + 2:
                patched.setattr(Workspace, "stop_requested", lambda _: True)

        patched.setattr(KeptScores, "keep", stopped)
        with pytest.raises(Interrupted):
            run_steps(tmp_path / "part", tiny_model, START + STUDY)
    asked.clear()
    assert results(run_steps(tmp_path / "part", tiny_model, START + STUDY)) == results(whole)
    assert len(asked) == 1


def test_another_study_of_the_same_samples_asks_only_rewards_that_are_new(
    tmp_path: Path, tiny_model: Path, asked: list[RuleReward], capfd: pytest.CaptureFixture[str]
):
    first = results(run_steps(tmp_path, tiny_model, START + STUDY))
    assert len(asked) == 3
    compared = STUDY.replace("words]", "words], compare: [[words, turned]]")
    again = results(run_steps(tmp_path, tiny_model, START + compared))
    assert len(asked) == 3
    assert "overoptimization: the scores by 3 of 3 rewards were in the store" in capfd.readouterr().err
    assert again["best_of_n"]["proxies"] == first["best_of_n"]["proxies"]
    assert len(again["best_of_n"]["differences"]) == 1
    more = START + "  - reward_rule: {name: near, rule: length, unit: words, target: 3}\n"
    run_steps(tmp_path, tiny_model, more + STUDY.replace("words]", "words, near]"))
    assert len(asked) == 4
    run_steps(tmp_path, tiny_model, START.replace("num_prompts: 4", "num_prompts: 3") + STUDY)
    assert len(asked) == 7, "these are other samples"


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (START + "  - overoptimization: {gold: gold, samples: many}\n", "neither a proxy nor a policy"),
        (START + "  - overoptimization: {gold: gold, samples: many, proxies: [gold]}\n", "'gold' is the gold reward"),
        (
            START + "  - overoptimization: {gold: gold, samples: many, proxies: [words, words]}\n",
            "'words' is among the proxies twice",
        ),
        (
            START.replace("name: words", "name: turned_1")
            + "  - reward_rule: {name: turned_2, rule: length, unit: words}\n"
            + STUDY.replace("words]", "turned_1, turned_2]"),
            "two curves would be called 'turned'",
        ),
        (
            START
            + "  - overoptimization: {gold: gold, samples: many, proxies: [turned, words], compare: [[turn, words]]}\n",
            "'turn' is no curve of the proxies",
        ),
        (
            START.replace("num_responses: 8", "num_responses: 4") + STUDY,
            "'many' has 4 responses to a prompt, and a curve needs 8",
        ),
        (
            START
            + PPO.replace("watch: [gold]", "watch: [words]")
            + "  - overoptimization: {gold: gold, samples: many, policies: [rloo]}\n",
            "'gold' did not watch the training of 'rloo'",
        ),
        (
            START + PPO + "  - overoptimization: {gold: turned, samples: many, policies: [rloo]}\n",
            "'turned' did not watch the training of 'rloo'",
        ),
        (
            START + HALF + "  - overoptimization: {gold: gold, samples: many, proxies: [half]}\n",
            "'half' is made of the gold",
        ),
        (
            START
            + HALF
            + PPO.replace("reward: turned", "reward: half")
            + "  - overoptimization: {gold: gold, samples: many, policies: [rloo]}\n",
            "'rloo' was trained against the gold",
        ),
        (
            START
            + PPO.replace("reward: turned", "name: first, reward: gold").replace("watch: [gold], watch_every: 1, ", "")
            + PPO
            + "  - overoptimization: {gold: gold, samples: many, policies: [rloo]}\n",
            "'rloo' was trained against the gold",
        ),
        (
            START + STUDY.replace("words]", "words], compare: [[words, words]]"),
            "'words' is compared with itself",
        ),
        (
            START + STUDY.replace("words]", "words], compare: [words, turned]"),
            r"compare: it takes a list of pairs: \[\[words, turned\]\]",
        ),
    ],
)
def test_what_a_plan_refuses(tiny_model: Path, steps: str, message: str):
    text = f"model: {json.dumps(str(tiny_model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n" + steps
    with pytest.raises(UserError, match=message):
        make_plan(parse_recipe(text, Path("few.yaml")), STEPS)


def test_a_training_that_starts_elsewhere_is_cautioned_of(tiny_model: Path):
    sft = "  - sft: {data: mine.demos}\n"
    study = "  - overoptimization: {gold: gold, samples: many, policies: [rloo]}\n"
    steps = START + sft + PPO.replace("reward: turned", "start: sft, reference: start, reward: turned") + study
    text = f"model: {json.dumps(str(tiny_model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n" + steps
    cautions = make_plan(parse_recipe(text, Path("few.yaml")), STEPS).cautions
    assert any("'rloo' starts elsewhere than at its reference" in one for one in cautions)
    same = make_plan(parse_recipe(text.replace("reference: start", "reference: sft"), Path("few.yaml")), STEPS).cautions
    assert not any("starts elsewhere" in one for one in same)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (START + PPO, ""),
        (
            START + PPO.replace("watch_every: 1", "watch_every: 3"),
            "'gold' looks at 'rloo' 2 times, and a curve needs 4. Lower rloo.watch_every",
        ),
        (
            START + "  - sft: {data: mine.demos}\n" + PPO,
            "'rloo' starts from 'sft', and 'many', the unit of scores",
        ),
        (START + PPO.replace("kl_coef", "temperature: 0.7, kl_coef"), "Set many.temperatures to [0.7]"),
    ],
)
def test_a_training_that_gives_no_curve_of_the_samples_is_cautioned_of(tiny_model: Path, steps: str, words: str):
    study = "  - overoptimization: {gold: gold, samples: many, proxies: [turned], policies: [rloo]}\n"
    text = f"model: {json.dumps(str(tiny_model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n" + steps + study
    found = [
        one for one in make_plan(parse_recipe(text, Path("few.yaml")), STEPS).cautions if "overoptimization" in one
    ]
    assert len(found) == bool(words), found
    assert all(words in one for one in found), found


def test_a_reward_with_one_score_for_all(tmp_path: Path, tiny_model: Path):
    steps = START + "  - reward_rule: {name: never, rule: contains, words: [quincunx]}\n"
    with pytest.raises(UserError, match="one score, by 'never'"):
        run_steps(tmp_path, tiny_model, steps + "  - overoptimization: {gold: gold, samples: many, proxies: [never]}\n")
