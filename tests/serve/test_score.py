"""Rewards over HTTP, and the best of N."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from starlette.testclient import TestClient

import accord
from accord.errors import UserError
from accord.models.policy import Policy
from accord.models.scalar import Normalisation, ScalarModel
from accord.serve import asking, reward_worker
from accord.serve.app import create_app
from accord.serve.errors import Refusal
from accord.serve.reward_worker import RewardWorker
from accord.serve.serving import check_best_of
from accord.serve.worker import Worker
from accord.types import Message, Prompt, Response

HELLO = {"role": "user", "content": "Hello."}
LENGTH = """
def length(responses):
    if any("bad" in one for one in responses):
        raise RuntimeError("it is bad")
    return [float(len(one)) for one in responses]
"""


@pytest.fixture(scope="module")
def learned(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> accord.Reward:
    folder = tmp_path_factory.mktemp("reward") / "rm"
    ScalarModel.from_policy(tiny_model, 1).save(folder, {}, Normalisation(0.5, 2.0))
    return accord.load_reward(folder)


@pytest.fixture(scope="module")
def length(tmp_path_factory: pytest.TempPathFactory) -> accord.Reward:
    """The longest text is the best."""
    file = tmp_path_factory.mktemp("reward") / "f.py"
    file.write_text(LENGTH)
    return accord.load_reward(f"{file}:length")


@pytest.fixture(scope="module")
def rewards(learned: accord.Reward, length: accord.Reward) -> Iterator[dict[str, RewardWorker]]:
    workers = {"rm": RewardWorker("rm", learned), "length": RewardWorker("length", length)}
    yield workers
    for one in workers.values():
        one.close()


@pytest.fixture(scope="module")
def client(policy: Policy, rewards: dict[str, RewardWorker]) -> Iterator[TestClient]:
    worker = Worker(policy)
    with TestClient(create_app({"one": worker}, rewards), base_url="http://127.0.0.1") as client:
        yield client
    worker.close()


@pytest.fixture(scope="module")
def best(policy: Policy, length: accord.Reward) -> Iterator[TestClient]:
    worker, reward = Worker(policy), RewardWorker("length", length)
    app = create_app({"one": worker}, {"length": reward}, best_of=4)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client
    worker.close()
    reward.close()


def conversation(text: str) -> dict[str, Any]:
    return {"messages": [HELLO, {"role": "assistant", "content": text}]}


def score(client: TestClient, model: str, *texts: str) -> Any:
    return client.post("/v1/score", json={"model": model, "input": [conversation(text) for text in texts]})


def test_scores_are_the_rewards(client: TestClient, learned: accord.Reward) -> None:
    texts = ["Good.", "Bad, and long.", ""]
    found = score(client, "rm", *texts).json()
    assert (found["object"], [one["index"] for one in found["data"]]) == ("list", [0, 1, 2])
    expected = [learned.score(["Hello."], [[text]])[0][0] for text in texts]
    assert [one["score"] for one in found["data"]] == pytest.approx(expected, abs=1e-3)
    assert found["usage"]["prompt_tokens"] == found["usage"]["total_tokens"] > 30
    assert [one["score"] for one in score(client, "length", *texts).json()["data"]] == [5.0, 14.0, 0.0]


def test_many_are_scored_together_and_each_gets_its_own(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails keeps no other from its score."""
    with ThreadPoolExecutor(8) as pool:
        texts = ["bad" if i == 3 else "x" * i for i in range(8)]
        answers = list(pool.map(lambda text: score(client, "length", text), texts))
    assert [one.status_code for one in answers] == [500 if i == 3 else 200 for i in range(8)]
    assert "it is bad" in answers[3].json()["error"]["message"]
    assert [one.json()["data"][0]["score"] for i, one in enumerate(answers) if i != 3] == [0, 1, 2, 4, 5, 6, 7]


def test_names(client: TestClient) -> None:
    rows = client.get("/v1/models").json()["data"]
    assert [(row["id"], row["kind"]) for row in rows] == [("one", "policy"), ("rm", "reward"), ("length", "reward")]
    asked = {"model": "rm", "messages": [HELLO]}
    answer = client.post("/v1/chat/completions", json=asked)
    assert (answer.status_code, "is a reward: it scores at /v1/score" in answer.text) == (400, True)
    assert "is a policy" in score(client, "one", "x").json()["error"]["message"]
    assert score(client, "lengths", "x").status_code == 404


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ([], "input: List should have at least 1 item"),
        ([{}], "input.0.messages: Field required"),
        ([{"messages": []}], "input.0.messages: List should have at least 1 item"),
        ([conversation("x"), {"messages": [HELLO]}], "input.1.messages: the last message is to be the assistant's"),
        ([{"messages": [{"role": "assistant", "content": "x"}]}], "a message of the user's must stand before"),
        ([conversation("a<|im_end|>b")], "a text holds '<|im_end|>'"),
        ([conversation("word " * 300)], "and the reward model 'rm' reads at most 256"),
    ],
)
def test_what_cannot_be_scored_is_a_400(client: TestClient, asked: Any, why: str) -> None:
    answer = client.post("/v1/score", json={"model": "rm", "input": asked})
    assert answer.status_code == 400
    assert why in answer.json()["error"]["message"]


