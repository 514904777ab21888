from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from accord.text.streaming import StreamDecoder
from accord.text.template import Template
from tests.fixtures.tiny_model import make_tokenizer

TEXT = " Crème brûlée — 東京 🗼, and naïve joy."


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
