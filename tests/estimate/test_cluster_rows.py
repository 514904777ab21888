"""What a step of a recipe takes on a cluster, by hand and through the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from accord import cli
from accord.engine.workload import Passes, Phase, Work
from accord.estimate.cluster import Efficiency
from accord.estimate.cluster_rows import on_cluster
from accord.estimate.devices import Cluster, Device
from accord.models.cost import Dimensions, dimensions_of
from accord.models.known import KNOWN

DEVICE = Device("T", flops=1e6, memory=10**6, bandwidth=1e6, link=1e6, network=1e6)
EXACT = Efficiency(
    compute=1.0, bandwidth=1.0, link=1.0, step=0.0, latency=0.0, in_pieces=1.0, reserve=1000, sampler=1.0, start=7.0,
    engine=11.0, switch=0.0, storage=1e3,
)  # fmt: skip
MODEL = Dimensions(layers=2, hidden=4, inner=8, heads=2, key_heads=1, head=2, vocabulary=10)
P = MODEL.policy_parameters
BATCH = SimpleNamespace(batch_size=2, max_tokens=8)


def trained(updates: int = 3, passes: int = 6) -> Work:
    some = [Passes("train", 8, 5.0, 4, float(passes)), Passes("train", 8, 5.0, 4, 0.0)]
    return Work([Phase(some, trained=[P], updates=updates)], loaded=[P], saved=[P], seconds=1.0)


def test_training_by_hand() -> None:
    found = on_cluster(trained(), BATCH, MODEL, Cluster(DEVICE, 1, 1), assumed=EXACT)
    flops = 6 * (8 * MODEL.forward_flops(1, 5, 0) + MODEL.forward_flops(0, 0, 4))
    assert found.seconds["training"] == pytest.approx(3 * flops / 1e6 + 3 * 32 * P / 1e6)
    assert found.seconds["other"] == pytest.approx(1 + 2 * 4 * P / 1e3 + 7)
    assert (found.seconds["sampling"], found.seconds["scoring"]) == (0, 0)
    assert found.memory is not None
    assert found.memory.shards == 18 * P
    assert (found.fits, found.again, found.least, found.busy) == (True, False, 1, 1)


def test_gpus_without_an_example_wait() -> None:
    two = on_cluster(trained(), BATCH, MODEL, Cluster(DEVICE, 1, 2), assumed=EXACT)
    four = on_cluster(trained(), BATCH, MODEL, Cluster(DEVICE, 1, 4), assumed=EXACT)
    assert (two.busy, four.busy) == (2, 2)
    updates = {num: 3 * 32 * P / (num * 1e6) for num in (2, 4)}
    assert four.seconds["training"] - updates[4] >= two.seconds["training"] - updates[2]


def test_what_does_not_fit_wants_more() -> None:
    small = Device("S", 1e6, 16 * P // 2 + 5000, 1e6, 1e6, 1e6)
    found = on_cluster(trained(), BATCH, MODEL, Cluster(small, 1, 1), assumed=EXACT)
    assert found.memory is not None
    assert not found.fits
    assert found.least is not None
    assert found.least > 1
    assert on_cluster(trained(), BATCH, MODEL, Cluster(small, 1, 1).of(found.least), assumed=EXACT).fits
    assert not on_cluster(trained(), BATCH, MODEL, Cluster(small, 1, 1).of(found.least // 2), assumed=EXACT).fits
    whole = on_cluster(trained(), BATCH, MODEL, Cluster(small, 1, 8), split=False, assumed=EXACT)
    assert (whole.fits, whole.least) == (False, None), "what is whole on each GPU fits on no number of them"


def test_activations_are_computed_again_where_they_do_not_fit() -> None:
    many = Work([Phase([Passes("train", 8000, 5.0, 0, 1.0)], trained=[P], updates=1)])
    plenty = on_cluster(many, BATCH, MODEL, Cluster(Device("L", 1e6, 10**8, 1e6, 1e6, 1e6), 1, 1), assumed=EXACT)
    assert plenty.memory is not None
    less = Device("M", 1e6, plenty.memory.needed - 1, 1e6, 1e6, 1e6)
    found = on_cluster(many, BATCH, MODEL, Cluster(less, 1, 1), assumed=EXACT)
    assert (plenty.again, found.again, found.fits) == (False, True, True)
    assert found.seconds["training"] > plenty.seconds["training"]


def test_sampling_in_a_step() -> None:
    """An iteration's prompts and tokens are those of all, divided by the iterations."""
    settings = {"num_iterations": 2, "max_response_tokens": 4, "prompts_per_iteration": 2, "num_minibatches": 1}
    config = SimpleNamespace(**settings, engine="vllm")
    some = [
        Passes("prefill", 16, 3.0, 4, 2.0),  # 4 responses begin in each of 2 iterations
        Passes("decode", 4, 6.0, 4, 2.0),
        Passes("train", 8, 5.0, 4, 2.0),
        Passes("forward", 8, 5.0, 4, 4.0),
    ]
    work = Work([Phase(some, trained=[P], frozen=[P], updates=2, cache=16)], lengths=(2, 2))
    found = on_cluster(work, config, MODEL, Cluster(DEVICE, 1, 1), assumed=EXACT)
    assert found.seconds["sampling"] > 0
    assert found.seconds["scoring"] > 0
    assert found.at_once == 4
    assert found.memory is not None
    assert found.memory.shards == 18 * P + 2 * P
    assert found.memory.sampler == 2 * P
    assert found.seconds["other"] == pytest.approx(7 + 11 + 2 * 2 * P / EXACT.pcie)
    config.engine = "torch"
    caches = {1: 4, 2: 2, 4: 1}  # responses of the 4 that a GPU writes; all have a cache of 16 places
    for gpus, rows in caches.items():
        by_torch = on_cluster(work, config, MODEL, Cluster(DEVICE, 1, gpus), assumed=EXACT)
        gathered = 2 * MODEL.layers * MODEL.layer_parameters if gpus > 1 else 0
        assert by_torch.memory is not None
        assert by_torch.memory.sampler == gathered + MODEL.cache_bytes(16 * rows // 4, 2)


def test_adapters_are_whole_and_what_they_adapt_is_not() -> None:
    some = [Passes("train", 8, 5.0, 4, 1.0)]
    config = SimpleNamespace(batch_size=2, lora={})
    work = Work([Phase(some, trained=[12], frozen=[P], updates=1)])
    found = on_cluster(work, config, MODEL, Cluster(DEVICE, 1, 2), assumed=EXACT)
    ends = MODEL.embedding_parameters
    assert found.memory is not None
    assert found.memory.shards == 18 * 12 + 2 * ends + (2 * (P - ends)) // 2


def test_layers_in_the_main_memory() -> None:
    four, ends = Cluster(DEVICE, 1, 4), MODEL.embedding_parameters
    slow = replace(EXACT, host=1e3, pcie=1e3)
    plain = on_cluster(trained(), BATCH, MODEL, four, assumed=slow)
    found = on_cluster(trained(), BATCH, MODEL, four, offload=True, assumed=slow)
    assert plain.memory is not None
    assert found.memory is not None
    assert found.memory.shards == 18 * ends
    assert found.memory.host == 16 * (P - ends) / 4
    assert plain.memory.shards == found.memory.shards + found.memory.host
    assert found.memory.passes == plain.memory.passes
    updates = 3 * 32 * P * (1 / 1e3 - 1 / (4 * 1e6))  # on one machine's processor, and no more on 4 GPUs
    assert found.seconds["training"] > plain.seconds["training"] + updates, "copies take time, too"
    for alike in (
        on_cluster(trained(), BATCH, MODEL, four, split=False, offload=True, assumed=EXACT),
        on_cluster(trained(), BATCH, MODEL, Cluster(DEVICE, 1, 1), offload=True, assumed=EXACT),
    ):
        assert alike.memory is not None
        assert (alike.memory.host, alike.memory.shards) == (0, 18 * P), "nothing is in parts"


RECIPE = """\
model: {model}
data: {{d: demos.jsonl}}
steps:
  - sft: {{data: d, batch_size: 64}}
"""
ROWS = [{"prompt": f"What is {num} and {num}?", "completion": f"It is {2 * num}."} for num in range(200)]


def check(folder: Path, monkeypatch: pytest.MonkeyPatch, model: str, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.chdir(folder)
    Path("demos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    Path("r.yaml").write_text(RECIPE.format(model=model), encoding="utf-8")
    result = CliRunner().invoke(cli.app, ["check", "r.yaml", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_model_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = "{source: meta-llama/Llama-2-7b-hf, chat_template: chatml, pad_token: <unk>}"
    status, out, _ = check(tmp_path, monkeypatch, model, "--cluster", "8xH100")
    assert status == 0
    (sft,) = [line.split() for line in out.splitlines() if line.startswith("sft")]
    shards = 16 * dimensions_of(KNOWN["llama-2-7b"].config).policy_parameters / 8 / 2**30
    assert float(sft[-3]) > shards + 3
    assert sft[-1] == "2"
    assert "cluster: 8xH100-80G" in out
    assert "published for llama-2-7b" in out
    assert not Path("accord-store").exists()


def test_too_few_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, err = check(tmp_path, monkeypatch, "llama-2-70b", "--cluster", "8xH100")
    assert status == 2
    assert out.startswith("step"), "the table is shown all the same"
    assert "r.yaml:4:sft: the step 'sft' needs about" in err
    assert "on each of 8 H100-80G, and each has 79.1 GiB" in err
    assert "Take 24 of them (--cluster 3x8xH100-80G), or train adapters (sft.lora: {})." in err
    assert check(tmp_path, monkeypatch, "llama-2-70b", "--cluster", "3x8xH100")[0] == 0


@pytest.mark.parametrize(
    ("model", "cluster", "said"),
    [
        ("llama-2-7b", "8xZ9", "there is no GPU 'Z9'"),
        ("llama-9-7b", "8xH100", "llama-2-7b"),
    ],
)
def test_wrong_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, cluster: str, said: str) -> None:
    status, _, err = check(tmp_path, monkeypatch, model, "--cluster", cluster)
    assert status == 2
    assert said in err


def test_the_workers_of_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = "llama-2-7b\ncluster: {kind: ray, workers: 16, sharding: none}"
    status, out, err = check(tmp_path, monkeypatch, model, "--cluster", "8xH100")
    assert status == 2
    assert "the recipe wants 16 workers, and this is for 8" in out
    assert "Take GPUs with more memory" in err


def test_offload_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = "llama-2-7b\ncluster: {kind: ray, workers: 8, sharding: full, cpu_offload: true}"
    status, out, _ = check(tmp_path, monkeypatch, model, "--cluster", "2xA100-40G")
    assert status == 0, "without it, it needs more"
    dimensions = dimensions_of(KNOWN["llama-2-7b"].config)
    layers = 16 * dimensions.layers * dimensions.layer_parameters / 2**30
    assert f"sft: {layers:.1f} GiB of layers, gradients and moments in each machine's main memory" in out
    assert check(tmp_path, monkeypatch, "llama-2-7b", "--cluster", "2xA100-40G")[0] == 2
