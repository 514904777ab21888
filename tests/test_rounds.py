"""Repeated blocks: the steps that they become, what names mean in them, and when they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.overrides import apply_overrides
from accord.plan import Plan
from accord.recipe import parse_recipe
from accord.run import run_recipe
from accord.settled import plan_in
from accord.steps.base import Caution, StepKind
from accord.steps.registry import STEPS
from accord.store.artifacts import Artifact, Store
from tests.fixtures.counting import CountConfig, World, store
from tests.fixtures.made_up_data import made_up
from tests.fixtures.plans import REGISTRY, PpoConfig, changed, no_run, plan_of
from tests.fixtures.recipes import run_steps

__all__ = ["made_up", "store"]

ROUNDS = """\
model: tiny
data: {reviews: made-up}
steps:
  - sft: {data: reviews.sft}
  - repeat:
      rounds: 3
      steps:
        - evaluate: {name: before, policies: [latest, previous]}
        - reward: {name: proxy, start: latest}
        - ppo: {name: reject, prompts: reviews.prompts, reward: proxy, kl_target: {by_round: [1, 2]}}
        - ppo: {prompts: reviews.prompts, reward: proxy, from_round: 3}
        - evaluate: {name: after, policies: [latest, previous, reject@earlier]}
  - evaluate: {policies: [start, reject@all, ppo, reject-2]}
