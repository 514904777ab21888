from __future__ import annotations

import json
from queue import SimpleQueue
from typing import Any

import pytest
import torch
from starlette.testclient import TestClient

from accord.engine.policy_engine import PolicyEngine
from accord.engine.readings import Text, read
from accord.engine.sampler import Sampler
from accord.models.policy import Policy
from accord.serve.worker import PromptRead, Question, Worker
from accord.text.tree import Branch, Tree, TreeBatch

TEXT = "The acting is warm"


def ask(client: TestClient, **body: Any) -> Any:
    return client.post("/v1/completions", json={"model": "one", "prompt": TEXT, **body})


def logprobs_of(policy: Policy, ids: list[int]) -> list[float]:
    """Of all tokens but the first."""
    tree = Tree(tuple(ids[:1]), (Branch(tuple(ids[1:])),))
    with torch.no_grad():
        return policy.token_logprobs(TreeBatch.from_trees([tree])).logprobs.tolist()


def encoded(policy: Policy, text: str) -> list[int]:
    return list(policy.template.plain_ids(text, marked=False))


def test_the_shape(client: TestClient) -> None:
    found = ask(client, n=2, seed=1).json()
    assert found["object"] == "text_completion"
    assert found["id"].startswith("cmpl-")
    assert [sorted(one) for one in found["choices"]] == [["finish_reason", "index", "logprobs", "text"]] * 2
    assert [(one["index"], one["logprobs"]) for one in found["choices"]] == [(0, None), (1, None)]
    usage = found["usage"]
    assert usage["completion_tokens"] <= 32
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_all_kinds_of_prompt(client: TestClient, policy: Policy) -> None:
    """Choices come prompt by prompt, and a prompt is answered as alone."""
    ids = encoded(policy, TEXT)
    texts = [one["text"] for one in ask(client, prompt=TEXT, n=2, seed=1).json()["choices"]]
    assert [one["text"] for one in ask(client, prompt=ids, n=2, seed=1).json()["choices"]] == texts
    several = ask(client, prompt=[[5, 6], ids], n=2, seed=1).json()
    assert [one["index"] for one in several["choices"]] == [0, 1, 2, 3]
    assert [one["text"] for one in several["choices"]][2:] == texts
    assert several["usage"]["prompt_tokens"] == 2 + len(ids)
    assert len(ask(client, prompt=["one", TEXT]).json()["choices"]) == 2


def test_both_names_of_the_limit(client: TestClient) -> None:
    for more in ({"max_completion_tokens": 3}, {"max_completion_tokens": 3, "max_tokens": 9}):
        assert ask(client, temperature=0, **more).json()["usage"]["completion_tokens"] <= 3


