"""From rankings to losses, and what is trained on: whatever the batches are, the numbers are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from accord.algorithms.ranking import ranking_loss
from accord.engine.ranking.config import RankingConfig
from accord.engine.ranking.normalisation import (
    answered_trees,
    normalisation_of,
    order_of_training,
    sampled_trees,
)
from accord.engine.ranking.training import Examples, batch_loss, rankings_of, train_ranking_model, usable
from accord.errors import UserError
from accord.models import compute
from accord.models.scalar import Normalisation, ScalarModel
from accord.seeds import derive_seed
from accord.store.workspace import Workspace
from accord.text.batching import micro_batches
from accord.text.template import Template
from accord.types import Comparison, Demonstration, Judgement, Message, Prompt, Response

WORDS = ("warm", "dull", "quiet", "good", "bad", "plain")
ALL = RankingConfig(ties="davidson", safety_coef=0.5, label_smoothing=0.1, centre_coef=0.1, margin=(0.0, 0.2, 0.4, 0.8))


def judged(name: str, grades: tuple[float, ...], safe: tuple[bool | None, ...] = ()):
    prompt = Prompt(name, (Message("user", f"Line {name}, please."),))
    texts = tuple(Response(f"A {word} film {name}." + " It is." * k) for k, word in enumerate(WORDS[: len(grades)]))
    return Comparison(name, prompt, texts), (Judgement(name, "ann", grades, safe),)


COMPARISONS = [
    judged("1", (3.0, 0.0, 1.0), (True, False, None)),
    judged("2", (1.0, 2.0)),
    judged("3", (1.0, 1.0)),
    judged("4", (0.0, 4.0, 4.0, 2.0), (False, True, True, None)),
    judged("5", (1.0, 0.0), (False, True)),
]


def examples(model: ScalarModel, config: RankingConfig) -> Examples:
    return usable(model.template, rankings_of(config, COMPARISONS)[0], None)[0]


@pytest.fixture(autouse=True)
def plain_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "compute_dtype", lambda: torch.float32)


@pytest.fixture
def model(tiny_model: Path) -> ScalarModel:
    return ScalarModel.from_policy(tiny_model, 3)


def test_what_is_learned_from_and_what_is_left_out() -> None:
    dropped, counts = rankings_of(RankingConfig(), COMPARISONS)
    assert [one.prompt.id for one in dropped] == ["1", "2", "4"]
    assert all(one.ties == () for one in dropped)
    assert counts == {"num_without_pairs": 2, "num_pairs_unsafe_chosen": 1}  # 3 is a tie, 5 prefers the unsafe one
    kept, counts = rankings_of(RankingConfig(ties="rao-kupper", drop_unsafe_chosen=False), COMPARISONS)
    assert [one.prompt.id for one in kept] == ["1", "2", "3", "4", "5"]
    assert [one.ties for one in kept] == [(), (), ((0, 1),), ((1, 2),), ()]
    assert counts == {"num_without_pairs": 0, "num_pairs_unsafe_chosen": 0}


def test_the_margin_of_the_data_is_subtracted_as_it_is() -> None:
    """Grades 2.5 and 0 are a column `margin` of 1.5; scores lead by 1: -log sigmoid(1 - 1.5) = log(1 + e^0.5) =
    0.97408. Votes of two to one differ by a third: -log sigmoid(1) = 0.31326."""
    rankings, counts = rankings_of(RankingConfig(margin="data"), [judged("1", (2.5, 0.0)), judged("2", (2 / 3, 1 / 3))])
    assert [one.pairs[0].margin for one in rankings] == [1.5, 0.0]
    assert counts["num_without_pairs"] == 0  # no difference is too small, unless tie_below says so
    for ranking, expected in zip(rankings, (0.97408, 0.31326), strict=True):
        config = RankingConfig(margin="data", centre_coef=0.0)
        loss = batch_loss(torch.tensor([1.0, 0.0]), [ranking], config, torch.tensor([0, 0]))
        assert float(loss.total) == pytest.approx(expected, abs=1e-5)
    close = rankings_of(RankingConfig(tie_below=0.5), [judged("2", (2 / 3, 1 / 3))])
    assert (close[0], close[1]["num_without_pairs"]) == ([], 1)


def test_the_best_of_all_needs_a_single_best() -> None:
    """3 is a tie, and 4 has two best responses; 5 prefers the unsafe one."""
    found, counts = rankings_of(RankingConfig(loss="best"), COMPARISONS)
    pairs = {one.prompt.id: [(pair.chosen, pair.rejected) for pair in one.pairs] for one in found}
    assert pairs == {"1": [(0, 1), (0, 2)], "2": [(1, 0)]}
    assert counts == {"num_without_single_best": 1, "num_without_pairs": 2, "num_pairs_unsafe_chosen": 1}
    every, counts = rankings_of(RankingConfig(loss="best"), COMPARISONS, levels=True)
    assert [len(one.pairs) for one in every] == [3, 1, 0, 5]  # an evaluation is of all pairs
    assert "num_without_single_best" not in counts


def test_an_evaluation_has_levels_and_keeps_its_ties() -> None:
    found, _ = rankings_of(RankingConfig(margin="none"), COMPARISONS, levels=True)
    first = {(pair.chosen, pair.rejected): pair.margin for pair in found[0].pairs}
    assert first == {(0, 1): 2.0, (0, 2): 1.0, (2, 1): 0.0}  # differences of 3, 2 and 1
    assert [one.ties for one in found] == [(), (), ((0, 1),), ((1, 2),)]


def test_responses_of_equal_tokens_have_no_order(model: ScalarModel) -> None:
    prompt = Prompt("p", (Message("user", "Ask."),))
    comparison = Comparison("p", prompt, (Response("Same."), Response("Same."), Response("Other.")))
    rankings, _ = rankings_of(RankingConfig(), [(comparison, (Judgement("p", "ann", (2.0, 1.0, 0.0)),))])
    found, left_out = usable(model.template, rankings, None)
    assert [(pair.chosen, pair.rejected) for pair in found.rankings[0].pairs] == [(0, 2), (1, 2)]
    assert left_out["num_identical_pairs"] == 1


@pytest.mark.parametrize("config", [RankingConfig(), ALL, RankingConfig(loss="best")], ids=["default", "all", "best"])
def test_the_loss_does_not_know_micro_batches_nor_their_order(model: ScalarModel, config: RankingConfig) -> None:
    given = examples(model, config)

    def total(max_tokens: int, order: list[int]) -> tuple[float, int, torch.Tensor]:
        model.head.grad = None
        sums, units = 0.0, 0
        for micro in micro_batches([given.trees[i] for i in order], max_tokens):
            rankings = [given.rankings[order[i]] for i in micro.indices]
            loss = batch_loss(model.scores(micro.batch), rankings, config, micro.batch.tree_of_branch)
            loss.total.backward()
            sums, units = sums + loss.total.item(), units + loss.num_units
        assert model.head.grad is not None
        return sums, units, model.head.grad

    forwards, backwards = list(range(len(given.trees))), list(range(len(given.trees)))[::-1]
    whole, one_by_one = total(10_000, forwards), total(1, backwards)
    assert whole[0] == pytest.approx(one_by_one[0], rel=1e-5)
    assert whole[1] == one_by_one[1] == len(given.trees)
    assert torch.allclose(whole[2], one_by_one[2], atol=1e-4)


def test_indices_are_those_of_a_ranking_loss_written_out(model: ScalarModel) -> None:
    """Comparisons 1, 2 and 4 of the default config: responses 0 to 2, 3 and 4, 5 to 8."""
    scores = torch.arange(9.0) / 4
    given = examples(model, RankingConfig(centre_coef=0))
    found = batch_loss(scores, given.rankings, RankingConfig(centre_coef=0), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2]))
    third = 1 / 3
    by_hand = ranking_loss(
        scores,
        torch.tensor([0, 0, 2, 4, 6, 7, 8, 6, 7]),
        torch.tensor([1, 2, 1, 3, 5, 5, 5, 8, 8]),
        torch.tensor([2 * third, third, 0, 0, 1, 1, third, third, third]),
        torch.tensor([0, 0, 0, 1, 2, 2, 2, 2, 2]),
        3,
    )
    assert found.total.item() == pytest.approx(by_hand.total.item(), abs=1e-6)
    assert found.metrics["accuracy"].item() == pytest.approx(by_hand.metrics["accuracy"].item())


def train(model: ScalarModel, folder: Path, config: RankingConfig, held_out: Examples | None = None):
    work = Workspace(folder)
    given = examples(model, config)
    learner, counts = train_ranking_model(
        model, given, config, seed=5, work=work, label="t", checkpoint=None, held_out=held_out
    )
    return learner, counts, work.metrics.read()


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"loss": "best"},
    {"ties": "rao-kupper"},
    {"ties": "davidson"},
    {"ties": "davidson", "tie_probability": 0.7},
    {"margin": "large"},
    {"margin": (0.0, 0.3, 0.6, 2.0)},
    {"margin": "none"},
    {"label_smoothing": 0.2},
    {"centre_coef": 1.0},
    {"safety_coef": 1.0},
    {"drop_unsafe_chosen": False},
)


def test_every_option_makes_another_model(tiny_model: Path, tmp_path: Path) -> None:
    heads = []
    for k, options in enumerate(OPTIONS):
        fresh = ScalarModel.from_policy(tiny_model, 3)
        train(fresh, tmp_path / str(k), RankingConfig(batch_size=2, learning_rate=1e-3, **options))
        heads.append(fresh.head.detach())
    assert all(one.isfinite().all() for one in heads)
    assert [(a, b) for a in range(len(heads)) for b in range(a) if torch.equal(heads[a], heads[b])] == []


def test_accuracy_is_of_prompts_with_an_order(model: ScalarModel, tmp_path: Path) -> None:
    """With a tie model a prompt that has nothing but ties is a unit of the loss, and has no accuracy."""
    with_ties = RankingConfig(ties="davidson", batch_size=8, learning_rate=1e-9)
    without = RankingConfig(batch_size=8, learning_rate=1e-9)
    (tied,) = train(model, tmp_path / "a", with_ties)[2]
    (dropped,) = train(model, tmp_path / "b", without)[2]
    assert tied["accuracy"] == pytest.approx(dropped["accuracy"], abs=1e-5)
    assert tied["margin"] == pytest.approx(dropped["margin"], abs=1e-4)
    assert tied["loss"] != pytest.approx(dropped["loss"], abs=1e-2)


def test_a_batch_of_ties_alone_is_learned_from(model: ScalarModel, tmp_path: Path) -> None:
    config = RankingConfig(ties="rao-kupper", batch_size=1, learning_rate=1e-3)
    _, counts, rows = train(model, tmp_path, config)
    assert counts["num_optimizer_steps"] == len(rows) == 4
    assert sum("accuracy" not in row for row in rows) == 1
    assert all(row["grad_norm"] > 0 for row in rows)


def test_a_validation_is_measured_in_plain_bradley_and_terry(model: ScalarModel, tmp_path: Path) -> None:
    config = RankingConfig(batch_size=1, learning_rate=1e-3, validate_every=2, margin="large")
    held_out = examples(model, config)
    _, counts, rows = train(model, tmp_path, config, held_out)
    measured = [row for row in rows if "eval_loss" in row]
    assert [row["iteration"] for row in measured] == [2, 3]
    assert set(counts) == {"num_optimizer_steps", "best_eval_loss", "best_step", "stopped_early"}
    scores = model.scores(next(iter(micro_batches(held_out.trees, 10_000))).batch)
    assert scores.shape == (9,)
    assert 0 <= measured[-1]["eval_accuracy"] <= 1
    assert counts["best_eval_loss"] == min(row["eval_loss"] for row in measured)


def test_normalisation_by_kind(model: ScalarModel) -> None:
    trees = examples(model, RankingConfig()).trees
    both, mean, none = (normalisation_of(model, trees, kind) for kind in ("mean-and-variance", "mean", "none"))
    scores = torch.cat([model.scores(one.batch).detach() for one in micro_batches(trees, 1)])
    assert both.offset == pytest.approx(float(scores.mean()), abs=1e-4)
    assert both.gain == pytest.approx(1 / float(scores.std()), rel=1e-4)
    assert (mean.gain, none) == (1.0, Normalisation())
    assert mean.offset == both.offset


def test_the_order_of_training_is_that_of_all_epochs() -> None:
    config = RankingConfig(num_epochs=2, batch_size=2)
    order = order_of_training(5, config, 1)
    assert sorted(order) == sorted([*range(5)] * 2)
    assert order_of_training(5, config, 1, 4) == order[:7]  # batches of 2, 2, 1 and 2


def test_samples_are_the_start_policys(tiny_model: Path, tmp_path: Path) -> None:
    prompts = [comparison.prompt for comparison, _ in COMPARISONS]
    config = RankingConfig(max_response_tokens=4)

    def sampled(seed: int) -> list[tuple[int, ...]]:
        trees = sampled_trees(tiny_model, prompts, config, seed=seed, work=Workspace(tmp_path), label="t")
        return [(*tree.prompt_ids, *tree.branches[0].ids) for tree in trees]

    assert len(sampled(1)) == len(prompts)
    assert sampled(1) == sampled(1) != sampled(derive_seed(2))


def test_reference_answers(tiny_model: Path, model: ScalarModel) -> None:
    template = Template(model.template.tokenizer)
    ask = Prompt("p", (Message("user", "Ask."),))
    answers = [Demonstration(ask, Response(text)) for text in ("One.", "Bad <|im_end|>", "Two.", "Three.")]
    trees = answered_trees(tiny_model, answers, 2, "reward")
    assert trees == [template.scored_tree(ask, [Response(text)]) for text in ("One.", "Two.")]
    with pytest.raises(UserError, match="reward: of 2 responses to normalise the scores on, 1 can be used, and two"):
        answered_trees(tiny_model, answers[:2], 2, "reward")
