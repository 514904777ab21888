"""Makes the tokenizer of any model keep what the rest relies on, and says what was changed and why.

- The chat template opens the assistant's turn exactly where the answer begins, and ends exactly at a token that ends
  the turn. That token is `eos_token`: what a policy learns to stop at, and where a reward is read.
- `pad_token` is a token that never occurs in text and that nothing is trained on: never the one that ends a turn,
  because a model whose padding is left out of the loss would not learn to stop.
- A token that begins every text stands in the template, once: ids are made from rendered text and nothing is added.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

from transformers import AddedToken, PreTrainedTokenizerBase

from accord.errors import UserError, did_you_mean, first_line
from accord.text import chat_templates
from accord.text.chat_templates import NAMED, template_text

_USER, _ANSWER, _NEXT = "Is a quince a fruit?", "Yes, it is.", "Thank you."
_PADS = ("<|finetune_right_pad_id|>", "<pad>", "[PAD]", "<|pad|>", "<|padding|>", "<|endoftext|>", "<|end_of_text|>")
_UNUSED = re.compile(r"[<\[](?:\|)?(?:reserved|unused|extra_id|dummy|fim_pad|special)[\w-]*(?:\|)?[>\]]")
_NEW_PAD = "<|pad|>"
_OTHER = "Give the model another one: `model: {source: ..., chat_template: NAME}`, NAME being"
_REMEDY = f"{_OTHER} {', '.join(NAMED)}, or the path of a .jinja file."


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What a recipe says of a model's tokenizer. chat_template: a name, the path of a .jinja file, or its text."""

    chat_template: str | None = None
    pad_token: str | None = None
    end_of_turn: str | None = None

    @staticmethod
    def of(options: Mapping[str, Any]) -> ChatOptions:
        """From the options of a recipe's `model`. Raises UserError for an unknown one."""
        known = [one.name for one in fields(ChatOptions)]
        for name in options:
            if name not in known:
                raise UserError(f"the model has no option {name!r}", remedy=did_you_mean(name, known))
        return ChatOptions(**options)


@dataclass(slots=True)
class Adopted:
    """A tokenizer that keeps the rules. notes: what was chosen. added: tokens that its model has no embeddings for."""

    tokenizer: PreTrainedTokenizerBase
    notes: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)


def adopt(tokenizer: PreTrainedTokenizerBase, options: ChatOptions, where: str) -> Adopted:
    """Settles chat template, end of turn and padding of the tokenizer, in place. Raises UserError naming `where`."""
    adopted = Adopted(tokenizer)
    former_end = tokenizer.eos_token
    _choose_template(adopted, options, where)
    _settle_template(adopted, options, where)
    _choose_pad(adopted, options, former_end, where)
    return adopted


def _choose_template(adopted: Adopted, options: ChatOptions, where: str) -> None:
    tokenizer, name = adopted.tokenizer, options.chat_template
    if options.end_of_turn is not None:
        _known_token(tokenizer, "end_of_turn", options.end_of_turn, where)
        if name is not None:
            tokenizer.eos_token = options.end_of_turn
    if name is None:
        stock = tokenizer.chat_template
        stock = stock.get("default") if isinstance(stock, dict) else stock
        if not stock:
            raise UserError("the model has no chat template", where=where, remedy=_REMEDY)
        tokenizer.chat_template = stock
        return
    tokenizer.chat_template = template_text(name)
    if name in NAMED:
        added = [token for token in NAMED[name].tokens if token not in tokenizer.get_vocab()]
        _add(adopted, added, f"for the chat template {name!r}")
    if name == "plain" and not tokenizer.eos_token:
        remedy = "Name one that the vocabulary has: `model: {source: ..., chat_template: plain, end_of_turn: TOKEN}`."
        raise UserError("the tokenizer has no end-of-sequence token to end a turn with", where=where, remedy=remedy)
    adopted.notes.append(f"chat template: {name if name in NAMED else 'as the recipe gives it'}")


def _settle_template(adopted: Adopted, options: ChatOptions, where: str) -> None:
    """Mends the template where its rendering is not what it should be, and looks at what comes of it."""
    tokenizer = adopted.tokenizer
    stock = str(tokenizer.chat_template)
    tokenizer.chat_template = text = chat_templates.without_clock(stock)
    if text != stock:
        adopted.notes.append("the chat template writes today's date: it is fixed, so that tokens stay what they are")
    opened, closed = _opened(tokenizer, where), _closed(tokenizer, where)
    if not closed.startswith(opened + _ANSWER) and opened == _render(tokenizer, 1, False, where):
        lead = closed.removeprefix(opened).partition(_ANSWER)[0]
        tokenizer.chat_template = text = chat_templates.opening_with(text, lead)
        opened = _opened(tokenizer, where)
    if not closed.startswith(opened + _ANSWER):
        _refuse_lead(opened, closed, where)
    tail = closed[len(opened + _ANSWER) :]
    end = max((token for token in _whole_tokens(tokenizer) if tail.startswith(token)), key=len, default=None)
    rest = tail[len(end or "") :]
    if end is None or rest.strip() or end != (options.end_of_turn or end):
        what = f"after an answer the chat template writes {tail!r}"
        wanted = f"not {options.end_of_turn!r}" if options.end_of_turn else "which is not one token that ends the turn"
        raise UserError(f"{what}, {wanted}", where=where, remedy=_REMEDY)
    if end != tokenizer.eos_token:
        if "eos_token" in text and tokenizer.eos_token:
            text = chat_templates.keeping_eos(text, str(tokenizer.eos_token))
        adopted.notes.append(f"end of turn: {end} (the tokenizer said {tokenizer.eos_token})")
        tokenizer.eos_token = end
    if rest:
        text = chat_templates.ending_at_the_turn(text, rest)
        adopted.notes.append(
            f"the chat template wrote {rest!r} after the last turn: left out, so that it ends at {end}"
        )
    begin = tokenizer.bos_token_id
    if begin is not None and _ids(tokenizer, "a", True)[0] == begin and _ids(tokenizer, opened)[0] != begin:
        text = chat_templates.beginning_with(text, "bos_token")
        adopted.notes.append(f"every conversation begins with {tokenizer.bos_token}, as the tokenizer's texts do")
        opened, closed = f"{tokenizer.bos_token}{opened}", f"{tokenizer.bos_token}{closed}"
    tokenizer.chat_template = text
    mended = (_opened(tokenizer, where), _closed(tokenizer, where))
    if mended != (opened, closed.removesuffix(rest)):
        raise UserError("the chat template could not be made to end at the end of a turn", where=where, remedy=_REMEDY)
    if _ids(tokenizer, mended[1])[: len(_ids(tokenizer, opened))] != _ids(tokenizer, opened):
        what = "an answer's first token takes in the end of what the chat template writes before it"
        raise UserError(what, where=where, remedy=_REMEDY)
    if system := _own_words(tokenizer, opened, where):
        adopted.notes.append(f"the chat template begins every conversation with words of its own: {system!r}")


