"""The quickstart's training steps with adapters, on the tiny model: what comes out, and what a stop does not change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from accord.errors import Interrupted, UserError
from accord.models import compute, shared
from accord.overrides import apply_overrides
from accord.plan import Plan, make_plan
from accord.recipe import Recipe, load_recipe
from accord.run import _input
from accord.steps.base import Job
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.store.workspace import Workspace
from tests.fixtures.tiny_run import SMALLER, run_tiny

TRAINED = ("sft", "proxy", "reject", "ppo")
LORA = [
    *(f"{name}.lora={{rank: 4}}" for name in TRAINED),
    "sft.lora.dropout=0.1",
    *(f"{name}.learning_rate=3e-3" for name in TRAINED),
    "ppo.start=sft",
    "ppo.watch=[]",
]
RECIPE = """
model: {model}
data: {{reviews: builtin:film-reviews}}
steps:
  - reward: {{data: reviews.proxy}}
  - ppo:
      prompts: reviews.prompts
      reward: reward
"""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Steps this small are slower in two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def finished(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder, up to PPO; the learners' copies in bfloat16."""
    return run_tiny(tiny_model, tmp_path_factory.mktemp("store"), *LORA, until="ppo", dtype=torch.bfloat16)


def _rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", TRAINED)
def test_peft_opens_base_and_adapter_of_every_trained_step(finished: Path, name: str) -> None:
    folder = (finished / "steps" / name).resolve()
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    base = folder / "adapter" / config["base_model_name_or_path"]
    assert base.resolve().parent == (finished / "steps" / ("model" if name == "sft" else "sft")).resolve()
    auto_class, options = AutoModelForCausalLM, {}
    if name == "proxy":
        auto_class, options = AutoModelForSequenceClassification, {"num_labels": 1}
    ids = torch.arange(20, 30)[None]
    with torch.no_grad():
        plain = auto_class.from_pretrained(base, **options)
        before = plain(input_ids=ids).logits
        theirs = PeftModel.from_pretrained(plain, folder / "adapter").eval()(input_ids=ids).logits
        merged = auto_class.from_pretrained(folder / "model", **options)(input_ids=ids).logits
    torch.testing.assert_close(merged, theirs, atol=1e-4, rtol=0)
    assert float((merged - before).abs().max()) > 1e-3, "it was trained"


def test_what_has_no_adapter_is_the_starts_bit_for_bit(finished: Path) -> None:
    """fp32, though the learners computed with rounded copies."""
    start = load_file(finished / "steps" / "model" / "model" / "model.safetensors")
    end = load_file(finished / "steps" / "ppo" / "model" / "model.safetensors")
    assert start.keys() == end.keys()
    changed = {name.split(".")[-2] for name in start if not torch.equal(start[name], end[name])}
    assert changed == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_ppo_starts_at_its_reference_with_ratio_one(finished: Path) -> None:
    rows = _rows(finished / "steps" / "ppo")
    assert [row["policy/first_ratio"] for row in rows] == [1.0] * 4
    assert rows[0]["objective/kl"] == 0.0
    assert rows[-1]["objective/kl"] != 0.0


def _job(finished: Path, tiny_model: Path, name: str, work: Workspace) -> Job:
    """A step of the finished run, to be run again elsewhere."""
    store = Store(finished.parents[1])
    recipe = load_recipe(finished / "recipe.yaml")
    step = _plan(apply_overrides(recipe, [f"model={tiny_model}", *SMALLER, *LORA])).step(name)
    inputs = {field: tuple(_input(store, link) for link in links) for field, links in step.parents.items()}
    return Job(step.name, step.config, step.seed, inputs, work)


def _plan(recipe: Recipe) -> Plan:
    return make_plan(recipe, STEPS)


@pytest.mark.parametrize("name", ["sft", "proxy", "ppo"])
def test_stopped_after_two_it_goes_on_to_the_same_bytes(
    finished: Path, tiny_model: Path, tmp_path: Path, name: str
) -> None:
    """Dropout, adapters and head included; and the checkpoint holds nothing that is frozen."""

    def work(stop_after: int | None) -> Workspace:
        return Workspace(
            tmp_path / "work",
            min_checkpoint_seconds=1e9,
            stop=lambda: stop_after is not None and len(work_now.metrics.read()) >= stop_after,
        )

    def run() -> None:
        with patch.object(compute, "compute_dtype", lambda: torch.bfloat16):
            STEPS[{"proxy": "reward"}.get(name, name)].run(_job(finished, tiny_model, name, work_now))

    work_now = work(2)
    with pytest.raises(Interrupted):
        run()
    for file in (tmp_path / "work" / "checkpoints").rglob("*.safetensors"):
        names = {key.partition(".")[2] for key in load_file(file) if "." in key}
        assert names, file
        assert all(".lora_" in key or key == "score.weight" for key in names), file
    work_now = work(None)
    run()
    whole = finished / "steps" / name
    for file in ("model/model.safetensors", "adapter/adapter_model.safetensors", "adapter/adapter_config.json"):
        assert (tmp_path / "work" / "out" / file).read_bytes() == (whole / file).read_bytes(), file
    assert _rows(tmp_path / "work" / "out") == _rows(whole)


def test_ppo_holds_one_backbone_when_the_reward_adapts_its_start(
    finished: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """sft is the start and the reference of ppo, and what proxy adapts; gold_test is from another start."""
    seen = []

    def spy(*args: object, **kwargs: object) -> shared.SharedModels:
        seen.append(models := shared_share(*args, **kwargs))  # type: ignore[arg-type]
        return models

    shared_share = shared.share
    work = Workspace(tmp_path / "work", stop=lambda: True)
    with patch.object(shared, "share", spy), pytest.raises(Interrupted):
        STEPS["ppo"].run(_job(finished, tiny_model, "ppo", work))
    (models,) = seen
    assert models.reference is not None
    assert models.reward is not None
    assert len({id(m.module) for m in (models.policy, models.reference, models.value, models.reward)}) == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("reward.lora={dropout: 0.1}", "lora.dropout must be 0 here"),
        ("ppo.lora={dropout: 0.1}", "lora.dropout must be 0 here"),
        ("ppo.lora={rnk: 4}", "unknown key 'rnk'\n  Did you mean 'rank'"),
        ("ppo.lora={rank: 0}", "it should be greater than 0"),
        ("ppo.lora={targets: []}", "targets is empty"),
        ("ppo.lora={targets: all}", r"ppo\.lora"),
    ],
)
def test_a_wrong_setting_is_named_in_the_plan(tiny_model: Path, tmp_path: Path, override: str, message: str) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(model=tiny_model))
    with pytest.raises(UserError, match=message):
        _plan(apply_overrides(load_recipe(tmp_path / "recipe.yaml"), [override]))


def test_without_peft_the_plan_says_so(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(model=tiny_model))
    recipe = load_recipe(tmp_path / "recipe.yaml")
    monkeypatch.setattr("accord.models.lora.find_spec", lambda name: None)
    _plan(recipe)
    with pytest.raises(UserError, match=r"lora needs the package peft\n  Install it: pip install 'accord\[lora\]'"):
        _plan(apply_overrides(recipe, ["ppo.lora={}"]))
