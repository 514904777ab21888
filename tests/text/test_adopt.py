"""Tokenizers as models carry them are made to keep the rules: exact ends, a padding of their own, one beginning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from accord.errors import UserError
from accord.text.adopt import Adopted, ChatOptions, adopt
from accord.text.template import Template
from accord.types import Message, Prompt, Response
from tests.fixtures import tokenizers as made
from tests.fixtures.tiny_model import make_tokenizer

PROMPT = Prompt("p", (Message("user", "Is it a film?"),))
TURNS = (Message("user", "Is it?"), Message("assistant", "It is a film."), Message("user", "A dull one?"))
HEADS = ("<|head|>", "<|/head|>", "<|eot|>")


def _adopt(tokenizer: PreTrainedTokenizerFast, **options: Any) -> Adopted:
    return adopt(tokenizer, ChatOptions(**options), "the model")


def _text(tokenizer: PreTrainedTokenizerFast, turns: tuple[Message, ...], *, opened: bool = False) -> str:
    plain = [{"role": turn.role, "content": turn.content} for turn in turns]
    return str(tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=opened))


def _tokens(template: Template, *parts: tuple[int, ...]) -> list[str]:
    return list(template.tokenizer.convert_ids_to_tokens([i for part in parts for i in part]))


def test_a_template_that_keeps_the_rules_stays_as_it_is() -> None:
    before = make_tokenizer()
    adopted = _adopt(make_tokenizer())
    assert (adopted.notes, adopted.added) == ([], [])
    assert adopted.tokenizer.chat_template == before.chat_template
    assert adopted.tokenizer.special_tokens_map == before.special_tokens_map


@pytest.mark.parametrize("stock", [made.CHATML_WITH_SYSTEM, made.CHATML_MARKED], ids=["with system", "with marks"])
def test_a_newline_after_the_last_turn_is_left_out_and_nothing_else(stock: str) -> None:
    own = made.byte_level(stock)
    tokenizer = _adopt(made.byte_level(stock)).tokenizer
    for turns in (TURNS[:1], TURNS[:2], TURNS):
        assert _text(own, turns).endswith("<|im_end|>\n")
        assert _text(tokenizer, turns) == _text(own, turns)[:-1]
        assert _text(tokenizer, turns, opened=True) == _text(own, turns, opened=True)


def test_words_of_the_template_s_own_are_kept_and_told() -> None:
    adopted = _adopt(made.byte_level(made.CHATML_WITH_SYSTEM))
    assert any("You are a helpful assistant." in note for note in adopted.notes)
    assert "You are a helpful assistant." in _text(adopted.tokenizer, PROMPT.messages)
    assert not any("own" in note for note in _adopt(made.byte_level(made.CHATML_MARKED)).notes)


def test_what_was_adopted_stays_so(tmp_path: Path) -> None:
    """A prepared folder that a recipe names again is not mended twice."""
    for name, template in (("dated", made.DATED), ("system", made.CHATML_WITH_SYSTEM)):
        first = _adopt(made.byte_level(template, special=HEADS, pad_token=None)).tokenizer
        first.save_pretrained(tmp_path / name)
        again = _adopt(AutoTokenizer.from_pretrained(tmp_path / name)).tokenizer
        assert again.chat_template == first.chat_template
        assert again.special_tokens_map["eos_token"] == first.special_tokens_map["eos_token"]
        assert again.pad_token == first.pad_token


def test_the_end_of_a_turn_is_found_where_it_is_not_the_end_of_texts() -> None:
    adopted = _adopt(made.byte_level(made.DATED, special=HEADS, bos_token="<|im_start|>"))
    template = Template(adopted.tokenizer)
    assert adopted.tokenizer.eos_token == "<|eot|>"
    assert template.end_id == adopted.tokenizer.convert_tokens_to_ids("<|eot|>")
    assert _tokens(template, template.response_ids(Response("Yes.")))[-1] == "<|eot|>"
    template.check_boundary(PROMPT, Response("It is."))


def test_the_variable_eos_token_keeps_its_meaning_in_the_template() -> None:
    stock = made.CHATML_MARKED.replace("'<|im_start|>", "eos_token + '<|im_start|>")
    own = made.byte_level(stock, eos_token="<|endoftext|>", pad_token=None)
    adopted = _adopt(made.byte_level(stock, eos_token="<|endoftext|>", pad_token=None))
    assert adopted.tokenizer.eos_token == "<|im_end|>"
    assert _text(adopted.tokenizer, TURNS) == _text(own, TURNS)[:-1]
    assert "<|endoftext|><|im_start|>" in _text(adopted.tokenizer, TURNS)


def test_a_date_in_the_template_does_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    adopted = _adopt(made.byte_level(made.DATED, special=HEADS))
    assert "Today: 26 Jul 2024<|eot|>" in _text(adopted.tokenizer, PROMPT.messages)
    assert any("date" in note for note in adopted.notes)
    assert "26 Jul 2024" not in _text(made.byte_level(made.DATED, special=HEADS), PROMPT.messages), "negative control"


def test_the_beginning_of_a_text_is_there_once() -> None:
    """axolotl #1616: a template that writes BOS and a tokenizer that adds it."""
    writes = made.sentencepiece("{{ bos_token }}" + made.ALTERNATING)
    for tokenizer in (writes, made.sentencepiece(made.ALTERNATING)):
        template = Template(_adopt(tokenizer).tokenizer)
        tokens = _tokens(template, template.prompt_ids(PROMPT))
        assert tokens[0] == "<s>"
        assert tokens.count("<s>") == 1
        template.check_boundary(PROMPT, Response("It is."))
    without = Template(_adopt(make_tokenizer()).tokenizer)  # this one adds none
    assert _tokens(without, without.prompt_ids(PROMPT)).count("<|im_start|>") == 2


