"""The key `engine` of steps that sample: what is refused, what it changes, and that steps use what it names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.plan import Plan, make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from tests.fixtures.engines import Stale, in_place_of_vllm
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]

pytestmark = pytest.mark.usefixtures("made_up")

SMALL = "prompts_per_iteration: 4, num_samples: 2, max_response_tokens: 6, truncation_score: null"
KINDS = {
    "ppo": f"ppo: {{prompts: mine.prompts, reward: short, num_iterations: 2, {SMALL}}}",
    "online_dpo": f"online_dpo: {{prompts: mine.prompts, reward: short, num_iterations: 2, {SMALL}}}",
    "reject": "reject: {prompts: mine.prompts, reward: short, num_prompts: 4, num_samples: 2, max_response_tokens: 6}",
    "sample": "sample: {prompts: mine.prompts, policies: [start], max_response_tokens: 6}",
}
REWARD = "  - reward_rule: {name: short, rule: length, target: 3}\n"


def plan(model: Path, kind: str, *keys: str) -> Plan:
    """Of such a step on line 5, with these keys before its own."""
    step = KINDS[kind].replace("{", "{" + "".join(f"{key}, " for key in keys))
    text = f"model: {json.dumps(str(model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n{REWARD}  - {step}\n"
    return make_plan(parse_recipe(text, Path("r.yaml")), STEPS)


@pytest.mark.parametrize("kind", KINDS)
def test_without_vllm_the_check_says_so(kind: str, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accord.steps.sampled.vllm_is_installed", lambda: False)
    with pytest.raises(UserError) as caught:
        plan(tiny_model, kind, "engine: vllm")
    assert str(caught.value) == (
        f"r.yaml:5:{kind}.engine: vLLM is not installed\n  Install it: `make install-vllm` in a checkout, or pip "
        "install 'accord[vllm]' on a machine with a GPU. Or leave out engine: torch samples then."
    )
    plan(tiny_model, kind, "engine: torch")


def test_temperatures_that_vllm_has_not_and_memory_that_is_no_share(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = "r.yaml:5:{}: vLLM draws at no temperature below 0.01 but 0, and here one is 0.005\n  Raise it, or leave"
    with in_place_of_vllm():
        with pytest.raises(UserError, match=refused.format("ppo.temperature")):
            plan(tiny_model, "ppo", "temperature: 0.005", "engine: vllm")
        with pytest.raises(UserError, match=refused.format("sample.temperatures")):
            plan(tiny_model, "sample", "temperatures: [1.0, 0.005]", "engine: vllm")
        for share in ("much", "0", "1", "nan"):
            monkeypatch.setenv("ACCORD_VLLM_MEMORY", share)
            with pytest.raises(UserError, match=f"ACCORD_VLLM_MEMORY: '{share}' is no share of a GPU's memory"):
                plan(tiny_model, "ppo", "engine: vllm")
        monkeypatch.setenv("ACCORD_VLLM_MEMORY", "0.4")
        plan(tiny_model, "ppo", "engine: vllm")


def test_it_is_in_the_key_of_a_step_unless_it_is_left_at_torch(tiny_model: Path) -> None:
    """So that what was made before there was such a key holds. Weights are on where another engine samples."""
    without, torch = plan(tiny_model, "ppo").step("ppo"), plan(tiny_model, "ppo", "engine: torch").step("ppo")
    assert without.key == torch.key
    assert "engine" not in without.config.identity()
    assert without.config_json()["engine"] == "torch"
    assert without.config_json()["importance_cap"] is None
    with in_place_of_vllm():
        found = {key: plan(tiny_model, "ppo", "engine: vllm", key).step("ppo") for key in (
            "num_epochs: 1", "importance_cap: 2", "importance_cap: null"
        )}  # fmt: skip
    first, same, off = found.values()
    assert [step.config_json()["importance_cap"] for step in found.values()] == [2.0, 2.0, None]
    assert first.key == same.key
    assert len({without.key, first.key, off.key}) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_step_samples_with_what_it_names(
    kind: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes the same as torch, so the step makes the same. It is in fp32, whatever the processor computes in."""
    monkeypatch.setenv("ACCORD_DTYPE", "float32")
    own = run_steps(tmp_path / "torch", tiny_model, f"{REWARD}  - {KINDS[kind]}\n")
    caps = [f"{kind}.importance_cap=null"] if kind == "ppo" else []
    with in_place_of_vllm() as opened:
        other = run_steps(tmp_path / "vllm", tiny_model, f"{REWARD}  - {KINDS[kind]}\n", f"{kind}.engine=vllm", *caps)
    (engine,) = opened
    assert engine.closed
    assert engine.num_pushes == (2 if kind in ("ppo", "online_dpo") else 0)
    made = "train.jsonl" if kind == "sample" else "model/model.safetensors"
    assert (own / f"steps/{kind}/{made}").read_bytes() == (other / f"steps/{kind}/{made}").read_bytes()


def test_old_weights_are_an_error_at_the_line_of_the_key(tmp_path: Path, tiny_model: Path) -> None:
    steps = f"{REWARD}  - {KINDS['ppo'][:-1]}, engine: vllm, learning_rate: 1.0e-3}}\n"
    with (
        in_place_of_vllm(Stale) as opened,
        pytest.raises(UserError, match=r"few.yaml:5:ppo.engine: the sampler and the learner are not the same policy"),
    ):
        run_steps(tmp_path, tiny_model, steps)
    assert opened[0].closed


def test_one_process_computes_it_whatever_the_cluster_is(tiny_model: Path) -> None:
    """Said at the line of the key; the step is left to nobody else."""
    kind = STEPS["sample"]
    found = []
    for engine in ("torch", "vllm"):
        step = KINDS["sample"].replace("{", f"{{engine: {engine}, ")
        text = (
            f"model: {json.dumps(str(tiny_model))}\ncluster: {{kind: local, workers: 2}}\n"
            f"data: {{mine: builtin:made-up}}\nsteps:\n{REWARD}  - {step}\n"
        )
        with in_place_of_vllm():
            made = make_plan(parse_recipe(text, Path("r.yaml")), STEPS)
        found.append((kind.shares(made.step("sample").config), made.cautions))
    what = "vLLM samples in one process, so one computes this step, whatever `cluster` says. Leave out engine."
    assert found == [(True, ()), (False, (f"r.yaml:6:sample.engine: {what}",))]