"""


def inputs(plan: Plan, step: str, field: str) -> list[str]:
    """The steps that are behind a field."""
    return [link.step.name for link in plan.step(step).parents[field]]


def test_a_block_becomes_its_steps_in_every_round():
    plan = plan_of(ROUNDS)
    names = [step.name for step in plan.steps]
    assert names[:6] == ["model", "reviews", "sft", "before-1", "proxy-1", "reject-1"]
    assert names[-6:] == ["before-3", "proxy-3", "reject-3", "ppo-3", "after-3", "evaluate"]
    assert [name for name in names if name.startswith("ppo")] == ["ppo-3"]
    targets = [plan.step(f"reject-{n}").config_json()["kl_target"] for n in (1, 2, 3)]
    assert targets == [1.0, 2.0, 2.0]  # the last of by_round holds from then on
    assert len({plan.step(f"proxy-{n}").seed for n in (1, 2, 3)}) == 3
    assert {name: of.number for name, of in plan.rounds.items()}["after-2"] == 2
    assert plan.step("reject").name == "reject-3"


def test_every_round_starts_afresh_unless_told_otherwise():
    plan = plan_of(ROUNDS)
    assert [inputs(plan, f"reject-{n}", "start") for n in (1, 2, 3)] == [["sft"]] * 3
    assert inputs(plan, "ppo-3", "start") == ["reject-3"]  # the newest of its round
    assert [inputs(plan, f"proxy-{n}", "start") for n in (1, 2, 3)] == [["sft"], ["reject-1"], ["reject-2"]]
    other = plan_of(ROUNDS.replace("rounds: 3", "rounds: 3\n      start: model"))
    assert inputs(other, "reject-2", "start") == ["model"]
    on = plan_of(ROUNDS.replace("reject, prompts", "reject, start: latest, prompts"))
    assert [inputs(on, f"reject-{n}", "start") for n in (1, 2, 3)] == [["sft"], ["reject-1"], ["reject-2"]]


def test_latest_and_previous_are_policies_of_finished_rounds():
    plan = plan_of(ROUNDS)
    before = [inputs(plan, f"before-{n}", "policies") for n in (1, 2, 3)]
    assert before == [["sft"], ["reject-1", "sft"], ["reject-2", "reject-1"]]
    after = [inputs(plan, f"after-{n}", "policies") for n in (1, 2, 3)]
    assert after == [["reject-1", "sft"], ["reject-2", "reject-1"], ["ppo-3", "reject-2", "reject-1"]]


def test_names_of_a_block_from_outside():
    plan = plan_of(ROUNDS)
    assert inputs(plan, "evaluate", "policies") == ["model", "reject-1", "reject-2", "reject-3", "ppo-3", "reject-2"]
    assert inputs(plan_of(ROUNDS.replace("ppo, reject-2]", "reject]")), "evaluate", "policies")[-1] == "reject-3"


def test_one_round_more_keeps_the_keys_of_those_before():
    assert changed(plan_of(ROUNDS), plan_of(ROUNDS, ("after.policies=[latest, previous]",))) == {"after-3"}
    plan, longer = plan_of(ROUNDS), plan_of(ROUNDS, ("repeat.rounds=4",))
    assert {step.key for step in plan.steps[:-1]} < {step.key for step in longer.steps}
    assert changed(plan, plan_of(ROUNDS, ("reject.kl_target=3",))) >= {"reject-1", "reject-2", "reject-3"}


def test_a_caution_is_said_once():
    wary = StepKind("policy", 3, PpoConfig, no_run, check=lambda step: [Caution("reward", f"{step.name} is odd.")])
    cautions = plan_of(ROUNDS, registry={**REGISTRY, "ppo": wary}).cautions
    assert [one.partition(": ")[2] for one in cautions] == ["reject-1 is odd.", "ppo-3 is odd."]
    text = ROUNDS.replace("data: {reviews: made-up}", "data: {reviews: made-up, more: made-up}")
    assert len(plan_of(text).cautions) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rounds: 3", "rounds: 0", "r.yaml:6:steps.1.repeat.rounds: the number of rounds is not one"),
        ("rounds: 3", "rounds: yes", "the number of rounds is not one"),
        ("rounds: 3", "round: 3", "r.yaml:6:steps.1.repeat.round: unknown key 'round'\n  Did you mean 'rounds'?"),
        ("      rounds: 3\n", "", "the key 'rounds' is missing"),
        ("rounds: 3", "rounds: 3\n      start: prxy", "r.yaml:7:repeat.start: there is nothing called 'prxy'"),
        ("rounds: 3", "rounds: 3\n      start: reviews", "'reviews' is a data set, and a policy is wanted"),
        (
            "rounds: 3",
            "rounds: 3\n      until: aftr",
            "repeat.until: `until` is not the name of a step in the block",
        ),
        ("rounds: 3", "rounds: 3\n      until: proxy", "r.yaml:7:repeat.until: a step of kind 'reward' cannot say"),
        ("from_round: 3", "from_round: 0", "r.yaml:11:ppo.from_round: `from_round` is not a round"),
        ("from_round: 3", "from_round: 3, to_round: 2", "r.yaml:11:ppo.to_round: `to_round` is before `from_round`"),
        ("[1, 2]", "[]", "r.yaml:10:reject.kl_target: this is not a list of values by round"),
        ("[1, 2]", "[1, no]", "r.yaml:10:reject-2.kl_target: true and false are not wanted"),
        (
            "reward: proxy, from",
            "reward: proxy@previous, start: ppo@previous, from",
            "in round 3 there is no 'ppo@prev",
        ),
        (
            "reward: proxy, kl",
            "reward: proxy@previous, kl",
            "r.yaml:10:reject-1.reward: in round 1 there is no 'proxy@",
        ),
        ("reward: proxy, kl", "reward: proxy@all, kl", "one name is wanted here, and this stands for several"),
        ("reward: proxy, kl", "reward: sft@all, kl", "'sft' is no step of a repeated block"),
        ("reward: proxy, kl", "reward: proxy@next, kl", "'next' names no rounds"),
        (
            "name: before, policies: [latest",
            "name: before, policies: [reject",
            "r.yaml:8:before-1.policies.0: the step 'r",
        ),
        ("{name: proxy, start: latest}", "{name: proxy, start: reject}", "'reject' is not defined above in the round"),
        (
            "sft: {data: reviews.sft}",
            "sft: {name: reject-2, data: reviews.sft}",
            "'reject-2' is that of a step in a ro",
        ),
        ("sft: {data: reviews.sft}", "sft: {name: previous, data: reviews.sft}", "'previous' is reserved"),
        ("- reward: {name: proxy, start: latest}", "- repeat: {rounds: 2, steps: []}", "is inside another one"),
        ("data: reviews.sft", "data: reviews.sft, from_round: 2", "unknown key 'from_round'"),
    ],
)
def test_every_mistake_has_its_place(old: str, new: str, message: str):
    text = ROUNDS.replace(old, new, 1).replace("previous]}\n        - reward", "]}\n        - reward")
    with pytest.raises(UserError) as caught:
        plan_of(text)
    assert message in str(caught.value)


def test_names_that_can_never_be_there_are_no_empty_list():
    text = ROUNDS.replace("before, policies: [latest, previous]", "before, policies: [latest, reject]")
    with pytest.raises(UserError, match="'reject' is not defined above in the round"):
        plan_of(text)
    text = ROUNDS.replace("  - repeat:", "  - evaluate: {name: early, policies: [sft, reject]}\n  - repeat:")
    with pytest.raises(UserError, match="'reject' is a step of the repeated block 'repeat', which stands below"):
        plan_of(text)


def test_a_second_block_starts_from_what_the_first_has_made():
    more = "  - repeat: {name: more, rounds: 2, start: reject, steps: [ppo: {name: upon, reward: proxy, prompts: "
    plan = plan_of(ROUNDS + more + "reviews.prompts}]}\n")
    assert [inputs(plan, f"upon-{n}", "start") for n in (1, 2)] == [["reject-3"]] * 2
    assert inputs(plan, "upon-1", "reward") == ["proxy-3"]


def test_rounds_by_set():
    plan = plan_of(ROUNDS, ("ppo.from_round=2", "before.to_round=1"))
    assert [step.name for step in plan.steps if step.name.startswith(("ppo", "before"))] == [
        "before-1",
        "ppo-2",
        "ppo-3",
    ]
    with pytest.raises(UserError, match=r"--set ppo.from_round=0: `from_round` is not a round"):
        plan_of(ROUNDS, ("ppo.from_round=0",))
    (caution,) = plan_of(ROUNDS, ("repeat.rounds=2",)).cautions
    assert caution == "r.yaml:11:ppo.from_round: it runs in none of the 2 rounds. Lower from_round, or add rounds."


def test_values_by_round_are_for_rounds():
    with pytest.raises(UserError, match=r"r.yaml:4:sft.optimizer.rate: `by_round` is for steps in a repeated block"):
        plan_of(ROUNDS.replace("reviews.sft", "reviews.sft, optimizer: {rate: {by_round: [1]}}"))


def test_a_list_takes_what_there_is():
    text = ROUNDS.replace("latest, previous, reject@earlier]", "ppo, previous]")
    assert [inputs(plan_of(text), f"after-{n}", "policies")[0] for n in (1, 2, 3)] == ["sft", "reject-1", "ppo-3"]


@pytest.mark.parametrize("override", ["repeat.steps=[]", "repeat.rounds.a=1", "repeat.rounds=0", "reject.name=x"])
def test_overrides_that_a_block_does_not_take(override: str):
    with pytest.raises(UserError) as caught:
        plan_of(ROUNDS, (override,))
    assert caught.value.where == f"--set {override}"


# Blocks that end early.

COUNTED = """\
model: tiny
steps:
  - repeat:
      rounds: 4
      until: look
      steps:
        - count: {iterations: 1}
        - look: {iterations: 1}
  - count: {name: last, iterations: 1}
