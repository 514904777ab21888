from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

import accord
from accord.engine.sampler import Sampler
from accord.models.policy import Policy
from accord.serve.worker import NUM_SLOTS, Failed, Piece, PromptRead, Question, Worker
from accord.types import Message, Prompt


@pytest.fixture
def worker(tiny_model: Path) -> Iterator[Worker]:
    worker = Worker(Policy.load(tiny_model))
    yield worker
    worker.close()


def question(worker: Worker, text: str, **options: object) -> Question:
    values: dict[str, object] = {"num_samples": 1, "max_response_tokens": 8, "temperature": 1.0, "seed": 1, **options}
    return Question(worker.prompt_ids(Prompt("x", (Message("user", text),))), **values)  # type: ignore[arg-type]


def answers(worker: Worker, *questions: Question) -> list[list[tuple[str, str, int]]]:
    """Of each question, of each response: text, finish, tokens."""
    queues = [SimpleQueue[Piece | PromptRead | Failed]() for _ in questions]
    for one, queue in zip(questions, queues, strict=True):
        worker.ask(one, queue.put)
    found = []
    for one, queue in zip(questions, queues, strict=True):
        texts, ends = [""] * one.num_samples, [("", 0)] * one.num_samples
        while not all(finish for finish, _ in ends):
            piece = queue.get(timeout=30)
            assert isinstance(piece, Piece)
            texts[piece.k] += piece.text
            if piece.finish:
                ends[piece.k] = (piece.finish, piece.num_tokens)
        found.append([(text, *end) for text, end in zip(texts, ends, strict=True)])
    return found


def test_questions_that_come_together_are_answered_as_alone(worker: Worker) -> None:
    """With limits and temperatures of their own."""
    some = [
        question(worker, "one", num_samples=3),
        question(worker, "two, and longer than that", temperature=0, max_response_tokens=5),
        question(worker, "three", temperature=0.7, seed=5, max_response_tokens=12),
        question(worker, "four", num_samples=2, temperature=0, max_response_tokens=1),
    ]
    together = answers(worker, *some)
    assert together == [answers(worker, one)[0] for one in some]
    assert [[num for _, _, num in one] for one in together][1:] == [[5], [12], [1, 1]]
    assert {finish for one in together for _, finish, _ in one} <= {"stop", "length"}


def test_the_text_is_what_the_policy_samples(worker: Worker, tiny_model: Path) -> None:
    (((text, _, _),),) = answers(worker, question(worker, "one", temperature=0, max_response_tokens=16))
    policy = accord.load_policy(tiny_model)
    assert policy.sample(["one"], temperature=0, max_response_tokens=16) == [[text]]


def test_the_seed_decides(worker: Worker) -> None:
    first, again, other = (
        answers(worker, question(worker, "one", seed=seed, max_response_tokens=20)) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_stop_text_ends_a_response_before_it(worker: Worker) -> None:
    (((whole, _, num),),) = answers(worker, question(worker, "one", temperature=0, max_response_tokens=30))
    stop = whole[len(whole) // 2 : len(whole) // 2 + 2]
    (((text, finish, cut),),) = answers(
        worker, question(worker, "one", temperature=0, max_response_tokens=30, stops=(stop,))
    )
    assert (text, finish) == (whole[: whole.find(stop)], "stop")
    assert cut < num


def test_a_cancelled_question_leaves_its_slots(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    num_steps, real = [0], Sampler.step

    def step(self: Sampler) -> object:
        num_steps[0] += 1
        begun.set()
        go_on.wait(10)
        return real(self)

    monkeypatch.setattr(Sampler, "step", step)
    heard: list[object] = []
    number = worker.ask(question(worker, "one", max_response_tokens=400, num_samples=NUM_SLOTS), heard.append)
    begun.wait(10)
    worker.cancel(number)
    go_on.set()
    assert len(answers(worker, question(worker, "two", max_response_tokens=4))[0]) == 1
    assert num_steps[0] < 20


def test_what_fails_is_told_and_others_can_come(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Sampler, "step", lambda self: (_ for _ in ()).throw(MemoryError("none left")))
        heard = SimpleQueue[Piece | PromptRead | Failed]()
        worker.ask(question(worker, "one"), heard.put)
        failed = heard.get(timeout=30)
        assert isinstance(failed, Failed)
        assert "none left" in str(failed)
    assert answers(worker, question(worker, "one"))[0][0][2] == 8


def test_who_waits_is_told_when_it_is_given_up(worker: Worker) -> None:
    """And the next question is answered."""
    told = SimpleQueue[Piece | PromptRead | Failed]()
    worker.ask(question(worker, "Hello.", max_response_tokens=200, num_samples=8, temperature=5.0), told.put)
    worker.give_up("the server stops")
    while isinstance(found := told.get(timeout=30), Piece):
        pass
    assert str(found) == "the server stops"
    assert answers(worker, question(worker, "Hello."))