@pytest.mark.parametrize("prepend", ["first", "always", "never"])
@pytest.mark.parametrize("chat", [made.ALTERNATING, "plain"], ids=["after a token", "after a line"])
def test_tokenizers_that_mark_the_beginning_of_a_text(prepend: str, chat: str) -> None:
    """The mark that stands before a text must not slip in where a response goes on, and spaces survive the way back."""
    named = {"chat_template": chat} if chat == "plain" else {}
    tokenizer = made.sentencepiece(None if named else chat, prepend=prepend)
    template = Template(_adopt(tokenizer, **named).tokenizer)
    for text in ("It is a film.", "A dull plot, \u2603 and 1 joke.", "user"):
        template.check_boundary(PROMPT, Response(text))
        ids = template.response_ids(Response(text))
        assert template.text(ids, template.prompt_ids(PROMPT)[-1:]) == text
    prefilled = Prompt("q", PROMPT.messages, "The acting")
    template.check_boundary(prefilled, Response(" is warm."))
    ids = template.response_ids(Response(" is warm."))
    if not (prepend == "always" and chat != "plain"):  # there a text after a token always begins with a mark
        assert template.text(ids, template.prompt_ids(prefilled)[-1:]) == " is warm."


def test_padding_that_ends_a_turn_is_replaced() -> None:
    adopted = _adopt(made.byte_level(made.CHATML_WITH_SYSTEM, pad_token="<|im_end|>"))
    assert adopted.tokenizer.pad_token == "<|endoftext|>"
    assert any(note == "pad token: <|endoftext|> (the tokenizer had <|im_end|>)" for note in adopted.notes)


@pytest.mark.parametrize(
    ("special", "expected"),
    [
        (("<|finetune_right_pad_id|>", "<|reserved_special_token_0|>"), "<|finetune_right_pad_id|>"),
        (("<|reserved_special_token_7|>",), "<|reserved_special_token_7|>"),
        (("<unused3>",), "<unused3>"),
        (("<|fim_pad|>",), "<|fim_pad|>"),
        ((), "<|pad|>"),
    ],
)
def test_the_padding_is_a_token_that_no_text_has(special: tuple[str, ...], expected: str) -> None:
    tokenizer = made.byte_level(None, special=special, eos_token="<|endoftext|>", pad_token=None, unk_token=None)
    adopted = _adopt(tokenizer, chat_template="plain")
    assert adopted.tokenizer.pad_token == expected
    assert adopted.tokenizer.pad_token_id != adopted.tokenizer.eos_token_id
    assert adopted.added == (["<|pad|>"] if expected == "<|pad|>" else [])


def test_what_stands_for_unknown_text_pads_only_where_no_text_is_unknown() -> None:
    assert _adopt(made.sentencepiece(made.ALTERNATING)).tokenizer.pad_token == "<unk>"  # bytes stand for the rest
    tokenizer = made.sentencepiece(made.ALTERNATING)
    without_bytes = tokenizer.backend_tokenizer.to_str().replace('"byte_fallback":true', '"byte_fallback":false')
    from tokenizers import Tokenizer

    other = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(without_bytes), eos_token="</s>", unk_token="<unk>", bos_token="<s>"
    )
    other.chat_template = made.ALTERNATING
    adopted = _adopt(other)
    assert (adopted.tokenizer.pad_token, adopted.added) == ("<|pad|>", ["<|pad|>"])


def test_a_base_model_takes_a_template_by_name() -> None:
    plain = Template(_adopt(made.byte_level(None), chat_template="plain").tokenizer)
    text = _text(plain.tokenizer, (*TURNS, Message("assistant", "Yes.")))
    assert text.startswith("User:\nIs it?\n\nAssistant:\nIt is a film.<|im_end|>\n\nUser:\n")
    assert text.endswith("Assistant:\nYes.<|im_end|>")
    plain.check_boundary(PROMPT, Response("It is."))
    llama = _adopt(made.byte_level(None), chat_template="llama3")
    assert llama.added == ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    assert llama.tokenizer.eos_token == "<|eot_id|>"
    assert any("new tokens" in note for note in llama.notes)
    chatml = _adopt(made.byte_level(None), chat_template="chatml")
    assert chatml.added == []


