from __future__ import annotations

import json

import numpy as np
import pytest

from accord.api.runs import check_recipe
from bench.llama2 import auxiliary, cross, margin, results, rounds, rounds_table
from bench.llama2.auxiliary import Answers, learned_from
from bench.llama2.auxiliary_table import pairs_of, statistics, with_interval
from bench.llama2.cases import CASES, settings_of
from bench.llama2.distillation_table import tail_change
from bench.llama2.margin_table import Snippets, bimodality


def answers(harm, group, fold=None):
    fold = np.zeros(len(harm), dtype=int) if fold is None else np.array(fold)
    return Answers(
        [f"objective {i}" for i in group], [f"text {i}" for i in range(len(harm))], harm, np.array(group), fold
    )


def test_all_pairs_of_snippets_have_an_order_and_a_level():
    pairs = Snippets.of(np.array([0.0, 3.75, 0.0, 1.25, 0.4]))
    assert list(zip(pairs.chosen.tolist(), pairs.rejected.tolist(), pairs.level.tolist(), strict=True)) == [
        (1, 0, 3),
        (3, 0, 1),
        (4, 0, 0),  # below the first threshold; the first and the third are equal, and no pair
        (1, 2, 3),
        (1, 3, 2),
        (1, 4, 2),
        (3, 2, 1),
        (4, 2, 0),
        (3, 4, 0),
    ]
    assert pairs.inside("significantly").sum() == 2
    assert pairs.inside("negligibly").sum() == 3
    assert pairs.inside("all").sum() == 9
    assert pairs.gap(np.array([0.0, 5.0, 0.0, 1.0, 0.0]))[0] == 5.0


def test_two_heaps_of_scores_are_bimodal():
    assert bimodality(np.array([-1.0, 1.0, -1.0, 1.0])) == pytest.approx(1.0)
    assert bimodality(np.random.default_rng(0).normal(size=200_000)) == pytest.approx(1 / 3, abs=0.01)


def test_margins_differ_in_nothing_else():
    recipes = [margin.recipe_of(f"margin-{size}", 3) for size in margin.MARGINS]
    own = [recipe["steps"][0]["reward"].pop("margin") for recipe in recipes]
    assert own == ["none", "small", "large"]
    assert recipes[0] == recipes[1] == recipes[2]
    assert settings_of("margin-none", 3) != settings_of("margin-small", 3)


def test_what_is_tested_was_not_learned_from():
    data = answers([0.0, 1.0, 0.25, 0.5, 0.5], [0, 0, 1, 1, 2], [0, 0, 1, 1, 1])
    assert learned_from(data, 0) == [
        {"prompt": "objective 1", "responses": ["text 2", "text 3"], "scores": [0.75, 0.5], "safe": [True, False]}
    ]
    assert [row["prompt"] for row in learned_from(data, 1)] == ["objective 0"]


def test_unsafe_answers_that_are_found():
    #        safe  unsafe  safe  unsafe  unsafe
    data = answers([0.0, 1.0, 0.25, 0.5, 0.75], [0, 0, 0, 1, 1])
    pairs = pairs_of(data)
    assert pairs.bin == ["safe over unsafe", "both safe", "safe over unsafe", "both unsafe"]
    of = statistics(data, pairs)
    scores, once = np.array([2.0, -1.0, -0.5, 0.5, -3.0]), np.ones(5)
    assert of["unsafe recall at 0.5"](scores, once) == pytest.approx(2 / 3)
    assert of["precision at 0.5"](scores, once) == pytest.approx(2 / 3)
    assert of["accuracy"](scores, once) == 1.0
    assert of["both unsafe"](-scores, once) == 0.0
    weight = np.array([1.0, 1.0, 1.0, 3.0, 3.0])  # the second objective three times
    assert of["unsafe recall at 0.5"](scores, weight) == pytest.approx(4 / 7)


def test_an_interval_draws_whole_objectives():
    group = np.repeat([0, 1], 50)
    values = np.repeat([0.0, 1.0], 50)
    found = with_interval(lambda weight: float(values @ weight / weight.sum()), group)
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


def test_the_tail_is_of_all_answers():
    before = np.arange(100.0).reshape(50, 2) / 100
    found = tail_change(before, np.maximum(before, 0.5))
    assert found.value == pytest.approx(0.5 - 0.0495)
    assert found.low <= found.value <= found.high


def test_one_prompt_is_in_one_fold_whatever_the_set():
    rows = [{"prompt": [{"role": "user", "content": f"Question {i}?"}]} for i in range(20)]
    parts = cross.dealt({"helpful": rows, "harmless": [{"prompt": [{"role": "user", "content": "question 7"}]}]})
    assert parts["harmless"][1][0] == parts["helpful"][1][7]
    assert sorted(np.bincount(parts["helpful"][1]).tolist()) == [10, 10]


def test_the_rounds_start_afresh_and_answer_new_prompts(tmp_path):
    steps = {one.name: one for one in check_recipe(rounds.recipe_of("rounds", 2), store=tmp_path)}
    last = steps["best_2-3"].config
    assert (last["start"], last["sampler"], list(last["earlier"])) == ("sft", "best_2-2", ["best_2-1", "best_2-2"])
    assert last["skip_prompts"] == 2 * rounds.NUM_PROMPTS
    assert list(steps["proxy_2-2"].config["data"]) == ["labels_2-1", "labels_2-2"]


def test_a_round_is_told_beside_where_it_began(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    row = {"kl": 1.0, "finished": 0.9}
    for name, value in (("gold_score", 0.1), ("gold_win_rate", 0.6)):
        row |= {name: value, f"{name}_low": value - 0.1, f"{name}_high": value + 0.1}
    names = [f"best_1-{at}" for at in (1, 2, 3)]
    found = {f"compare_1-{at}": {name: row} for at, name in enumerate(names, 1)}
    results.write("rounds", 1, {"evaluations": {**found, "whole_1": {"sft": row, **dict.fromkeys(names, row)}}})
    results.write("rounds", 2, {"failed": "it broke"})
    lines = rounds_table.table()
    assert len(lines) == 2 + 2 + 4
    assert lines[-1].startswith("|  | 3 | 60.0 (50.0 to 70.0) | 60.0 (50.0 to 70.0) |")


def test_results_of_other_settings_are_no_results(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    results.write("margin-none", 1, {"scores": [0.0]})
    path = results.path_of("margin-none", 1)
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "settings": "other"}), encoding="utf-8")
    with pytest.raises(SystemExit, match="other settings"):
        results.seeds_of("margin-none")


def test_every_case_has_settings():
    assert len({settings_of(case, 1) for case in CASES}) == len(CASES)
    assert settings_of("auxiliary-1", 1) != settings_of("auxiliary-1", 2)
    assert auxiliary.recipe_of("auxiliary-0", 1, ["", ""])["steps"][0]["reward"]["safety_coef"] == 0
