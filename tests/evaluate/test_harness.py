"""lm-evaluation-harness in this process, and its own HFLM beside it. Without a hub: sockets reach loopback alone."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from accord.cli import app
from accord.errors import UserError
from accord.evaluate.instructions import Followed, Instructed
from accord.models.policy import Policy

pytest.importorskip("lm_eval", reason="the extra `bench` is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # the harness's own

ENDINGS = [
    {"start": "The acting is", "choices": [" warm and the story moves.", " dull."], "answer": 0, "kind": "a"},
    {"start": "A dull plot, and", "choices": [" not one joke that lands.", " funny", "."], "answer": 1, "kind": "a"},
    {"start": "It is a quiet film ", "choices": ["about a lighthouse.", "."], "answer": 0, "kind": "b"},
    {"start": "", "choices": ["The director forgot", "that a comedy wants"], "answer": 0, "kind": "b"},
]
CHOICE = """task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{start}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
target_delimiter: ""
metric_list: [{{metric: acc}}]
metadata: {{version: 3.0}}
"""
ANSWER = """task: made_up_answers
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{start}}}}"
doc_to_target: "{{{{choices[0]}}}}"
generation_kwargs: {{until: ["z", "!"], max_gen_toks: 12, do_sample: false}}
process_results: !function code.process
metric_list: [{{metric: num_letters, aggregation: mean, higher_is_better: true}}]
"""
TEXT = """task: made_up_text
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{choices[0]}}}}"
metric_list: [{{metric: word_perplexity}}]
"""
GROUP = """group: made_up
task: [made_up_a, made_up_b]
aggregate_metric_list: [{metric: acc}]
"""


@pytest.fixture(scope="module", autouse=True)
def _offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        import datasets

        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("ACCORD_CACHE", str(tmp_path_factory.mktemp("accord")))
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of tasks, with their data."""
    own = tmp_path_factory.mktemp("tasks")
    for kind in ("a", "b"):
        rows = [row for row in ENDINGS if row["kind"] == kind]
        data = own / f"{kind}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        (own / f"{kind}.yaml").write_text(CHOICE.format(name=f"made_up_{kind}", data=data))
    (own / "all.yaml").write_text(GROUP)
    (own / "answers.yaml").write_text(ANSWER.format(data=own / "a.jsonl"))
    (own / "text.yaml").write_text(TEXT.format(data=own / "a.jsonl"))
    (own / "code.py").write_text("def process(doc, results):\n    return {'num_letters': len(results[0])}\n")
    return own


@pytest.fixture(scope="module")
def own(tiny_model: Path) -> Any:
    from accord.evaluate.harness import PolicyLM

    return PolicyLM(Policy.load(tiny_model), "tiny")


@pytest.fixture(scope="module")
def theirs(tiny_model: Path) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(tiny_model), batch_size=3, device="cpu")


def asked(*arguments: tuple[Any, ...]) -> list[Any]:
    return [SimpleNamespace(args=one) for one in arguments]


def test_log_likelihoods_are_those_of_hflm(own: Any, theirs: Any) -> None:
    pairs = [(row["start"], choice) for row in ENDINGS for choice in row["choices"]]
    pairs += [("<|im_start|>user\nIs it funny?<|im_end|>\n", "no<|im_end|>"), ("a word " * 150, "and another one")]
    found, expected = own.loglikelihood(asked(*pairs)), theirs.loglikelihood(asked(*pairs), disable_tqdm=True)
    assert [one for one, _ in found[:-1]] == pytest.approx([one for one, _ in expected[:-1]], abs=1e-3)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert found[-1][0] == pytest.approx(expected[-1][0], rel=0.1)  # too long: one more token of it is left out
    (text,) = theirs.generate_until(asked(("The acting is", {"until": [], "max_gen_toks": 1, "do_sample": False})))
    assert [greedy for _, greedy in own.loglikelihood(asked(("The acting is", text)))] == [True]


