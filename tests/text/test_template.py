from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from accord.errors import UserError
from accord.text.template import Template
from accord.types import Message, Prompt, Response
from tests.fixtures.tiny_model import make_tokenizer

PROMPT = Prompt("p", (Message("user", "Write one line of a film review."),), "The acting")


@pytest.fixture(scope="module")
def template() -> Template:
    return Template(make_tokenizer())


def test_prompt_and_response_make_the_text_that_the_chat_template_makes(template: Template) -> None:
    ids = (*template.prompt_ids(PROMPT), *template.response_ids(Response(" is warm.")))
    turns = [
        {"role": "user", "content": "Write one line of a film review."},
        {"role": "assistant", "content": "The acting is warm."},
    ]
    assert list(ids) == template.tokenizer.apply_chat_template(turns, return_dict=False)
    assert ids[-1] == template.end_id
    template.check_boundary(PROMPT, Response(" is warm."))


def test_no_system_message_unasked_and_no_newline_at_the_end(template: Template) -> None:
    text = template.tokenizer.apply_chat_template([{"role": "user", "content": "Hello."}], tokenize=False)
    assert text == "<|im_start|>user\nHello.<|im_end|>"


def test_a_prefill_continues_the_final_message(template: Template) -> None:
    turns = [{"role": "user", "content": PROMPT.messages[0].content}, {"role": "assistant", "content": "The acting"}]
    theirs = template.tokenizer.apply_chat_template(turns, continue_final_message=True, return_dict=False)
    assert list(template.prompt_ids(PROMPT)) == theirs


def test_an_unfinished_response_has_no_end_of_turn(template: Template) -> None:
    assert template.response_ids(Response(" is", finished=False))[-1] != template.end_id
    assert template.response_ids(Response(" is"))[:-1] == template.response_ids(Response(" is", finished=False))


def test_sampled_tokens_become_text_without_the_end(template: Template) -> None:
    ids = template.response_ids(Response(" is warm , it's said ."))
    assert template.text(ids) == " is warm , it's said ."


def test_a_boundary_that_merges_tokens_is_refused(template: Template) -> None:
    with pytest.raises(UserError, match="merge into one token"):
        template.check_boundary(Prompt("x", PROMPT.messages, "The ac"), Response("ting is warm."))


def test_a_tokenizer_without_a_template_or_with_pad_for_end_is_refused() -> None:
    tokenizer = make_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    with pytest.raises(UserError, match="padding token of its own"):
        Template(tokenizer)
    tokenizer = make_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(UserError, match="no chat template"):
        Template(tokenizer)


def test_the_saved_folder_renders_alike(template: Template, tiny_model: Path) -> None:
    reloaded = Template(AutoTokenizer.from_pretrained(tiny_model))
    assert reloaded.prompt_ids(PROMPT) == template.prompt_ids(PROMPT)
    assert reloaded.pad_id == 0
