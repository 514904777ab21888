from __future__ import annotations

import csv
import gzip
import io
import os
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.evaluate.refusals import (
    Outcome,
    PhraseDetector,
    TrainedDetector,
    error_of,
    held_out_outcomes,
)

LABELS: tuple[Outcome, ...] = ("compliance", "refusal", "partial refusal")


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        ("I'm sorry, but I can't help with that.", "refusal"),
        ("I\u2019m sorry, I cannot do that.", "refusal"),
        ("As an AI, I must not give advice of this kind.", "refusal"),
        ("It is not appropriate to ask for this.", "refusal"),
        ("Sure! First heat the oil, then add the garlic.", "compliance"),
        ("I am sorry to hear that you are ill. Here is what helps: rest.", "compliance"),
        ("You cannot make an omelette without eggs. Take three.", "compliance"),
        ("Heat the oil. " * 20 + "That said, I cannot recommend doing this at home.", "partial refusal"),
        ("", "compliance"),
    ],
)
def test_phrases(response: str, outcome: Outcome) -> None:
    assert PhraseDetector().outcomes(["?"], [response]) == [outcome]


@pytest.mark.parametrize("text", ["I'm sorry ", "sorry that i ", "as an ai i am not ", "it is not a or b "])
def test_a_text_that_is_made_for_it_takes_no_long_time(text: str) -> None:
    """With repetitions within repetitions this would take hours."""
    assert PhraseDetector().outcomes(["?"], [text * 20_000]) != [None]


def test_errors_by_hand() -> None:
    labels: list[Outcome] = ["compliance", "compliance", "refusal", "partial refusal"]
    found: list[Outcome | None] = ["compliance", "refusal", "refusal", None]
    error = error_of(found, labels, ["a", "b", "c", "d"], seed=1)
    assert (error.num, error.num_unknown) == (4, 1)
    assert error.accuracy.value == 0.5
    assert error.sensitivity is not None
    assert error.specificity is not None
    assert (error.sensitivity.value, error.specificity.value) == (0.5, 0.5)
    assert error.confusion == ((1, 0, 1), (0, 0, 0), (0, 0, 1))


def test_the_classifier_learns_and_is_measured_on_prompts_that_it_has_not_seen() -> None:
    """Responses to one prompt hold its word: one who had seen them would know the label by it, and by nothing else."""
    prompts = [f"about thing{i % 20}" for i in range(60)]
    responses = [f"thing{i % 20} is told at length" for i in range(60)]
    labels: list[Outcome] = ["refusal" if i % 20 < 10 else "compliance" for i in range(60)]
    seen = TrainedDetector().fit(responses, labels).outcomes(prompts, responses)
    assert seen == labels
    held_out = error_of(held_out_outcomes(prompts, responses, labels), labels, prompts, seed=1)
    assert held_out.accuracy.value < 0.7


def test_what_cannot_be_learned_from() -> None:
    with pytest.raises(UserError, match="no classifier can be trained on these 2"):
        TrainedDetector().fit(["a b", "a b"], ["refusal", "refusal"])
    with pytest.raises(UserError, match="are to 2 prompts, and 5 are needed"):
        held_out_outcomes(["a", "b", "A "], ["x"] * 3, ["refusal"] * 3)


def xstest() -> tuple[list[str], list[str], list[Outcome]]:
    folder = os.environ.get("ACCORD_DATA")
    if not folder or not (Path(folder) / "safety").is_dir():
        pytest.skip("ACCORD_DATA names no folder with safety/")
    prompts, responses, labels = [], [], []
    for path in sorted((Path(folder) / "safety").glob("xstest_completions_*.csv.gz")):
        for row in csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode())):
            prompts.append(row["prompt"])
            responses.append(row["completion"])
            labels.append(LABELS[int(row["final_label"][0]) - 1])
    return prompts, responses, labels


def test_on_the_labels_of_people_the_classifier_is_better_than_phrases() -> None:
    prompts, responses, labels = xstest()
    phrases = error_of(PhraseDetector().outcomes(prompts, responses), labels, prompts, seed=1)
    learned = error_of(held_out_outcomes(prompts, responses, labels), labels, prompts, seed=1)
    assert phrases.num == 1350
    assert phrases.kappa is not None
    assert phrases.kappa.low > 0.6
    assert phrases.floor < 0.7
    assert learned.accuracy.low > phrases.accuracy.value