def test_whole_texts_are_those_of_hflm(own: Any, theirs: Any) -> None:
    texts = asked(("The acting is warm and the story moves.",), ("A dull plot.",))
    assert own.loglikelihood_rolling(texts) == pytest.approx(theirs.loglikelihood_rolling(texts, True), abs=1e-3)
    (long,) = own.loglikelihood_rolling(asked(("a word " * 200,)))
    assert long == pytest.approx(theirs.loglikelihood_rolling(asked(("a word " * 200,)), True)[0], rel=0.01)


def test_greedy_texts_are_those_of_hflm(own: Any, theirs: Any) -> None:
    options = {"until": ["z", "!"], "max_gen_toks": 20, "do_sample": False}
    questions = asked(*((row["start"] + " and", options) for row in ENDINGS), ("a word " * 150, options))
    found = own.generate_until(questions)
    assert found == theirs.generate_until(questions, disable_tqdm=True)
    (whole,) = own.generate_until(asked((ENDINGS[0]["start"] + " and", {**options, "until": []})))
    assert whole.startswith(found[0])


def test_what_is_drawn_depends_on_the_seed_and_the_options_that_nobody_knows_are_refused(tiny_model: Path) -> None:
    from accord.evaluate.harness import PolicyLM

    policy = Policy.load(tiny_model)
    options = {"until": [], "max_gen_toks": 8, "do_sample": True, "temperature": 1.0, "top_p": 0.9}
    first, again, other = (PolicyLM(policy, "t", s).generate_until(asked(("A", options))) for s in (1, 1, 2))
    assert (first == again, first == other) == (True, False)
    with pytest.raises(UserError, match="the task samples with 'top_k'"):
        PolicyLM(policy, "t").generate_until(asked(("A", {**options, "top_k": 5})))
    with pytest.raises(UserError, match="lets a model write 256 tokens, and this one reads and writes 256 in all"):
        PolicyLM(policy, "t").generate_until(asked(("A", {"until": []})))


def test_tasks_and_groups_of_ones_own_are_those_of_hflm(folder: Path, own: Any, theirs: Any) -> None:
    from accord.evaluate.harness import Tasks

    tasks = Tasks(["made_up", "made_up_answers", "made_up_text"], folder)
    found, expected = tasks.run(own), tasks.run(theirs)
    names = [(one.task, one.metric, one.part_of) for one in found.measured]
    assert names == [
        ("made_up", "acc", None),
        ("made_up_a", "acc", "made_up"),
        ("made_up_b", "acc", "made_up"),
        ("made_up_answers", "num_letters", None),
        ("made_up_text", "word_perplexity", None),
    ]
    assert names == [(one.task, one.metric, one.part_of) for one in expected.measured]
    for one, other in zip(found.measured[:-1], expected.measured[:-1], strict=True):
        assert one.values == other.values
    whole, *_, letters, text = found.measured
    assert len(whole.values) == 4
    assert list(whole.floors.values()) == [pytest.approx((1 / 2 + 1 / 3 + 1 / 2 + 1 / 2) / 4)]
    assert (letters.is_share, text.is_share, text.higher_is_better) == (False, False, False)
    assert text.aggregate is not None
    assert text.aggregate(text.values) == pytest.approx(text.aggregate(expected.measured[-1].values), rel=1e-4)
    assert found.about["made_up_a"] == {"version": 3.0, "num_fewshot": 0}
    assert [row["num_letters"] for row in found.answers if row["task"] == "made_up_answers"] == letters.values


def test_with_the_chat_template_and_examples_in_front(folder: Path, own: Any) -> None:
    from accord.evaluate.harness import Tasks

    ran = Tasks(["made_up_a"], folder).run(own, chat=True, num_fewshot=1, limit=1)
    ((first, _), (_, last)) = (ran.answers[0]["arguments"][i] for i in (0, -1))
    assert first.startswith("<|im_start|>user\n")
    assert first.count("<|im_start|>assistant\n") == 2
    assert last == " dull."
    assert ran.about["made_up_a"]["num_fewshot"] == 1
    assert len(ran.measured[0].values) == 1


