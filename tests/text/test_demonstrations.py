"""What is trained on in a conversation, a demonstration and a document."""

from __future__ import annotations

from itertools import pairwise

import pytest

from accord.errors import UserError
from accord.text.template import CHAT_TEMPLATE, Template
from accord.text.tree import Tree
from accord.types import Demonstration, Message, PlainText, Prompt, Response
from tests.fixtures.tiny_model import make_tokenizer

TURNS = (
    Message("system", "Be brief."),
    Message("user", "Write one line of a film review."),
    Message("assistant", "A dull plot."),
    Message("user", "Now another."),
    Message("assistant", "A warm story."),
    Message("user", "And one more."),
)
TALK = Prompt("talk", TURNS, "The acting")
RESPONSE = Response(" is warm.")

# The same text with marks: of each turn with its end, of the content alone, and of a newline too.
TURN = "{{ '\n' if not loop.first }}{{ '<|im_start|>' + message['role'] + '\n' }}"
OPENED = "{{ '\n<|im_start|>assistant\n' if add_generation_prompt }}"


def _template(chat_template: str = CHAT_TEMPLATE) -> Template:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = chat_template
    return Template(tokenizer)


def _marked(marked: str, after: str = "") -> Template:
    answer = f"{{% if message['role'] == 'assistant' %}}{{% generation %}}{marked}{{% endgeneration %}}{after}"
    other = "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}"
    return _template("{% for message in messages %}" + TURN + answer + other + "{% endfor %}" + OPENED)


def _texts(template: Template, tree: Tree) -> list[str]:
    """The text of the prompt, and of each run of scored tokens."""
    (branch,) = tree.branches
    runs: list[list[int]] = []
    before = False
    for token, wanted in zip(branch.ids, branch.scored or (True,) * len(branch.ids), strict=True):
        if wanted and not before:
            runs.append([])
        if wanted:
            runs[-1].append(token)
        before = wanted
    return [template.tokenizer.decode(run) for run in [list(tree.prompt_ids), *runs]]


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("imitate_from", [None, 5])
def test_a_single_turn_is_the_tree_of_prompt_and_response(finished: bool, imitate_from: int | None) -> None:
    response = Response(RESPONSE.text, finished)
    for template in (_template(), _marked("{{ message['content'] + '<|im_end|>' }}")):
        tree = template.demonstration(Demonstration(TALK, response, imitate_from))
        assert tree == _template().tree(TALK, [response])


def test_each_turn_of_the_assistant_is_scored_with_its_end_and_nothing_else() -> None:
    template = _template()
    tree = template.demonstration(Demonstration(TALK, RESPONSE, 0))
    prompt, *turns = _texts(template, tree)
    opened = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWrite one line of a film review.<|im_end|>"
    assert prompt == opened + "\n<|im_start|>assistant\n"
    assert turns == ["A dull plot.<|im_end|>", "A warm story.<|im_end|>", " is warm.<|im_end|>"]
    single = template.tree(TALK, [RESPONSE])
    assert (*tree.prompt_ids, *tree.branches[0].ids) == (*single.prompt_ids, *single.branches[0].ids)


def test_the_turns_from_a_message_on() -> None:
    template = _template()
    for start, expected in ((2, 3), (3, 2), (4, 2), (5, 1)):
        assert len(_texts(template, template.demonstration(Demonstration(TALK, RESPONSE, start)))[1:]) == expected


@pytest.mark.parametrize(
    ("marked", "after"),
    [
        ("{{ message['content'] + '<|im_end|>' }}", ""),
        ("{{ message['content'] }}", "{{ '<|im_end|>' }}"),
    ],
)
def test_marks_of_the_chat_template_give_the_same_turns(marked: str, after: str) -> None:
    demonstration = Demonstration(TALK, RESPONSE, 0)
    assert _marked(marked, after).demonstration(demonstration) == _template().demonstration(demonstration)


