import json
import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from accord.monitor.data_facts import DataSet, Labels
from accord.monitor.markdown import block, code, grid, plain
from accord.monitor.model_card import Card, CardBase, CardMeasure, CardStep, model_card

CARD = Card(
    run="harbour",
    step="ppo",
    kind="ppo",
    produces="policy",
    base=CardBase("owner/small@main", "owner/small", "Apache-2.0", "f" * 64),
    data=[DataSet("mine", "prefs.jsonl", "", "", [("train", "comparisons", 1200)])],
    steps=[
        CardStep("sft", "sft", "a1" * 32, {"num_epochs": 2}, ["mine.train", "model"]),
        CardStep("taste", "reward", "b2" * 32, {}, ["mine.train"]),
        CardStep("ppo", "ppo", "c3" * 32, {"reward": "taste", "kl_target": 6}, ["sft", "taste"]),
    ],
    measures=[CardMeasure("gold_win_rate", "win rate over sft, by gold", 0.62, 0.55, 0.69, "256 prompts", "evaluate")],
    alarms=["ppo, from 3 on: the KL was negative."],
    cost="2.1 core-hours",
    created="2026-01-02T03:04:05",
    environment={"torch": "2.0", "machine": "not recorded"},
    recipe="model: owner/small\nsteps:\n  - ppo: {}\n",
)


def header(text: str) -> dict[str, Any]:
    assert text.startswith("---\n")
    found = yaml.safe_load(text[4:].partition("\n---\n")[0])
    assert isinstance(found, dict)
    return found


def test_the_header_is_what_the_hub_reads() -> None:
    found = header(model_card(CARD))
    assert found == {
        "license": "apache-2.0",
        "base_model": "owner/small",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["accord", "sft", "ppo", "rlhf"],
        "model-index": [
            {
                "name": "harbour-ppo",
                "results": [
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"name": "256 prompts", "type": "evaluate"},
                        "metrics": [
                            {"type": "gold_win_rate", "name": "win rate over sft, by gold", "value": 0.62},
                        ],
                    }
                ],
            }
        ],
    }


def test_the_sections_say_what_was_recorded() -> None:
    text = model_card(CARD)
    for said in (
        "| win rate over sft, by gold | 0.620 (0.550 to 0.690) | 256 prompts | `evaluate` |",
        "| `ppo` | ppo | `sft`, `taste` | `reward=taste`, `kl_target=6` | `c3c3c3c3c3c3` |",
        "| `taste` | reward | `mine.train` | defaults | `b2b2b2b2b2b2` |",
        "| `mine` | `prefs.jsonl` | not recorded | `train` (comparisons, 1,200) |",
        "- ppo, from 3 on: the KL was negative.",
        "The licence of the data `mine` is not recorded.",
        "```yaml\nmodel: owner/small",
        "| machine | `not recorded` |",
    ):
        assert said in text
    assert "simulated" not in text


def test_of_a_run_that_is_not_finished_it_says_so_first() -> None:
    where = "This run is not finished: 3 of its 4 steps are done. It stopped at 'evaluate' (<b>no</b> disk)."
    before, _, _ = model_card(replace(CARD, unfinished=where)).partition("## Trained from")
    assert before.endswith("It stopped at 'evaluate' (\\<b\\>no\\</b\\> disk).\n\n")
    assert "not finished" not in model_card(CARD)


def test_what_is_not_known_is_said_to_be_unknown_and_left_out_of_the_header() -> None:
    bare = replace(CARD, base=None, data=[], measures=[], alarms=[], cost="", created="")
    text = model_card(bare)
    assert not {"license", "base_model", "datasets", "model-index"} & header(text).keys()
    for said in (
        "What the training began with is not recorded.",
        "No data set is recorded on the way to this model.",
        "This model was not evaluated in this run.",
        "How good it is is not known: nothing was measured.",
        "None was raised on the way to this model",
        "## Cost\n\nNot recorded.",
    ):
        assert said in text


def test_what_a_study_found_is_said_and_is_no_number_of_the_header() -> None:
    text = model_card(replace(CARD, measures=[], studied=["study: gold fell by 0.8."]))
    assert "model-index" not in header(text)
    assert "study: gold fell by 0.8.\n\nNothing else was measured of it." in text
    assert "How good it is is not known" not in text


def test_simulated_labels_are_named_as_such_and_are_no_human_feedback() -> None:
    labels = CardStep("asked", "collect", "d4" * 32, {}, ["mine"], Labels("asked", "simulated:gold", True, 40, 0))
    text = model_card(replace(CARD, steps=[labels, *CARD.steps]))
    assert "Labels of `asked` are simulated: no person gave them" in text
    assert "| `asked` | simulated:gold | 40 |" in text
    tags = header(text)["tags"]
    assert "simulated-feedback" in tags
    assert "rlhf" not in tags


def test_a_reward_model_is_a_classifier() -> None:
    found = header(model_card(replace(CARD, produces="reward", kind="reward", step="taste", steps=CARD.steps[:2])))
    assert found["pipeline_tag"] == "text-classification"
    assert found["tags"] == ["accord", "sft", "reward-model"]


def test_data_of_the_hub_stands_in_the_header() -> None:
    data = [replace(CARD.data[0], hub="owner/prefs", source="hub:owner/prefs")]
    assert header(model_card(replace(CARD, data=data)))["datasets"] == ["owner/prefs"]


@pytest.mark.parametrize("hostile", ["a|b\n# heading", "---\nlicense: mit", "``` x", "<script>alert(1)</script>"])
def test_names_of_others_are_text(hostile: str) -> None:
    labels = Labels(hostile, hostile, True, 1, 0)
    text = model_card(
        replace(
            CARD,
            run=hostile,
            step=hostile,
            base=CardBase(hostile),
            data=[DataSet(hostile, hostile, "", hostile, [(hostile, hostile, None)])],
            steps=[CardStep(hostile, hostile, hostile, {hostile: hostile}, [hostile], labels)],
            alarms=[hostile],
            recipe=hostile,
            environment={hostile: hostile},
        )
    )
    assert header(text)["library_name"] == "transformers"
    assert "license" not in header(text)
    body = text.partition("\n---\n")[2]
    outside = body.partition("## Recipe")[0]
    assert "\n# heading" not in outside
    tables = re.findall(r"(?:^\|.*\n)+", outside, flags=re.M)
    assert len(tables) == 5
    for one in tables:
        assert len({line.count("|") - line.count("\\|") for line in one.splitlines()}) == 1, "as many cells in each row"
    assert "<script>" not in re.sub(r"`[^`]*`", "", outside), "but as code"


def test_markdown_holds_any_text() -> None:
    assert code("") == "–"  # noqa: RUF001
    assert code("a`b") == "`` a`b ``"
    assert plain("a_b [c](d)") == r"a\_b \[c\](d)"
    assert block("a\n```\nb", "yaml") == "````yaml\na\n```\nb\n````"
    assert grid(["a"], [["1"]]) == "| a |\n| --- |\n| 1 |"
    assert json.loads(json.dumps(code("\x1b[31m"))) == "`�[31m`"
