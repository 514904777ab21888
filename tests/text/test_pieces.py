from __future__ import annotations

from typing import Any

import pytest

from accord.text.pieces import pieces


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    from tests.fixtures.tiny_model import make_tokenizer

    return make_tokenizer()


@pytest.mark.parametrize(
    "text", ["The acting is warm.", "naïve 🙂🙂 日本 \n\t end", "<|im_start|>user\nhi<|im_end|>", "\ufffd?"]
)
def test_pieces_join_to_the_text_and_hold_every_id(tokenizer: Any, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    found = pieces(tokenizer, ids, [True] * len(ids))
    assert "".join(piece.text for piece in found) == text
    assert [i for piece in found for i in piece.ids] == ids


def test_the_bytes_of_one_character_are_one_piece(tokenizer: Any) -> None:
    ids = tokenizer.encode("🙂", add_special_tokens=False)
    assert len(ids) == 4
    assert [piece.text for piece in pieces(tokenizer, ids, [True] * 4)] == ["🙂"]


def test_a_piece_ends_where_training_begins_and_at_a_control_token(tokenizer: Any) -> None:
    ids = [*tokenizer.encode("🙂", add_special_tokens=False)[:2], tokenizer.eos_token_id]
    found = pieces(tokenizer, ids, [False, True, True])
    assert [(len(piece.ids), piece.trained, piece.special) for piece in found] == [
        (1, False, False),
        (1, True, False),
        (1, True, True),
    ]
    assert found[-1].text == "<|im_end|>"


def test_a_space_at_the_beginning_is_kept_where_the_decoder_drops_it() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.WordLevel({"▁a": 0, "▁b": 1, "?": 2}, unk_token="?"))
    plain.pre_tokenizer, plain.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    fast = PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="?")
    assert [piece.text for piece in pieces(fast, [0, 1], [True, True])] == ["a", " b"]
    assert [piece.text for piece in pieces(fast, [1], [True], after=[0])] == [" b"]