"""


class Looking(World):
    """Its kind `look` has seen enough once it has run `enough` times."""

    def __init__(self, enough: int) -> None:
        super().__init__()
        self.enough = enough
        self.registry["look"] = StepKind("results", 1, CountConfig, self.look, settled=self.settled)

    def look(self, job) -> None:
        self.ran.append(job.name)
        job.write_json("seen.json", int(job.name.removeprefix("look-")))

    def settled(self, artifact: Artifact) -> str | None:
        seen = json.loads(artifact.file("seen.json").read_text())
        return "it has seen enough" if seen >= self.enough else None


def run(world: World, store: Store, **options) -> tuple[list[str], list[str]]:
    said: list[str] = []
    world.ran.clear()
    recipe = apply_overrides(parse_recipe(COUNTED, Path("r.yaml")), ())
    run_recipe(recipe, world.registry, store, say=said.append, min_free_bytes=0, **options)
    return list(world.ran), said


def test_a_block_ends_when_the_step_says_so_and_the_rest_goes_on(store: Store):
    world = Looking(enough=2)
    ran, said = run(world, store)
    assert ran == ["model", "count-1", "look-1", "count-2", "look-2", "last"]
    assert "repeat: round 2 is the last of 4: it has seen enough" in said
    rows = json.loads((store.root / "runs/r/plan.json").read_text())["steps"]
    assert [row["name"] for row in rows][-1] == "last"
    assert all(row["artifact"] for row in rows)
    last = store.find("count", rows[-1]["key"])
    assert last.manifest["parents"]["start"][0]["name"] == "latest"
    assert last.manifest["parents"]["start"][0]["key"] == rows[3]["key"]  # count-2
    ran, said = run(world, store)
    assert ran == []
    assert sum(": cached" in line for line in said) == 6


def test_all_rounds_when_it_never_says_so(store: Store):
    ran, said = run(Looking(enough=9), store)
    assert ran[-3:] == ["count-4", "look-4", "last"]
    assert not any("is the last" in line for line in said)


def test_until_a_round_that_is_not_reached(store: Store):
    ran, _ = run(Looking(enough=2), store, until="look-3")
    assert ran == ["model", "count-1", "look-1", "count-2", "look-2"]


def test_the_last_round_ends_nothing(store: Store):
    _, said = run(Looking(enough=4), store)
    assert not any("is the last" in line for line in said)


def test_what_the_store_knows_of_a_plan(store: Store):
    world = Looking(enough=1)
    recipe = parse_recipe(COUNTED, Path("r.yaml"))
    plan, ended = plan_in(store, recipe, world.registry)
    assert (len(plan.steps), ended) == (10, {})
    run(world, store)
    plan, ended = plan_in(store, recipe, world.registry)
    assert [step.name for step in plan.steps] == ["model", "count-1", "look-1", "last"]
    assert ended == {"repeat": "round 1 is the last of 4: it has seen enough"}


LOOP = """
  - sft: {data: mine.demos, learning_rate: 1e-3}
  - reward_rule: {name: rule, rule: length}
  - repeat:
      rounds: 2
      steps:
        - sample: {prompts: mine.prompts, policies: [latest, previous], max_response_tokens: 6}
        - collect: {comparisons: sample, reward: rule, noise: 0.1}
        - reward: {data: collect@all, start: sft, learning_rate: 1e-3}
        - reject: {prompts: mine.prompts, reward: reward, sampler: latest, earlier: reject@earlier,
                   num_samples: 2, max_response_tokens: 6, learning_rate: 1e-3}
        - evaluate: {name: compare, policies: [latest, previous], baseline: previous, by: rule, prompts: mine.prompts,
                     num_samples: 2, max_response_tokens: 6}