def test_log_likelihood_of_a_text_as_evaluations_ask_for_it(client: TestClient, policy: Policy) -> None:
    """The prompt's tokens, the first without a number, and exactly one more; no token is added to ids."""
    ids = encoded(policy, "A dull plot, a worse ending")
    body = {"prompt": [ids, [7, 8, 9]], "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0, "seed": 1234}
    found = ask(client, **body).json()
    for choice, given in zip(found["choices"], (ids, [7, 8, 9]), strict=True):
        logprobs = choice["logprobs"]
        assert {len(column) for column in logprobs.values()} == {len(given) + 1}
        assert (logprobs["token_logprobs"][0], logprobs["top_logprobs"][0]) == (None, None)
        assert logprobs["token_logprobs"][1:-1] == pytest.approx(logprobs_of(policy, given), abs=1e-4)
        for token, own, top in zip(
            *(logprobs[key][1:] for key in ("tokens", "token_logprobs", "top_logprobs")), strict=True
        ):
            assert top[token] == own <= max(top.values())
            assert len(top) <= 2
        # the slot behind the prompt holds what is most probable there
        assert logprobs["token_logprobs"][-1] == max(logprobs["top_logprobs"][-1].values())
    assert found["usage"]["completion_tokens"] == 2


def test_the_end_of_a_text_has_a_slot_too(client: TestClient, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = (7, 8, 9)
    monkeypatch.setattr(policy.template, "end_id", read(policy, [Text(ids, follow=True)])[0][-1].token)
    body = {"prompt": list(ids), "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
    (choice,) = ask(client, **body).json()["choices"]
    assert [len(column) for column in choice["logprobs"].values()] == [4] * 4
    assert choice["finish_reason"] == "stop"


def test_what_one_pass_says_is_what_the_sampler_writes(client: TestClient) -> None:
    """A likelihood's one token comes from the pass over the prompt; more of them, and draws, from the sampler."""
    alone = ask(client, echo=True, logprobs=2, max_tokens=1, temperature=0).json()["choices"][0]
    several = ask(client, echo=True, logprobs=2, max_tokens=4, temperature=0).json()["choices"][0]
    num = len(alone["logprobs"]["tokens"])
    assert alone["logprobs"]["tokens"] == several["logprobs"]["tokens"][:num]
    assert alone["logprobs"]["token_logprobs"][1:] == pytest.approx(
        several["logprobs"]["token_logprobs"][1:num], abs=1e-4
    )
    assert several["text"].startswith(alone["text"])
    body = {"echo": True, "logprobs": 0, "max_tokens": 1, "temperature": 2}
    drawn = [ask(client, seed=seed, **body).json()["choices"][0]["logprobs"]["tokens"][-1] for seed in range(6)]
    assert len(set(drawn)) > 1


def test_echo_alone_and_with_offsets(client: TestClient, policy: Policy) -> None:
    (choice,) = ask(client, echo=True, max_tokens=0, logprobs=0).json()["choices"]
    logprobs = choice["logprobs"]
    assert (choice["text"], choice["finish_reason"]) == (TEXT, "length")
    assert "".join(logprobs["tokens"]) == TEXT
    assert [TEXT[at:].startswith(token) for token, at in zip(logprobs["tokens"], logprobs["text_offset"], strict=True)]
    assert logprobs["top_logprobs"][1:] == [
        {token: own} for token, own in zip(logprobs["tokens"][1:], logprobs["token_logprobs"][1:], strict=True)
    ]
    (choice,) = ask(client, echo=True, max_tokens=5, temperature=0, logprobs=0, stop=[]).json()["choices"]
    whole = choice["text"]
    for token, at in zip(choice["logprobs"]["tokens"], choice["logprobs"]["text_offset"], strict=True):
        assert token.startswith(("bytes:", "<|")) or whole[at:].startswith(token)
    (choice,) = ask(client, prompt=[1, 7, 2], echo=True, max_tokens=0).json()["choices"]
    assert choice["text"] == policy.template.plain_text([1, 7, 2])


def test_parts_of_characters_have_offsets_of_the_whole(client: TestClient, policy: Policy) -> None:
    text = "a灯b"
    logprobs = ask(client, prompt=text, echo=True, max_tokens=0, logprobs=0).json()["choices"][0]["logprobs"]
    assert logprobs["tokens"] == ["a", "bytes:\\xe7", "bytes:\\x81", "bytes:\\xaf", "b"]
    assert logprobs["text_offset"] == [0, 1, 1, 1, 2]


@pytest.mark.parametrize(
    "more", [{}, {"logprobs": 2}, {"logprobs": 0, "echo": True}, {"echo": True, "prompt": ["a", TEXT]}]
)
def test_a_stream_is_the_completion_in_parts(client: TestClient, more: dict[str, Any]) -> None:
    whole = ask(client, seed=2, n=2, **more).json()
    answer = ask(client, seed=2, n=2, stream=True, stream_options={"include_usage": True}, **more)
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    events = [json.loads(line) for line in lines]
    last = events.pop()
    assert (last["choices"], last["usage"]) == ([], whole["usage"])
    for choice in whole["choices"]:
        parts = [one for event in events for one in event["choices"] if one["index"] == choice["index"]]
        assert "".join(part["text"] for part in parts) == choice["text"]
        assert parts[-1]["finish_reason"] == choice["finish_reason"]
        if choice["logprobs"]:
            found = [x for part in parts for x in part["logprobs"]["text_offset"]]
            assert found == choice["logprobs"]["text_offset"]


def test_stop_and_seed(client: TestClient) -> None:
    whole = ask(client, seed=5, max_tokens=20).json()["choices"][0]["text"]
    assert ask(client, seed=5, max_tokens=20).json()["choices"][0]["text"] == whole
    stop = whole[4:6]
    cut = ask(client, seed=5, max_tokens=20, stop=stop, logprobs=1).json()
    assert cut["choices"][0]["text"] == whole[: whole.find(stop)]
    assert cut["choices"][0]["finish_reason"] == "stop"
    assert len(cut["choices"][0]["logprobs"]["tokens"]) == cut["usage"]["completion_tokens"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"prompt": ""}, "the prompt has no tokens"),
        ({"prompt": []}, "prompt: a text, a list of texts, a list of token ids, or a list of such lists is wanted"),
        ({"prompt": [[]]}, "is wanted"),
        ({"prompt": [5, "x"]}, "is wanted"),
        ({"prompt": [5, -1]}, "is wanted"),
        ({"prompt": [True]}, "is wanted"),
        ({"prompt": None}, "is wanted"),
        ({"prompt": [5, 512]}, "the prompt holds the token 512, and the model knows those below 512"),
        ({"prompt": [5] * 256}, "the prompt has 256 tokens, and the model reads and writes at most 256"),
        ({"prompt": [5] * 257, "max_tokens": 0, "echo": True}, "the prompt has 257 tokens"),
        ({"max_tokens": 0}, "max_tokens: 0 needs echo: true"),
        ({"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 0"),
        ({"logprobs": 21}, "logprobs: Input should be less than or equal to 20"),
        ({"best_of": 3}, "best_of is not supported"),
        ({"suffix": "end"}, "suffix is not supported"),
        ({"prompt": ["x"] * 100, "n": 32}, "3200 choices are asked for at once"),
    ],
)
def test_what_cannot_succeed_is_a_400(client: TestClient, body: dict[str, Any], why: str) -> None:
    answer = ask(client, **body)
    assert answer.status_code == 400, answer.text
    assert why in answer.json()["error"]["message"]


def test_a_prompt_that_fills_the_context_can_be_read(client: TestClient) -> None:
    (choice,) = ask(client, prompt=[5] * 256, max_tokens=0, echo=True, logprobs=0).json()["choices"]
    assert len(choice["logprobs"]["tokens"]) == 256


def test_prompts_that_come_together_are_read_in_one_pass(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from accord.engine import policy_engine as module

    sizes: list[int] = []
    real = module.read
    monkeypatch.setattr(module, "read", lambda policy, texts: sizes.append(len(texts)) or real(policy, texts))
    prompts = [[5 + i, 6, 7] for i in range(12)]
    assert ask(client, prompt=prompts, echo=True, logprobs=1, max_tokens=1, temperature=0).status_code == 200
    assert sum(sizes) == 12
    assert len(sizes) <= 2


def test_a_long_prompt_keeps_no_response_waiting(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts are read in turns of so many tokens, and responses go on in between."""
    from queue import SimpleQueue

    from accord.serve import worker as module
    from accord.serve.worker import Piece, Question

    monkeypatch.setattr(module, "_READ_TOKENS", 4)
    worker = Worker(policy)
    heard: SimpleQueue[Any] = SimpleQueue()
    worker.ask(Question((5, 6, 7), 1, 3, 0.0, 1), lambda one: heard.put(("write", one)))
    for _ in range(8):
        worker.ask(
            Question((5, 6, 7, 8), 1, 0, 0.0, 1, num_top=0, read_prompt=True), lambda one: heard.put(("read", one))
        )
    order = []
    while len(order) < 9:
        kind, one = heard.get(timeout=30)
        if isinstance(one, Piece) and one.finish:
            order.append(kind)
    worker.close()
    assert order.index("write") < 8


def test_a_longer_prompt_than_a_turn_reads_is_read_in_pieces(
    client: TestClient, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log-probabilities are the same, shorter ones are read as ever, and others are written meanwhile."""
    from accord.serve import worker as module

    prompts = [list(range(3, 3 + num)) for num in (3, 60, 5, 40)]
    body = {"prompt": prompts, "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
    whole = ask(client, **body).json()["choices"]
    monkeypatch.setattr(module, "_READ_TOKENS", 16)
    steps, pieces = list[int](), list[int]()
    sampler_step, engine_pieces = Sampler.step, PolicyEngine.read_in_pieces
    monkeypatch.setattr(Sampler, "step", lambda self: steps.append(len(pieces)) or sampler_step(self))

    def counted(self: PolicyEngine, text: Text, num_tokens: int) -> Any:
        for piece in engine_pieces(self, text, num_tokens):
            pieces.append(len(piece))
            yield piece

    monkeypatch.setattr(PolicyEngine, "read_in_pieces", counted)
    for one, other in zip(ask(client, **body).json()["choices"], whole, strict=True):
        assert one["text"] == other["text"]
        assert one["logprobs"]["token_logprobs"][1:] == pytest.approx(other["logprobs"]["token_logprobs"][1:], abs=1e-4)
    assert pieces == [16, 16, 16, 12, 16, 16, 8]
    pieces.clear()
    worker, heard = Worker(policy), SimpleQueue[Any]()
    worker.ask(Question((5, 6), 1, 40, 5.0, 1), lambda one: heard.put(one))
    worker.ask(Question(tuple(range(3, 63)), 1, 0, 0.0, 1, num_top=0, read_prompt=True), lambda one: heard.put(one))
    while not isinstance(heard.get(timeout=30), PromptRead):
        pass
    worker.close()
    assert {1, 2, 3} <= set(steps), "a token between two pieces"
