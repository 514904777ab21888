from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import accord
from accord.models import compute
from accord.models.scalar import Normalisation, ScalarModel
from accord.models.sources import locate

MESSAGES = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello."}]


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("accord.api.models.compute_dtype", lambda: torch.float32)
    monkeypatch.setattr(compute, "compute_dtype", lambda: torch.float32)
    monkeypatch.setenv("ACCORD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def policy(tiny_model: Path) -> accord.Policy:
    return accord.load_policy(tiny_model)


def test_a_ready_folder_is_opened_where_it_is(policy: accord.Policy, tiny_model: Path, tmp_path: Path):
    assert policy.folder == tiny_model
    assert not (tmp_path / "cache").exists()


def test_samples_are_those_of_the_seed(policy: accord.Policy):
    prompts = ["Hello.", MESSAGES, accord.Prompt("mine", (accord.Message("user", "Hello."),))]
    samples = policy.sample(prompts, num_samples=3, max_response_tokens=8, seed=4)
    assert [len(of_prompt) for of_prompt in samples] == [3, 3, 3]
    assert samples == policy.sample(prompts, num_samples=3, max_response_tokens=8, seed=4)
    assert samples != policy.sample(prompts, num_samples=3, max_response_tokens=8, seed=5)
    assert len({text for of_prompt in samples for text in of_prompt}) > 3
    assert policy.sample([]) == []


def test_a_stream_is_the_sample_piece_by_piece(policy: accord.Policy):
    stream = policy.stream(MESSAGES, max_response_tokens=12, seed=4)
    pieces = list(stream)
    assert len(pieces) > 1
    assert "".join(pieces) == stream.text == policy.sample([MESSAGES], max_response_tokens=12, seed=4)[0][0]
    assert stream.finished is False
    assert list(stream) == []


def test_temperature_0_is_the_most_probable_token_as_transformers_has_it(policy: accord.Policy, tiny_model: Path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    ids = tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    module = AutoModelForCausalLM.from_pretrained(tiny_model)
    out = module.generate(**ids, max_new_tokens=8, do_sample=False)
    expected = tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
    assert policy.sample([MESSAGES], max_response_tokens=8, temperature=0) == [[expected]]


def test_logprobs_are_summed_over_the_response_and_its_end(policy: accord.Policy, tiny_model: Path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    module = AutoModelForCausalLM.from_pretrained(tiny_model)

    def expected(answer: str) -> float:
        turns = [*MESSAGES, {"role": "assistant", "content": answer}]
        ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)["input_ids"]
        opened = tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True)["input_ids"]
        with torch.no_grad():
            logprobs = module(ids).logits.log_softmax(-1)
        return sum(float(logprobs[0, t - 1, ids[0, t]]) for t in range(len(opened), ids.shape[1]))

    answers = ["A dull plot.", "It is warm, and the story moves."]
    got = policy.logprobs([MESSAGES, MESSAGES], [answers, answers[:1]])
    assert got[0] == pytest.approx([expected(answer) for answer in answers], abs=1e-3)
    assert got[1] == pytest.approx(got[0][:1], abs=1e-3)
    unfinished = policy.logprobs([MESSAGES], [[accord.Response("A dull plot.", finished=False)]])
    assert unfinished[0][0] > got[0][0]
    assert policy.logprobs([], []) == []


def test_a_prefill_is_given_and_not_written(policy: accord.Policy):
    opened = [*MESSAGES, {"role": "assistant", "content": "The acting"}]
    (whole,) = policy.logprobs([opened], [[" is warm."]])[0]
    with_prefill = accord.Prompt("0", tuple(accord.Message(**m) for m in MESSAGES), "The acting")  # type: ignore[arg-type]
    assert policy.logprobs([with_prefill], [[" is warm."]])[0] == [whole]


def test_a_response_ends_with_the_context(policy: accord.Policy):
    assert policy.context == 256
    long = "word " * 60
    room = 256 - policy.num_tokens(long)
    assert 0 < room < 200
    pieces = list(policy.stream(long, max_response_tokens=500, temperature=2.0))
    assert pieces
    assert policy.sample([long], max_response_tokens=500)
    with pytest.raises(
        accord.UserError, match=r"prompt '1': the prompt has \d+ tokens, and the model reads at most 256"
    ):
        policy.sample(["short", "word " * 200])


def test_saved_it_is_the_same_folder_and_nothing_is_overwritten(
    policy: accord.Policy, tiny_model: Path, tmp_path: Path
):
    policy.save(tmp_path / "out")
    assert (tmp_path / "out/model.safetensors").read_bytes() == (tiny_model / "model.safetensors").read_bytes()
    with pytest.raises(accord.UserError, match="there is something at this path already"):
        policy.save(tmp_path / "out")


def test_a_folder_that_is_not_ready_is_prepared_once(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A stock template that writes a newline after the turn, and padding by the end of the turn."""
    stock = shutil.copytree(tiny_model, tmp_path / "stock")
    tokenizer = AutoTokenizer.from_pretrained(stock)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{{ '<|im_start|>assistant\n' if add_generation_prompt }}"
    )
    tokenizer.pad_token = "<|im_end|>"
    tokenizer.save_pretrained(stock)
    policy = accord.load_policy(stock)
    assert policy.folder.parent == tmp_path / "cache/models"
    assert "preparing" in capsys.readouterr().err
    again = accord.load_policy(stock)
    assert again.folder == policy.folder
    assert "preparing" not in capsys.readouterr().err
    assert policy.sample(["Hello."], max_response_tokens=4) == again.sample(["Hello."], max_response_tokens=4)
    assert [path.name for path in policy.folder.parent.iterdir() if path.name.startswith(".prepare")] == []


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ("Hello.", "one prompt was given, and a list of prompts is wanted"),
        (
            [[{"role": "teacher", "content": "x"}]],
            "prompts[0][0].role: 'teacher' is not one of system, user, assistant",
        ),
        (["a", [{"role": "user"}]], "prompts[1][0].content: is missing"),
        ([[{"role": "user", "content": 3}]], "prompts[0][0].content: a text is wanted, not a number"),
        ([["Hello."]], "prompts[0][0]: an object with role and content is wanted, not a text"),
        ([[]], "prompts[0]: there is no message to answer"),
        ([[{"role": "assistant", "content": "x"}]], "prompts[0]: there is no message to answer"),
    ],
)
def test_prompts_that_are_none(policy: accord.Policy, prompts: object, message: str):
    with pytest.raises(accord.UserError) as caught:
        policy.sample(prompts)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("responses", "message"),
    [
        (["a"], "responses[0]: one response was given, and a list of responses to each prompt is wanted"),
        ([[]], "responses[0]: there is no response to this prompt"),
        ([["a"], ["b"]], "responses: there are responses to 2 prompts, and 1 prompts"),
    ],
)
def test_responses_that_are_none(policy: accord.Policy, responses: object, message: str):
    with pytest.raises(accord.UserError) as caught:
        policy.logprobs(["Hello."], responses)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def test_a_reward_models_score_is_normalised_or_raw(tiny_model: Path, tmp_path: Path):
    ScalarModel.from_policy(tiny_model, 1).save(tmp_path / "rm", {}, Normalisation(0.5, 2.0))
    reward = accord.load_reward(tmp_path / "rm")
    answers = [["A dull plot.", "Warm."], ["No."]]
    scores = reward.score(["a", "b"], answers)
    raw = reward.score(["a", "b"], answers, normalised=False)
    assert [len(of_prompt) for of_prompt in scores] == [2, 1]
    assert scores[0][1] == pytest.approx(2 * (raw[0][1] - 0.5), abs=1e-5)
    assert reward.score(["b"], [["No."]])[0][0] == pytest.approx(scores[1][0], abs=1e-4)
    assert reward.score([], []) == []


def test_a_function_is_a_reward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("f.py").write_text("def length(responses):\n    return [len(text) for text in responses]\n")
    assert accord.load_reward("f.py:length").score(["x"], [["abc", "d"]]) == [[3.0, 1.0]]
    with pytest.raises(accord.UserError, match="Did you mean 'length'"):
        accord.load_reward("f.py:lenght")


def test_what_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(accord.UserError, match="'empty' holds no model"):
        accord.load_policy("empty")
    Path("lora").mkdir()
    Path("lora/adapter_config.json").write_text("{}")
    for refused in (lambda: accord.load_policy("lora"), lambda: locate("lora")):
        with pytest.raises(accord.UserError, match="'lora' holds an adapter, and no whole model"):
            refused()
    with pytest.raises(accord.UserError, match="Did you mean 'smollm2-135m-instruct'"):
        accord.load_policy("smollm2-135m-instrct")
    for name in ("empty", "nothing"):
        with pytest.raises(accord.UserError, match=f"there is no reward '{name}'"):
            accord.load_reward(name)


def test_each_response_has_the_room_that_its_own_prompt_leaves(policy: accord.Policy):
    """A long prompt among short ones cuts none of their responses."""
    long = "word " * 70
    room = 256 - policy.num_tokens(long)
    alone = policy.sample(["Hello."], max_response_tokens=room + 20, seed=4)
    assert alone != policy.sample(["Hello."], max_response_tokens=room, seed=4)
    together = policy.sample(["Hello.", long, "Hello."], max_response_tokens=room + 20, seed=4)
    assert together[0] == alone[0]
    assert together[1] == policy.sample(["Hello.", long], max_response_tokens=room, seed=4)[1]
    assert len(together[2]) == 1


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"num_samples": 0}, "num_samples is 0, and at least 1 is wanted"),
        ({"max_response_tokens": 0}, "max_response_tokens is 0, and at least 1 is wanted"),
        ({"temperature": -1}, "the temperature is -1, and at least 1e-06 is wanted"),
        ({"temperature": 1e-40}, "the temperature is 1e-40, and at least 1e-06 is wanted"),
        ({"temperature": float("nan")}, "the temperature is nan, and at least"),
        ({"temperature": float("inf")}, "the temperature is inf, and at least"),
    ],
)
def test_numbers_with_which_nothing_can_be_sampled(policy: accord.Policy, numbers: dict[str, float], message: str):
    with pytest.raises(accord.UserError) as caught:
        policy.sample(["Hello."], **numbers)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)
    if "num_samples" not in numbers:
        with pytest.raises(accord.UserError, match="is wanted"):
            policy.stream("Hello.", **numbers)  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [0, -1, 1e-40, float("nan")])
def test_logprobs_at_no_temperature(policy: accord.Policy, temperature: float):
    with pytest.raises(accord.UserError, match=r"the temperature is .*, and at least 1e-06 is wanted"):
        policy.logprobs(["Hello."], [["x"]], temperature=temperature)


def test_the_coldest_temperature_is_nearly_the_most_probable_token(policy: accord.Policy):
    cold = policy.sample(["Hello."], max_response_tokens=8, temperature=1e-6)
    assert cold == policy.sample(["Hello."], max_response_tokens=8, temperature=0)
    assert policy.logprobs(["Hello."], [["x"]], temperature=1e-6)[0][0] < 0


def test_a_response_that_is_too_long_for_the_model(policy: accord.Policy):
    with pytest.raises(
        accord.UserError, match=r"prompt '1': the prompt and a response have \d+ tokens, .* at most 256"
    ):
        policy.logprobs(["a", "b"], [["x"], ["y", "word " * 200]])


def test_half_a_character(policy: accord.Policy):
    half = "a\ud800"
    for prompt in (half, [{"role": "user", "content": half}], accord.Prompt("p", (accord.Message("user", half),))):
        with pytest.raises(accord.UserError, match=r"prompts\[1\].*: holds half of a surrogate pair"):
            policy.sample(["Hello.", prompt])
    with pytest.raises(accord.UserError, match=r"prompt: holds half of a surrogate pair"):
        policy.stream(accord.Prompt("p", (accord.Message("user", "x"),), half))
    with pytest.raises(accord.UserError, match=r"responses\[0\]\[1\]: holds half of a surrogate pair"):
        policy.logprobs(["Hello."], [["x", half]])
    with pytest.raises(accord.UserError, match=r"responses\[0\]\[0\]: a text is wanted, not a number"):
        policy.logprobs(["Hello."], [[3]])  # type: ignore[list-item]


def test_what_a_policy_and_a_reward_are_shown_as(
    policy: accord.Policy, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("f.py").write_text("def length(responses):\n    return [len(text) for text in responses]\n")
    assert repr(policy) == f"<accord.Policy '{tiny_model}'>"
    assert repr(accord.load_reward("f.py:length")) == "<accord.Reward 'f.py:length'>"