def ask(client: TestClient, **body: Any) -> Any:
    return client.post("/v1/chat/completions", json={"model": "one", "messages": [HELLO], "max_tokens": 12, **body})


def test_every_answer_is_the_best_of_its_draws(client: TestClient, best: TestClient) -> None:
    """Of the draws that the same seed gives, four and four, the longest each; all their tokens are counted."""
    draws = ask(client, seed=3, n=8, logprobs=True).json()
    texts = [one["message"]["content"] for one in draws["choices"]]
    found = ask(best, seed=3, n=2, logprobs=True).json()
    longest = [max(texts[:4], key=len), max(texts[4:], key=len)]
    assert [one["message"]["content"] for one in found["choices"]] == longest
    assert found["usage"] == draws["usage"]
    for one in found["choices"]:
        of_draw = draws["choices"][texts.index(one["message"]["content"])]
        assert (one["logprobs"], one["finish_reason"]) == (of_draw["logprobs"], of_draw["finish_reason"])


def test_a_stream_has_the_best_once_it_is_known(best: TestClient) -> None:
    whole = ask(best, seed=3, n=2).json()
    lines = ask(best, seed=3, n=2, stream=True).text.split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    texts = ["", ""]
    for event in events:
        for choice in event["choices"]:
            texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == [one["message"]["content"] for one in whole["choices"]]
    assert [one["choices"][0]["finish_reason"] for one in events].count(None) == len(events) - 2


def test_what_no_best_of_n_can_be_of(best: TestClient) -> None:
    answer = ask(best, n=17)
    assert answer.status_code == 400
    why = "each answer is the best of 4, and 64 are written at once: n is at most 16"
    assert answer.json()["error"]["message"] == why
    answer = best.post("/v1/completions", json={"model": "one", "prompt": "x"})
    assert (answer.status_code, "ask /v1/chat/completions" in answer.text) == (400, True)


def test_a_best_of_n_that_cannot_be_is_refused_at_the_start() -> None:
    check_best_of(1, 3, 0)
    check_best_of(64, 2, 1)
    for arguments in ((2, 1, 0), (2, 1, 2), (2, 0, 1)):
        with pytest.raises(UserError, match="--best-of wants a policy and one reward"):
            check_best_of(*arguments)
    with pytest.raises(UserError, match="--best-of 65 is more than can be written at once"):
        check_best_of(65, 1, 1)


def test_nobody_scores_for_a_client_that_has_left(
    client: TestClient, rewards: dict[str, RewardWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is being scored is ended, what is not begun is dropped, and the next one is answered."""
    from starlette.requests import Request

    sizes, go_on = list[int](), Event()

    def slowly(self: accord.Reward, prompts: list[Any], responses: list[Any]) -> list[list[float]]:
        sizes.append(len(prompts))
        assert go_on.wait(10)
        return [[0.0] for _ in prompts]

    async def gone(self: Request) -> bool:
        return True

    with monkeypatch.context() as patch:
        patch.setattr(asking, "_LOOK", 0.01)
        patch.setattr(reward_worker, "_MOST", 4)
        patch.setattr(accord.Reward, "score", slowly)
        patch.setattr(Request, "is_disconnected", gone)
        assert score(client, "length", *["x"] * 40).status_code == 499
        go_on.set()
        assert rewards["length"].score(Prompt("p", (Message("user", "Hi"),)), Response("x")).result(10) == 0.0
    assert sum(sizes) <= 5, "of forty, four had been begun"


def test_when_one_fails_no_others_are_begun(length: accord.Reward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reward_worker, "_MOST", 1)
    worker, scored = RewardWorker("length", length), list[str]()
    of_length = accord.Reward.score

    def slowly(self: accord.Reward, prompts: list[Any], responses: list[Any]) -> list[list[float]]:
        scored.append(responses[0][0].text)
        time.sleep(0.02)
        return of_length(self, prompts, responses)

    monkeypatch.setattr(accord.Reward, "score", slowly)
    pairs = [(Prompt("p", (Message("user", "Hi"),)), Response(text)) for text in ["bad", *["x"] * 40]]
    with pytest.raises(Refusal, match="it is bad"):
        asyncio.run(asking.scores(worker, pairs))
    worker.close()
    assert len(scored) < 20
