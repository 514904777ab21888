from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from accord.chat.conversation import Conversation
from accord.chat.session import Session
from accord.errors import UserError
from accord.types import Message, Prompt


class Told(Iterator[str]):
    """An answer that was written beforehand. "^C" stands for the person's Ctrl-C."""

    def __init__(self, pieces: list[str], finished: bool) -> None:
        self.pieces, self.ends = list(pieces), finished
        self.text, self.finished = "", False

    def __next__(self) -> str:
        if not self.pieces:
            self.finished = self.ends
            raise StopIteration
        piece = self.pieces.pop(0)
        if piece == "^C":
            raise KeyboardInterrupt
        self.text += piece
        return piece


@dataclass
class Parrot:
    """A model that answers with what it was told last. A token is a word; a turn costs one more."""

    context: int | None = None
    pieces: tuple[str, ...] = ()
    finished: bool = True
    asked: list[Prompt] = field(default_factory=list)
    settings: list[dict[str, float]] = field(default_factory=list)

    def num_tokens(self, prompt: Prompt) -> int:
        return sum(len(message.content.split()) + 1 for message in prompt.messages)

    def stream(self, prompt: Prompt, **settings: float) -> Told:
        if self.context is not None and self.num_tokens(prompt) >= self.context:
            raise UserError("the prompt is too long")
        self.asked.append(prompt)
        self.settings.append(settings)
        return Told(list(self.pieces or (f"so {prompt.messages[-1].content}",)), self.finished)


def talk(*lines: str, models: tuple[Parrot, ...] = (), **options: object) -> tuple[str, Conversation]:
    models = models or (Parrot(),)
    conversation = Conversation([f"m{i}" for i in range(len(models))], models, max_response_tokens=8)
    seen: list[str] = []
    given = iter(lines)

    def read() -> str:
        line = next(given, None)
        if line is None:
            raise EOFError
        if line == "^C":
            raise KeyboardInterrupt
        return line

    Session(conversation, seen.append, **options).run(read)  # type: ignore[arg-type]
    return "".join(seen), conversation


def test_a_conversation_goes_on():
    model = Parrot()
    out, conversation = talk("hello", "", "again", models=(model,))
    assert out == "so hello\nso again\n\n"
    assert model.asked[1].messages == (
        Message("user", "hello"),
        Message("assistant", "so hello"),
        Message("user", "again"),
    )
    assert [turn.said for turn in conversation.turns] == ["hello", "again"]
    assert model.asked[0].id != model.asked[1].id


def test_settings_reach_the_model_and_reset_forgets_the_turns():
    model = Parrot()
    out, _ = talk("/system Be kind.", "/temperature 0.5", "/seed 7", "a", "/reset", "b", models=(model,))
    assert model.settings[0] == {"max_response_tokens": 8, "temperature": 0.5, "seed": 7}
    assert model.asked[1].messages == (Message("system", "Be kind."), Message("user", "b"))
    assert "(system message: Be kind.)" in out
    assert "(a new conversation)" in out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/temperature warm", "'warm' is not a number of at least 0\n  As in /temperature 0.7."),
        ("/temperature -1", "'-1' is not a number of at least 0"),
        ("/temperature nan", "'nan' is not a number of at least 0"),
        ("/seed 1.5", "'1.5' is not a number of at least 0\n  As in /seed 2."),
        ("/sysem x", "there is no command /sysem\n  Did you mean 'system'?"),
        ("/save", "no file is named\n  /save FILE"),
        ("/save x.jsonl", "there is nothing to save yet"),
        ("/\x1b[31m", "there is no command /[31m"),
    ],
)
def test_what_a_command_refuses(line: str, message: str):
    out, _ = talk(line)
    assert out.startswith(message)


def test_help_quit_and_ctrl_c_at_the_prompt():
    out, _ = talk("^C", "/help", "/quit", "never said")
    assert out.startswith("\n(Ctrl-D or /quit leaves)\n/reset ")
    assert "never" not in out


def test_ctrl_c_stops_the_answer_and_keeps_what_was_written():
    model = Parrot(pieces=("one", " two", "^C", " three"))
    out, conversation = talk("go", "/quit", models=(model,))
    assert out == "one two\n(stopped)\n"
    assert conversation.turns[0].answers == ("one two",)


def test_an_answer_that_ran_out_of_tokens_says_so():
    assert talk("go", models=(Parrot(finished=False),))[0].startswith("so go\n(cut off: it ran out of tokens)\n")


