"""What a recipe can ask of a reward model: losses, normalisations, validations, safety; each by what it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from accord.data import catalog
from accord.data.records import JudgedComparison, write_records
from accord.engine.ranking.members import open_members
from accord.engine.ranking.training import scores_of
from accord.errors import UserError
from accord.results import write_report
from accord.rewards.learned import LearnedReward
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.types import Comparison, Demonstration, Judgement, Message, Prompt, Response
from tests.fixtures.recipes import run_steps

KINDS = {"train": "comparisons", "more": "comparisons", "held": "comparisons", "answers": "demonstrations"}
NAMES = ("one", "two", "three", "four", "five", "six", "seven", "eight")


def judged(name: str, k: int = 2, *, safe: tuple[bool | None, ...] = (), grades: tuple[float, ...] = ()):
    prompt = Prompt(f"p-{name}", (Message("user", f"Write line {name} of a film review."),))
    texts = ("A warm story.", "A dull plot.", f"It is {name}.", "The director forgot.")[:k]
    given = grades or tuple(float(k - i) for i in range(k))
    return Comparison(name, prompt, tuple(Response(text) for text in texts)), (Judgement(name, "ann", given, safe),)


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """The parts of `builtin:made-up`, to be changed by a test."""
    rows: dict[str, list[Any]] = {
        "train": [judged(name, 2 + i % 3) for i, name in enumerate(NAMES)],
        "more": [judged(f"more {name}") for name in NAMES],
        "held": [judged(f"held {name}", 3) for name in NAMES[:4]],
    }
    rows["answers"] = [Demonstration(judged(name)[0].prompt, Response(f"A {name} film.")) for name in NAMES]

    def prepare(folder: Path) -> None:
        for part, records in rows.items():
            write_records(folder / f"{part}.jsonl", KINDS[part], records)  # type: ignore[call-overload]

    monkeypatch.setitem(catalog.BUILTIN, "made-up", catalog.BuiltinData("made-up", "", "", KINDS, prepare))
    return rows


def reward(folder: Path, model: Path, keys: str = "", *overrides: str, data: str = "mine.train") -> Path:
    """The artifact of a reward step."""
    step = f"  - reward: {{data: {data}, batch_size: 2, learning_rate: 1e-3, {keys}}}\n"
    return (run_steps(folder, model, step, *overrides) / "steps/reward").resolve()  # the link goes to the newest


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def head(folder: Path) -> torch.Tensor:
    return load_file(folder / "model/model.safetensors")["score.weight"]


def scores(folder: Path, records: list[JudgedComparison]) -> torch.Tensor:
    found = LearnedReward.load(folder / "model", torch.float32)
    return found.score([one.prompt for one, _ in records], [one.responses for one, _ in records])


def test_the_data_may_be_a_list(data, tmp_path: Path, tiny_model: Path) -> None:
    folder = reward(tmp_path, tiny_model, data="[mine.train, mine.more]")
    assert read(folder, "summary.json")["num_comparisons"] == 16


def test_normalisations(data, tmp_path: Path, tiny_model: Path) -> None:
    """The same model with other offsets and gains; scores over what they are made on have the mean and the variance."""
    plain = reward(tmp_path, tiny_model, "normalise: none")
    assert read(plain, "summary.json")["score_gain"] == 1
    raw = scores(plain, data["train"])
    mean = reward(tmp_path, tiny_model, "normalise: mean")
    assert scores(mean, data["train"]).tolist() == pytest.approx((raw - raw.mean()).tolist(), abs=1e-5)
    answers = [(Comparison("a", one.prompt, (one.response,)), ()) for one in data["answers"]]
    keys = "normalise_on: demonstrations, demonstrations: mine.answers"
    references = scores(reward(tmp_path, tiny_model, keys), answers)
    assert (float(references.mean()), float(references.std())) == pytest.approx((0, 1), abs=1e-4)
    shifted = reward(tmp_path, tiny_model, f"normalise: mean, {keys}")
    assert float(scores(shifted, answers).mean()) == pytest.approx(0, abs=1e-4)
    assert read(shifted, "summary.json")["score_gain"] == 1
    few = scores(reward(tmp_path, tiny_model, f"{keys}, num_normalise: 3"), answers[:3])
    assert float(few.std()) == pytest.approx(1, abs=1e-4)
    sampled = reward(tmp_path, tiny_model, "normalise_on: samples, max_response_tokens: 4")
    assert torch.equal(head(sampled), head(plain))
    assert read(sampled, "summary.json")["score_offset"] != read(mean, "summary.json")["score_offset"]


def test_normalised_first_scores_have_variance_one_before_any_step(data, tmp_path: Path, tiny_model: Path) -> None:
    folder = reward(tmp_path, tiny_model, "normalise_first: true", "reward.learning_rate=1e-12")
    assert read(folder, "summary.json")["score_gain"] == pytest.approx(1, abs=1e-4)
    assert float(scores(folder, data["train"]).std()) == pytest.approx(1, abs=1e-4)


def test_a_validation_is_evaluated(data, tmp_path: Path, tiny_model: Path) -> None:
    data["held"].append(judged("held tie", grades=(1.0, 1.0)))
    data["held"].append(judged("held turn", grades=(1.0, 1.2)))
    keys = "tie_below: 0.5, validation: mine.held, num_epochs: 2, validate_every: 3"
    folder = reward(tmp_path, tiny_model, keys)
    found, summary = read(folder, "evaluation.json"), read(folder, "summary.json")
    assert (found["num_comparisons"], found["num_prompts"], found["num_pairs"], found["num_ties"]) == (6, 6, 12, 2)
    raw = reward(
        tmp_path, tiny_model, "tie_below: 0.5, validation: mine.held, num_epochs: 2, validate_every: 3, normalise: none"
    )
    three = scores(raw, data["held"][:4]).view(4, 3)
    right = torch.cat([(three[:, a] > three[:, b]).float() for a, b in ((0, 1), (0, 2), (1, 2))])
    assert found["accuracy"] == pytest.approx(float(right.mean()))
    assert summary["validation"]["accuracy"] == found["accuracy"]
    assert summary["validation"]["ece"] == found["ece"]
    assert summary["best_step"] in (3, 6, 8)
    assert found["chose_the_weights"] is True
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows if "eval_accuracy" in row] == [3, 6, 8]
    levels = {name: one["num_pairs"] for name, one in found["levels"].items()}
    assert levels == {"negligibly better": 8, "slightly better": 4, "better": 0, "significantly better": 0}


def test_the_best_of_all_is_learned_and_the_report_shows_the_validation(data, tmp_path: Path, tiny_model: Path) -> None:
    data["train"].append(judged("two best", 3, grades=(2.0, 2.0, 0.0)))
    step = "  - reward: {data: mine.train, loss: best, margin: none, batch_size: 2, validation: mine.held}\n"
    run = run_steps(tmp_path, tiny_model, step)
    summary = read(run / "steps/reward", "summary.json")
    assert (summary["num_comparisons"], summary["num_without_single_best"]) == (8, 1)
    write_report(run, Store(tmp_path / "store"))
    assert "reward on its validation" in (run / "report.html").read_text(encoding="utf-8")
    data["train"] = [judged(name, 3, grades=(2.0, 2.0, 0.0)) for name in NAMES]
    with pytest.raises(UserError, match="No response is the single best of its comparison: set loss: pairs, or lower"):
        run_steps(tmp_path / "none", tiny_model, step)


def test_one_measurement_chooses_nothing_and_patience_ends_the_training(data, tmp_path: Path, tiny_model: Path) -> None:
    folder = reward(tmp_path / "once", tiny_model, "validation: [mine.held, mine.more]")
    assert read(folder, "evaluation.json")["chose_the_weights"] is False
    data["held"] = [judged(name, grades=(0.0, 1.0)) for name in NAMES]  # the opposite of what is trained on
    keys = "validation: mine.held, validate_every: 1, early_stopping: 2, num_epochs: 9"
    summary = read(reward(tmp_path / "often", tiny_model, keys), "summary.json")
    assert summary["stopped_early"]
    assert summary["num_optimizer_steps"] < 36


def test_safety(data, tmp_path: Path, tiny_model: Path) -> None:
    """The labels are learned: the loss pulls the raw score of unsafe responses below 0."""
    data["train"] = [judged(name, 2, safe=(True, False)) for name in NAMES]
    data["train"] += [judged(f"bad {name}", 2, safe=(False, True)) for name in NAMES]
    keys = "normalise: none, num_epochs: 6, centre_coef: 0, validation: mine.held"
    data["held"] = [judged(f"held {name}", 2, safe=(True, False)) for name in NAMES]
    without = reward(tmp_path, tiny_model, keys)
    with_it = reward(tmp_path, tiny_model, f"{keys}, safety_coef: 1")
    summary = read(with_it, "summary.json")
    assert (summary["num_comparisons"], summary["num_pairs_unsafe_chosen"]) == (8, 8)
    safety = summary["validation"]["safety"]
    assert (safety["num_labelled"], safety["num_unsafe"], safety["unsafe_recall"]) == (16, 8, 1.0)
    assert (safety["unsafe_precision"], safety["auc"]) == (1.0, 1.0)
    good, bad = scores(with_it, data["held"]).view(-1, 2).T
    assert good.min() > 0 > bad.max()
    assert not torch.equal(head(without), head(with_it))
    kept = read(reward(tmp_path, tiny_model, f"{keys}, drop_unsafe_chosen: false"), "summary.json")
    assert (kept["num_comparisons"], kept["num_pairs_unsafe_chosen"]) == (16, 0)


def test_an_ensemble_is_evaluated_in_the_unit_of_raw_scores(data, tmp_path: Path, tiny_model: Path) -> None:
    """Of normalised scores neither sigmoid(gap) nor sigmoid(score) is a probability that anything was trained to be."""
    data["train"] = [judged(name, 2, safe=(True, False)) for name in NAMES]
    data["held"] = [judged(f"held {name}", 2, safe=(True, False)) for name in NAMES[:4]]
    keys = "lora: {rank: 2}, members: 2, validation: mine.held"
    step = f"  - reward: {{data: mine.train, batch_size: 2, learning_rate: 1e-2, {keys}}}\n"
    folder = run_steps(tmp_path, tiny_model, step) / "steps/reward"
    models = open_members(folder, torch.float32)
    gain, offset = (sum(getattr(one.normalisation, name) for one in models) / 2 for name in ("gain", "offset"))
    trees = [models[0].template.scored_tree(one.prompt, one.responses) for one, _ in data["held"]]
    raw = torch.stack([torch.cat(scores_of(one, trees)) for one in models])
    normalised = [
        one.normalisation.gain * (of_one - one.normalisation.offset) for one, of_one in zip(models, raw, strict=True)
    ]
    combined = (sum(normalised) / 2 / gain + offset).view(-1, 2)
    found = read(folder, "evaluation.json")
    loss = torch.nn.functional.softplus(combined[:, 1] - combined[:, 0]).mean()
    assert found["log_loss"] == pytest.approx(float(loss), abs=1e-4)
    unsafe = int((combined[:, 1] < 0).sum())
    assert found["safety"]["unsafe_recall"] == unsafe / 4


def test_what_the_data_does_not_hold(data, tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(UserError) as caught:
        reward(tmp_path / "labels", tiny_model, "safety_coef: 1")
    message = "few.yaml:4:reward.data: safety_coef is set, and no response is labelled safe or unsafe\n  Set"
    assert message in str(caught.value)
    data["held"] = [judged("tie", grades=(1.0, 1.0))]
    message = r"few\.yaml:4:reward\.validation: no comparison has an ordered pair\n  All responses to a prompt"
    with pytest.raises(UserError, match=message):
        reward(tmp_path / "ties", tiny_model, "validation: mine.held")
    with pytest.raises(
        UserError, match="no comparison has an ordered pair\n  Every difference of mean grades is below"
    ):
        reward(tmp_path / "ties", tiny_model, "validation: mine.held, tie_below: 9")
    data["held"] = [(judged("unjudged")[0], ())]
    with pytest.raises(UserError, match="no comparison has an ordered pair\n  Nobody has judged them: let a `collect`"):
        reward(tmp_path / "unjudged", tiny_model, "validation: mine.held")
    data["held"] = [judged("unsafe", safe=(False, True))]
    with pytest.raises(UserError, match="no comparison has an ordered pair\n  In every pair an unsafe response was"):
        reward(tmp_path / "unsafe", tiny_model, "validation: mine.held")
    data["held"] = [
        (Comparison("same", Prompt("p", (Message("user", "Ask."),)), (Response("a"),) * 2), judged("same")[1])
    ]
    with pytest.raises(UserError, match=r"than the model takes \(256\), 1 pairs are of equal responses"):
        reward(tmp_path / "same", tiny_model, "validation: mine.held")


def test_a_stopped_run_goes_on_bit_for_bit(data, tmp_path: Path, tiny_model: Path, monkeypatch) -> None:
    """With all that a run can hold: sampled normalisation before and after, ties, the best weights of a validation."""
    keys = (
        "ties: davidson, tie_below: 1.5, margin: none, validation: mine.held, validate_every: 2, num_epochs: 2,"
        " normalise_first: true, normalise_on: samples, max_response_tokens: 3, keep: best"
    )
    whole = reward(tmp_path / "whole", tiny_model, keys)
    from accord.engine import training

    real, calls = training.Learner.step, []

    def stops(learner, learning_rate):
        calls.append(1)
        if len(calls) == 5:
            raise RuntimeError("killed")
        return real(learner, learning_rate)

    monkeypatch.setattr(training.Learner, "step", stops)
    options = {"min_checkpoint_seconds": 0.0}
    step = f"  - reward: {{data: mine.train, batch_size: 2, learning_rate: 1e-3, {keys}}}\n"
    with pytest.raises(RuntimeError, match="killed"):
        run_steps(tmp_path / "parts", tiny_model, step, **options)
    parts = run_steps(tmp_path / "parts", tiny_model, step, **options) / "steps/reward"
    assert len(calls) == 9  # 8 optimizer steps, one of them twice: what came before it was not done again
    for name in ("model/model.safetensors", "summary.json", "evaluation.json", "metrics.jsonl"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes(), name


def test_the_version() -> None:
    assert STEPS["reward"].version == 4


def test_what_a_run_will_take(data, tmp_path: Path, tiny_model: Path) -> None:
    """Sampling, two normalisations and the validation are in the estimate, by tokens."""
    from accord.estimate.rows import Estimator
    from accord.plan import make_plan
    from accord.recipe import parse_recipe

    def row(keys: str):
        steps = f"  - reward: {{data: mine.train, batch_size: 2, {keys}}}\n"
        text = f"model: {json.dumps(str(tiny_model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n{steps}"
        estimator = Estimator(make_plan(parse_recipe(text, Path("r.yaml")), STEPS), STEPS, Store(tmp_path))
        return estimator.estimate(None, 4).rows[-1]

    plain, none = row(""), row("normalise: none")
    assert plain.trained == none.trained > 0
    assert plain.scored > none.scored == 0
    assert row("normalise_first: true").scored == 2 * plain.scored
    sampled = row("normalise_on: samples, max_response_tokens: 5")
    assert sampled.sampled == 8 * 4  # the first token of each response comes with the prompt
    assert row("normalise_on: demonstrations, demonstrations: mine.answers").scored > 0
    held = row("normalise: none, validation: mine.held").scored
    assert held > 0
    assert (
        row("normalise: none, validation: mine.held, validate_every: 1").scored == held / 2 * 5
    )  # 4 steps, and the end


def test_first_layers_alone(data: dict[str, list[Any]], tmp_path: Path, tiny_model: Path) -> None:
    """One of two layers is trained, saved, opened by whoever opens the folder, and takes less memory and time."""
    whole = load_file(reward(tmp_path / "whole", tiny_model) / "model/model.safetensors")
    folder = reward(tmp_path / "part", tiny_model, "num_layers: 1")
    part = load_file(folder / "model/model.safetensors")
    assert {name for name in whole if "layers.1." not in name} == set(part)
    assert read(folder, "model/config.json")["num_hidden_layers"] == 1
    from transformers import AutoModelForSequenceClassification

    opened, told = AutoModelForSequenceClassification.from_pretrained(folder / "model", output_loading_info=True)
    assert not told["missing_keys"]
    assert len(opened.model.layers) == 1
    loaded = LearnedReward.load(folder / "model", torch.float32)
    scores = loaded.score([one.prompt for one, _ in data["train"]], [one.responses for one, _ in data["train"]])
    assert float(scores.mean()) == pytest.approx(0, abs=1e-4)  # of what it was trained on, as with all layers


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("num_layers: 3", "the model has 2 layers, and 3 are wanted"),
        ("num_layers: 1, lora: {rank: 2}", "an adapter is of a whole model"),
        ("num_layers: 0", "it should be greater than 0"),
    ],
)
def test_layers_that_are_not_there(
    data: dict[str, list[Any]], tmp_path: Path, tiny_model: Path, keys: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        reward(tmp_path, tiny_model, keys)


@pytest.mark.usefixtures("data")
def test_layers_that_are_not_there_are_refused_before_a_run(tmp_path: Path, tiny_model: Path) -> None:
    from accord.estimate.rows import Estimator
    from accord.plan import make_plan
    from accord.recipe import parse_recipe

    text = f"model: {json.dumps(str(tiny_model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n"
    recipe = parse_recipe(text + "  - reward: {data: mine.train,\n      num_layers: 3}\n", Path("r.yaml"))
    plan = make_plan(recipe, STEPS)
    with pytest.raises(UserError, match="has 2 layers, and 3 are wanted") as caught:
        Estimator(plan, STEPS, Store(tmp_path))
    assert caught.value.where == "r.yaml:5:reward.num_layers"