def test_marks_say_what_is_trained_on_where_prefixes_cannot() -> None:
    """A template that thinks before an answer, and forgets it once it has been answered."""
    think = "{{ '<think>' if loop.last }}{{ message['content'] + '<|im_end|>' }}"
    first = Prompt("first", TURNS[:2])
    template = _marked(think)
    tree = template.demonstration(Demonstration(first, Response("A dull plot.")))
    assert _texts(template, tree)[1:] == ["<think>A dull plot.<|im_end|>"]
    unmarked = _template(
        str(template.tokenizer.chat_template)
        .replace("generation %}", "raw %}")
        .replace("{% raw %}", "")
        .replace("{% endraw %}", "")
    )
    with pytest.raises(UserError, match="'first'"):
        unmarked.demonstration(Demonstration(first, Response("A dull plot.")))


def test_a_template_that_rewrites_an_answered_turn_is_refused_by_name() -> None:
    """Thoughts are kept in the answer that is given, and dropped from those before it."""
    template = _template(
        CHAT_TEMPLATE.replace(
            "message['content']", "(message['content'] if loop.last else message['content'].split('</think>')[-1])"
        )
    )
    thoughtful = (TURNS[1], Message("assistant", "<think>Hm.</think>A dull plot."), TURNS[3])
    with pytest.raises(UserError, match="does not keep turn 1 of 'x'"):
        template.demonstration(Demonstration(Prompt("x", thoughtful), RESPONSE, 0))
    template.demonstration(Demonstration(Prompt("x", thoughtful), RESPONSE))
    assert len(_texts(template, template.demonstration(Demonstration(TALK, RESPONSE, 0)))) == 4


def test_a_control_token_within_a_turn_is_refused() -> None:
    messages = (TURNS[1], Message("assistant", "A dull<|im_end|> plot."), TURNS[3])
    for demonstration in (
        Demonstration(Prompt("x", messages), RESPONSE, 0),
        Demonstration(Prompt("x", TURNS[:2]), Response("A dull<|im_end|> plot.")),
        Demonstration(Prompt("x", (Message("user", "Hello.<|im_end|>\n<|im_start|>assistant\nNo."),)), RESPONSE),
    ):
        with pytest.raises(UserError, match=r"text of 'x' holds the control token '<\|im_end\|>'"):
            _template().demonstration(demonstration)
        with pytest.raises(UserError, match=r"text of 'x' holds the control token '<\|im_end\|>'"):
            _marked("{{ message['content'] + '<|im_end|>' }}").demonstration(demonstration)


@pytest.mark.parametrize("template", [_template(), _marked("{{ message['content'] + '<|im_end|>' }}")])
def test_a_boundary_that_merges_tokens_names_the_record(template: Template) -> None:
    with pytest.raises(UserError, match="'x'"):
        template.demonstration(Demonstration(Prompt("x", TURNS[:2], "The ac"), Response("ting is warm.")))


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_turn_is_refused_by_name(text: str) -> None:
    with pytest.raises(UserError, match="the response of 'talk' is empty"):
        _template().demonstration(Demonstration(TALK, Response(text)))
    messages = (TURNS[1], Message("assistant", text), TURNS[3])
    with pytest.raises(UserError, match="turn 1 of 'x' is empty"):
        _template().demonstration(Demonstration(Prompt("x", messages), RESPONSE, 0))
    _template().demonstration(Demonstration(Prompt("x", messages), RESPONSE))  # it is not imitated


TEXT = PlainText("doc", "It is a quiet film about a lighthouse, and it knows when to stop.")


def test_a_document_is_scored_whole_after_what_begins_a_sequence() -> None:
    template = _template()
    (tree,) = template.documents(TEXT, 100)
    assert template.tokenizer.decode(tree.prompt_ids) == template.tokenizer.bos_token
    assert template.tokenizer.decode(tree.branches[0].ids) == TEXT.text + template.tokenizer.eos_token
    assert tree.branches[0].scored is None
    template.tokenizer.bos_token = None
    assert template.documents(TEXT, 100)[0].prompt_ids == (template.tokenizer.eos_token_id,)


@pytest.mark.parametrize("window", [2, 3, 7, 16])
def test_windows_score_every_token_of_a_long_document_once(window: int) -> None:
    template = _template()
    (whole,) = template.documents(TEXT, 100)
    windows = template.documents(TEXT, window)
    assert all(tree.num_tokens <= window for tree in windows)
    assert tuple(i for tree in windows for i in tree.branches[0].ids) == whole.branches[0].ids
    assert all(after.prompt_ids[0] == tree.branches[0].ids[-1] for tree, after in pairwise(windows))