def test_control_characters_are_not_printed_but_kept():
    out, conversation = talk("go", models=(Parrot(pieces=("\x1b[2J", "wiped\x07")),))
    assert out.startswith("[2Jwiped\n")
    assert conversation.turns[0].answers == ("\x1b[2Jwiped\x07",)


def test_two_models_answer_the_same_turns_from_their_own_answers():
    models = (Parrot(pieces=("left",)), Parrot(pieces=("right",)))
    out, _ = talk("a", "b", models=models)
    assert out.startswith("m0:\nleft\n\nm1:\nright\n\n")
    assert [model.asked[1].messages[1].content for model in models] == ["left", "right"]


def test_two_columns_when_the_terminal_is_wide():
    out, _ = talk("a", models=(Parrot(pieces=("left",)), Parrot(pieces=("right",), finished=False)), width=103)
    assert out.splitlines()[:3] == [
        f"{'m0:':50} | m1:",
        f"{'left':50} | right",
        "(m1: cut off: it ran out of tokens)",
    ]


def test_the_oldest_turns_are_left_out_when_the_context_is_full():
    """A context of 20 leaves 15 for the prompt; each turn is 5 tokens, and the new message 2."""
    model = Parrot(context=20)
    out, conversation = talk("a", "b", "c", "d", models=(model,))
    assert [len(prompt.messages) for prompt in model.asked] == [1, 3, 5, 5]
    assert model.asked[3].messages[0] == Message("user", "b")
    assert "(the oldest turn left out: the model reads 20 tokens at most)\nso d\n" in out
    assert len(conversation.turns) == 4


def test_the_system_message_stays_when_turns_are_left_out():
    model = Parrot(context=20)
    out, _ = talk("/system be ever so kind", "a", "b", "c", "d", models=(model,))
    assert model.asked[3].messages[0] == Message("system", "be ever so kind")
    assert "(the 2 oldest turns left out" in out


def test_a_message_that_is_too_long_is_refused_and_forgotten():
    out, conversation = talk("w " * 30, "short", models=(Parrot(context=20),))
    assert out.startswith("the prompt is too long\nso short\n")
    assert [turn.said for turn in conversation.turns] == ["short"]


def test_scores_are_shown():
    def score(prompt: Prompt, text: str, finished: bool) -> float:
        return len(prompt.messages) + len(text) / 100 + finished

    out, _ = talk("a", models=(Parrot(), Parrot(pieces=("xy",), finished=False)), score=score)
    assert "(m0: score 2.040)\n" in out
    assert "(m1: score 1.020)\n" in out


def test_saved_it_has_trls_columns(tmp_path: Path):
    path = tmp_path / "talk.jsonl"
    models = (Parrot(pieces=("left",)), Parrot(pieces=("räight",)))
    out, _ = talk("/system s", "a", f"/save {path}", f"/save {path}", models=models)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["model"] for row in rows] == ["m0", "m1"]
    assert rows[1]["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "räight"},
    ]
    assert f"(saved to {path})\n{path}: cannot be written: File exists\n  Name another file.\n" in out


@pytest.mark.parametrize("pieces", [("^C", "never"), ("",), (" \n",)])
def test_a_turn_without_an_answer_is_not_kept(pieces: tuple[str, ...]):
    """A model that was told an empty turn of its own goes on in silence, and /save would write what no reader takes."""
    models = (Parrot(pieces=("left",)), Parrot(pieces=pieces))
    out, conversation = talk("a", "b", "/save x", models=models)
    assert out.count("(not kept: an answer is empty)\n") == 2
    assert conversation.turns == []
    assert [len(prompt.messages) for prompt in models[1].asked] == [1, 1]
    assert "there is nothing to save yet" in out


def test_a_score_that_fails_loses_no_answer():
    def score(prompt: Prompt, text: str, finished: bool) -> float:
        raise UserError("the function 'f' failed")

    out, conversation = talk("a", score=score)
    assert out == "so a\nthe function 'f' failed\n\n"
    assert conversation.turns[0].answers == ("so a",)


@pytest.mark.parametrize("path", ["~nosuchuser/x", "a\0b", "x" * 300])
def test_a_path_that_cannot_be_ends_no_chat(path: str):
    out, conversation = talk("a", f"/save {path}", "b")
    assert "cannot be opened" in out
    assert len(conversation.turns) == 2
