from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from accord.text.token_bytes import TokenBytes
from tests.fixtures.tiny_model import make_tokenizer


@pytest.mark.parametrize("text", ["A dull plot.", "  two\n\tlines ", "Käse, 灯台, 🎬!", "¡\x00\x7f\xad"])
def test_bytes_of_a_texts_tokens_are_the_texts(text: str) -> None:
    tokenizer = make_tokenizer()
    token_bytes = TokenBytes(tokenizer)
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert b"".join(token_bytes(one) for one in ids) == text.encode()


def test_control_tokens_and_unknown_ones() -> None:
    token_bytes = TokenBytes(make_tokenizer())
    assert (token_bytes(1), token_bytes.is_control(1)) == (b"<|im_start|>", True)
    assert (token_bytes(511), token_bytes.is_control(511)) == (b"", False)
    assert not token_bytes.is_control(40)


def test_a_vocabulary_of_texts_with_bytes() -> None:
    """As sentencepiece has it."""
    vocabulary = {"<unk>": 0, "<0xF0>": 1, "<0x9F>": 2, "▁film": 3, "s": 4}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token="<unk>"))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    token_bytes = TokenBytes(PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>"))
    assert [token_bytes(i) for i in range(1, 5)] == [b"\xf0", b"\x9f", b" film", b"s"]