def _refuse_lead(opened: str, closed: str, where: str) -> NoReturn:
    if _ANSWER in closed and closed.startswith(opened):
        lead = closed[len(opened) : closed.index(_ANSWER, len(opened))]
        what = f"the chat template writes {lead!r} before an answer, but does not open the turn so"
    else:
        what = "the chat template does not write an answer where it opens the assistant's turn"
    raise UserError(what, where=where, remedy=_REMEDY)


def _own_words(tokenizer: PreTrainedTokenizerBase, opened: str, where: str) -> str:
    """What the template writes before the first turn of a conversation and not before the others."""
    other = _render(tokenizer, 3, False, where).partition(_NEXT)[0]
    head = other.rpartition(str(tokenizer.eos_token))[2].lstrip()
    own = opened.partition(_USER)[0].removesuffix(head).strip()
    return "" if own == tokenizer.bos_token else own


def _choose_pad(adopted: Adopted, options: ChatOptions, former_end: str | None, where: str) -> None:
    tokenizer = adopted.tokenizer
    if options.pad_token is not None:
        _known_token(tokenizer, "pad_token", options.pad_token, where)
        if options.pad_token == tokenizer.eos_token:
            what = f"the pad token {options.pad_token!r} is the token that ends a turn, which would never be learned"
            raise UserError(what, where=where, remedy="Name another one, or none: one is chosen then.")
        tokenizer.pad_token = options.pad_token
        return
    if tokenizer.pad_token is not None and tokenizer.pad_token_id != tokenizer.eos_token_id:
        return
    why = f"the tokenizer had {tokenizer.pad_token or 'none'}"
    pad = next(_spare_tokens(tokenizer, former_end), None)
    if pad is None:
        pad = _NEW_PAD
        _add(adopted, [pad], "for padding")
    tokenizer.pad_token = pad
    adopted.notes.append(f"pad token: {pad} ({why})")


def _spare_tokens(tokenizer: PreTrainedTokenizerBase, former_end: str | None) -> Iterator[str]:
    """Tokens of the vocabulary that no text contains and no template writes, the best first."""
    vocabulary = tokenizer.get_vocab()
    rendered = _closed(tokenizer, "")
    unused = sorted(filter(_UNUSED.fullmatch, vocabulary), key=lambda token: vocabulary[token])
    never_unknown = tokenizer.unk_token_id not in _ids(tokenizer, "\u2603 \U0001f9ff \u0d9e \x07")
    unknown = [str(tokenizer.unk_token)] if tokenizer.unk_token and never_unknown else []
    for token in (*_PADS, *([former_end] if former_end else []), *unknown, *unused):
        if token in vocabulary and token not in (tokenizer.eos_token, tokenizer.bos_token) and token not in rendered:
            yield token


def _add(adopted: Adopted, tokens: list[str], why: str) -> None:
    if tokens:
        new = [AddedToken(token, special=True, normalized=False) for token in tokens]
        adopted.tokenizer.add_tokens(new, special_tokens=True)
        adopted.added += tokens
        adopted.notes.append(f"new tokens {why}: {' '.join(tokens)} (their embeddings begin as the mean of all)")


def _known_token(tokenizer: PreTrainedTokenizerBase, option: str, token: str, where: str) -> None:
    if token not in tokenizer.get_vocab():
        what = f"the {option} {token!r} is not a token of the model's vocabulary"
        raise UserError(what, where=where, remedy=did_you_mean(token, _whole_tokens(tokenizer)))


def _whole_tokens(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """The tokens that are never cut: special ones and others that were added."""
    return {token for token in (*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()) if token}


def _opened(tokenizer: PreTrainedTokenizerBase, where: str) -> str:
    return _render(tokenizer, 1, True, where)


def _closed(tokenizer: PreTrainedTokenizerBase, where: str) -> str:
    return _render(tokenizer, 2, False, where)


def _render(tokenizer: PreTrainedTokenizerBase, num_turns: int, opened: bool, where: str) -> str:
    turns = [("user", _USER), ("assistant", _ANSWER), ("user", _NEXT)][:num_turns]
    messages = [{"role": role, "content": content} for role, content in turns]
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=opened))
    except Exception as error:  # a template is a program: it may divide by zero
        raise UserError(
            f"the chat template does not render: {first_line(error)}", where=where, remedy=_REMEDY
        ) from error


def _ids(tokenizer: PreTrainedTokenizerBase, text: str, special: bool = False) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=special))