def test_a_template_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "own.jinja").write_text(made.CHATML_MARKED)
    adopted = _adopt(made.byte_level(None), chat_template=str(tmp_path / "own.jinja"))
    assert _text(adopted.tokenizer, PROMPT.messages) == "<|im_start|>user\nIs it a film?<|im_end|>"
    with pytest.raises(UserError, match=r"'chtml' is not there.*\n.*'chatml'"):
        _adopt(made.byte_level(None), chat_template="chtml")
    (tmp_path / "bad.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        _adopt(made.byte_level(None), chat_template=str(tmp_path / "bad.jinja"))


def test_a_template_that_does_not_open_turns_when_asked_is_given_that() -> None:
    stock = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    tokenizer = _adopt(made.byte_level(stock)).tokenizer
    assert _text(tokenizer, PROMPT.messages, opened=True).endswith("<|im_end|>\n<|im_start|>assistant\n")
    Template(tokenizer).check_boundary(PROMPT, Response("It is."))


@pytest.mark.parametrize(
    ("template", "options", "problem"),
    [
        (None, {}, "no chat template"),
        (made.THINKING, {}, "'<think>.*before an answer"),
        (made.SPACED, {}, "after an answer the chat template writes ' <|im_end|>'"),
        ("{{ messages[0]['content'] }}", {}, "does not write an answer|before an answer|where it opens"),
        ("{% for m in messages %}{{ m['content'] + '\n' }}{% endfor %}", {}, "after an answer"),
        ("{% if %}", {}, "does not render"),
        ("{{ 1 / 0 }}", {}, "does not render: division by zero"),
        ("{{ 'a'.index('b') }}", {}, "does not render: substring not found"),
        ("{% for i in range(10000000) %}{% endfor %}", {}, "does not render: Range too big"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", {}, "does not render: maximum recursion depth"),
        (made.CHATML_MARKED, {"end_of_turn": "<|endoftext|>"}, "not '<|endoftext|>'"),
        (made.CHATML_MARKED, {"end_of_turn": "<|im_edn|>"}, "'<|im_edn|>' is not a token"),
        (made.CHATML_MARKED, {"pad_token": "<|im_end|>"}, "never be learned"),
        (made.CHATML_MARKED, {"pad_token": "<|pda|>"}, "pad_token '<|pda|>' is not a token"),
    ],
)
def test_what_cannot_be_mended_is_refused(template: str | None, options: dict[str, str], problem: str) -> None:
    with pytest.raises(UserError) as caught:
        _adopt(made.byte_level(template), **options)
    import re

    assert re.search(problem.replace("|im", r"\|im").replace("|>", r"\|>"), caught.value.what, re.DOTALL), caught.value
    assert caught.value.where == "the model"
    assert caught.value.remedy


def test_plain_needs_a_token_to_end_a_turn_with() -> None:
    with pytest.raises(UserError, match="no end-of-sequence token"):
        _adopt(made.byte_level(None, eos_token=None), chat_template="plain")
    adopted = _adopt(made.byte_level(None, eos_token=None), chat_template="plain", end_of_turn="<|im_end|>")
    assert adopted.tokenizer.eos_token == "<|im_end|>"


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(UserError, match=r"no option 'chat_templte'.*\n.*'chat_template'"):
        ChatOptions.of({"chat_templte": "plain"})


def test_what_a_template_refuses_names_the_record() -> None:
    template = Template(_adopt(made.sentencepiece(made.ALTERNATING)).tokenizer)
    with_system = Prompt("row 7", (Message("system", "Be brief."), *PROMPT.messages))
    with pytest.raises(UserError, match="'row 7': System role not supported"):
        template.prompt_ids(with_system)
    twice = Prompt("row 8", (*PROMPT.messages, *PROMPT.messages))
    with pytest.raises(UserError, match="'row 8': Conversation roles must alternate"):
        template.prompt_ids(twice)


def test_a_template_that_fails_over_a_conversation_names_the_record() -> None:
    stock = made.CHATML_MARKED + "{% if 'zero' in messages[0]['content'] %}{{ 1 / 0 }}{% endif %}"
    template = Template(_adopt(made.byte_level(stock)).tokenizer)
    template.prompt_ids(PROMPT)
    with pytest.raises(UserError, match="refuses the conversation of 'row 9': division by zero"):
        template.prompt_ids(Prompt("row 9", (Message("user", "Is zero a number?"),)))


def test_a_template_that_strips_the_response_is_told_from_one_that_merges_tokens() -> None:
    template = Template(_adopt(made.byte_level(made.DATED, special=HEADS)).tokenizer)
    with pytest.raises(UserError, match="does not write the response to prompt 'p' as it is given"):
        template.check_boundary(PROMPT, Response(" It is."))