"""


def test_two_rounds_on_a_model(made_up: str, tmp_path: Path, tiny_model: Path):
    run_dir = run_steps(tmp_path, tiny_model, LOOP, say=lambda _: None)
    rows = json.loads((run_dir / "plan.json").read_text())["steps"]
    assert [row["name"] for row in rows][-10:-5] == ["sample-1", "collect-1", "reward-1", "reject-1", "compare-1"]

    def parents(step: str, field: str) -> list[str]:
        manifest = json.loads((run_dir / "steps" / step / "manifest.json").read_text())
        keys = {row["key"]: row["name"] for row in rows}
        return [keys[one["key"]] for one in manifest["parents"].get(field, [])]

    assert parents("reward-2", "data") == ["collect-1", "collect-2"]
    assert parents("sample-2", "policies") == ["reject-1", "sft"]
    assert parents("reject-2", "start") == ["sft"]
    assert parents("reject-2", "sampler") == ["reject-1"]
    assert parents("reject-2", "earlier") == ["reject-1"]
    assert parents("reject-1", "earlier") == []
    assert parents("compare-2", "policies") == ["reject-2", "reject-1"]
    results = json.loads((run_dir / "steps/compare-2/results.json").read_text())
    assert list(results["policies"]) == ["reject-2", "reject-1"]
    assert results["baseline"] == "reject-1"


@pytest.mark.parametrize(
    ("rows", "ends"),
    [
        ({"old": {}, "new": {"gold_win_rate": 0.6, "gold_win_rate_low": 0.55, "gold_win_rate_high": 0.65}}, False),
        ({"old": {}, "new": {"gold_win_rate": 0.6, "gold_win_rate_low": 0.45, "gold_win_rate_high": 0.75}}, True),
        ({"old": {}, "new": {"judge_win_rate": 0.4, "judge_win_rate_low": 0.3, "judge_win_rate_high": 0.5}}, True),
        ({"old": {}, "new": {"kl": 0.0}}, False),
        ({"old": {}}, False),
    ],
)
def test_an_evaluation_ends_rounds_that_win_no_more(tmp_path: Path, rows: dict, ends: bool):
    (tmp_path / "results.json").write_text(json.dumps({"policies": rows, "baseline": "old"}))
    why = STEPS["evaluate"].settled(Artifact(tmp_path, {"files": {"results.json": {}}}))
    assert (why is not None) == ends
    if ends:
        assert "'new' wins" in why
