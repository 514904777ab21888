from __future__ import annotations

import random

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from accord.text.streaming import StreamDecoder
from accord.text.template import Template
from tests.fixtures.tiny_model import make_tokenizer
from tests.fixtures.tokenizers import SPACED, byte_level, sentencepiece

TEXT = " Crème brûlée — 東京 🗼, and naïve joy."


def of_words() -> PreTrainedTokenizerFast:
    tokenizer = sentencepiece(SPACED)
    tokenizer.add_special_tokens({"pad_token": "<|user|>"})
    return tokenizer


TEMPLATES = [
    Template(make_tokenizer()),
    Template(byte_level(SPACED, pad_token="<|endoftext|>")),
    Template(of_words()),
]


def pieces(template: Template, ids: tuple[int, ...], after: tuple[int, ...]) -> list[str]:
    decoder = StreamDecoder(template, after)
    out = [decoder.feed(ids[:num]) for num in range(1, len(ids) + 1)]
    return [*out, decoder.feed(ids, final=True)]


def test_characters_of_several_tokens_come_whole():
    template = Template(make_tokenizer())
    ids = tuple(template.tokenizer.encode(TEXT, add_special_tokens=False))
    assert len(ids) > len(TEXT)
    got = pieces(template, ids, (5,))
    assert "".join(got) == TEXT
    assert "\ufffd" not in "".join(got)
    assert "🗼" in got
    assert "" in got


def test_bytes_that_never_become_a_character_come_at_the_end():
    template = Template(make_tokenizer())
    ids = tuple(template.tokenizer.encode("a🗼", add_special_tokens=False))[:-1]
    got = pieces(template, ids, (5,))
    assert got[-1] == "\ufffd"
    assert "".join(got) == template.text(ids, (5,)) == "a\ufffd"


def test_the_end_of_the_turn_is_no_text():
    template = Template(make_tokenizer())
    ids = tuple(template.tokenizer.encode("So it ends.", add_special_tokens=False))
    assert "".join(pieces(template, (*ids, template.end_id), (5,))) == "So it ends."


def test_a_leading_space_that_the_decoder_drops_is_kept():
    """Decoders of the Metaspace kind drop a space at the beginning of a text."""
    words = ["<pad>", "</s>", "▁Hello", "▁there", "▁you", "?", "▁"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>")
    fast.chat_template = "{{ messages }}"
    template = Template(fast)
    assert fast.decode([3, 4]) == "there you"
    assert pieces(template, (3, 4, 5), (2,)) == [" there", " you", "?", ""]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("seed", range(20))
def test_all_is_given_that_the_tokens_so_far_say(template: Template, seed: int) -> None:
    """Of real texts, whose tokens come one at a time or several at once: but for a character that is not whole yet."""
    draw = random.Random(seed)
    ids = template.tokenizer.encode("".join(draw.sample(TEXT, len(TEXT))), add_special_tokens=False)
    after = tuple(template.tokenizer.encode("So", add_special_tokens=False)[-1:])
    text = template.text(ids, after)
    decoder, given, num = StreamDecoder(template, after), "", 0
    while num < len(ids):
        num += draw.choice([1, 1, 2, 5])
        given += decoder.feed(ids[:num])
        assert text.startswith(given)
        assert len(given) >= len(template.text(ids[:num], after).rstrip("\ufffd"))
    assert given == text
    assert decoder.feed(ids, final=True) == ""


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("seed", range(20))
def test_pieces_of_any_tokens_are_together_their_text(template: Template, seed: int) -> None:
    """Bytes in any order, special tokens, the end of the turn."""
    draw = random.Random(seed)
    ids = [draw.randrange(len(template.tokenizer)) for _ in range(30)]
    after = tuple(template.tokenizer.encode("So", add_special_tokens=False)[-1:])
    assert len("".join(pieces(template, tuple(ids), after))) == len(template.text(ids, after))