def test_unknown_tasks_and_data_that_is_not_there(
    folder: Path, own: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.tasks import manager

    from accord.evaluate.harness import Tasks

    # Of the harness's own tasks a few: to look through all takes seconds.
    some = tmp_path / "harness"
    shutil.copytree(Path(manager.__file__).with_name("arc"), some / "arc")
    monkeypatch.setattr(manager, "__file__", str(some / "manager.py"))
    assert Tasks(["arc_easy"], folder)
    with pytest.raises(UserError, match=r"there is no task 'made_up_c'\n  .*made_up_"):
        Tasks(["made_up_c"], folder)
    (tmp_path / "x.yaml").write_text(CHOICE.format(name="x", data=tmp_path / "nowhere.jsonl"))
    with pytest.raises(UserError, match="the tasks x cannot be loaded"):
        Tasks(["x"], tmp_path).run(own)


def test_code_that_came_with_a_model_is_not_run(tiny_model: Path, tmp_path: Path) -> None:
    from accord.evaluate.harness import Tasks

    for folder in (tiny_model, tiny_model.parent):
        with pytest.raises(UserError, match="code that came with a model is not run"):
            Tasks(["x"], folder)
    (tmp_path / "config.json").write_text('{"of": "something else"}')
    (tmp_path / "x.yaml").write_text(CHOICE.format(name="x", data="x.jsonl"))
    Tasks(["x"], tmp_path)


def instructed(name: str, **arguments: Any) -> Instructed:
    return Instructed("1", "Write.", (name,), (arguments,))


@pytest.mark.parametrize(
    ("item", "response", "strict", "loose"),
    [
        (instructed("punctuation:no_comma"), "One two.", True, True),
        (instructed("punctuation:no_comma"), "Well, then:\nOne two.", False, True),
        (instructed("length_constraints:number_words", relation="at least", num_words=4), "One two.", False, False),
        (
            instructed("length_constraints:number_sentences", relation="less than", num_sentences=3),
            "Dr. Ames came. She left.",  # a full stop behind a title ends no sentence
            True,
            True,
        ),
        (instructed("startend:quotation"), "", False, False),
    ],
)
def test_instructions_are_checked_without_a_download(
    item: Instructed, response: str, strict: bool, loose: bool
) -> None:
    from accord.evaluate.harness import check_instructions

    assert check_instructions([item], [response]) == [Followed((strict,), (loose,))]


def test_checks_that_draw_say_the_same_again_and_leave_others_draws_alone() -> None:
    from accord.evaluate.harness import check_instructions

    odd = instructed("keywords:letter_frequency", letter="#", let_frequency=2, let_relation="at least")
    items, text = [odd, instructed("language:response_language", language="de")], "Ein Satz mit # und #."
    random.seed(1)
    state = random.getstate()
    found = check_instructions(items, [text, text])
    assert random.getstate() == state
    random.seed(2)
    assert check_instructions(items, [text, text]) == found
    assert found[1] == Followed((True,), (True,))


def test_instructions_that_nobody_can_check_are_named() -> None:
    from accord.evaluate.harness import check_instructions

    with pytest.raises(UserError, match=r"there is no instruction 'punctuation:no_coma'\n.*no_comma"):
        check_instructions([instructed("punctuation:no_coma")], [""])
    with pytest.raises(UserError, match=r"the prompt with the key 1: the instructions .*no_comma cannot be checked"):
        check_instructions([instructed("punctuation:no_comma", number=3)], [""])


def test_the_command(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    command = ["eval", "benchmark", str(tiny_model), "--tasks", "made_up, made_up_text", "--include-path", str(folder)]
    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path)], catch_exceptions=False)
    assert "made_up, acc, 4 items" in result.stdout
    assert "made_up_text, word_perplexity, 2 items, less is better" in result.stdout
    (path,) = tmp_path.iterdir()
    assert len(path.read_text().splitlines()) == 6
    suite = tmp_path / "suite.jsonl"
    row = {"key": 1, "prompt": "Say it.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    suite.write_text(json.dumps(row) + "\n")
    command = [*command[:3], "--suite", "ifeval", "--data", str(suite), "--max-response-tokens", "4", "--json"]
    found = json.loads(CliRunner().invoke(app, command, catch_exceptions=False).stdout)
    assert [row["metric"] for row in found["rows"]][:2] == ["prompts, strict", "instructions, strict"]
    assert found["about"][str(tiny_model)] == {"unfinished": 1, "empty": 0}
