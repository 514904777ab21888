"""The only place where conversations become token ids, and token ids become text.

A prompt and a response are tokenized apart and their ids are concatenated, so the boundary between what is given and
what is trained on never moves. That the concatenation equals the tokenization of the whole is asserted on demand
(`check_boundary`), because text that crosses the boundary in one token would make scores depend on who rendered it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from accord.errors import UserError, first_line
from accord.text.chat_templates import NAMED
from accord.text.tree import Branch, Tree
from accord.text.turns import Span, marked_turns, tree_of_turns
from accord.types import Demonstration, Message, PlainText, Prompt, Response

CHAT_TEMPLATE = NAMED["chatml"].text

_TEXT = "\n"  # a text that nothing merges with
_MARK = re.compile(r"{%-?\s*generation\s*-?%}")
_MOST_KEPT = 1024  # prompts whose tokens are kept, as prompts often differ in their prefill alone or come again


class Template:
    """Rendering with one tokenizer and its chat template.

    `pad_id`: a token that never occurs in text. `end_id`: the token that ends an assistant's turn.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        where = str(tokenizer.name_or_path)
        if not tokenizer.chat_template:
            raise UserError("the model has no chat template", where=where, remedy="Use a chat or instruct model.")
        if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
            raise UserError(
                "the tokenizer has no padding token of its own",
                where=where,
                remedy="Set pad_token in tokenizer_config.json to a token that never occurs in text.",
            )
        self.tokenizer = tokenizer
        self.pad_id = int(tokenizer.pad_token_id)
        self.end_id = int(tokenizer.eos_token_id)
        self._control = _control_tokens(tokenizer)
        self._rendered: dict[tuple[tuple[Message, ...], str], tuple[int, ...]] = {}
        self._anchor, self._before = self._beginnings()

    @property
    def takes_system(self) -> bool:
        """Whether the chat template writes a system message; some refuse it, and some leave it out."""
        said = "Be brief."
        try:
            return said in self._render((Message("system", said), Message("user", "Hello.")), opened=True)
        except UserError:
            return False

    def prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """The conversation up to where the response begins: an opened assistant turn, with the prefill in it."""
        key = (prompt.messages, prompt.prefill)
        if key not in self._rendered:
            if len(self._rendered) >= _MOST_KEPT:
                del self._rendered[next(iter(self._rendered))]
            self._rendered[key] = (*self._opened(prompt.messages, prompt.id), *self._encode_on(prompt.prefill))
        return self._rendered[key]

    def response_ids(self, response: Response) -> tuple[int, ...]:
        """The response's own tokens, and the end of the turn if it was reached."""
        ids = self._encode_on(response.text)
        return (*ids, self.end_id) if response.finished else ids

    def tree(self, prompt: Prompt, responses: Sequence[Response]) -> Tree:
        """One prompt with its responses as branches."""
        return Tree(self.prompt_ids(prompt), tuple(Branch(self.response_ids(response)) for response in responses))

    def scored_tree(self, prompt: Prompt, responses: Sequence[Response]) -> Tree:
        """What a reward model reads: prefill and response as one text, and the end of the turn, reached or not."""
        whole = [Response(prompt.prefill + response.text) for response in responses]
        return self.tree(replace(prompt, prefill=""), whole)

    def demonstration(self, demonstration: Demonstration) -> Tree:
        """What is imitated: one branch that scores the assistant's imitated turns, their end-of-turn tokens included.

        Turns are found by the chat template's `{% generation %}` marks, or else by rendering up to each of them: what
        is trained on follows exactly what the policy sees before it answers. Without earlier turns this is `tree`.
        Raises UserError, naming the record, when a turn is empty, a text holds a control token, or the template does
        not let that be so.
        """
        prompt, response = demonstration.prompt, demonstration.response
        if control := self.control_token(prompt, [response]):
            what = f"a text of {prompt.id!r} holds the control token {control!r}"
            raise UserError(what, remedy="Take it out of the text.")
        start = demonstration.imitate_from if demonstration.imitate_from is not None else len(prompt.messages)
        earlier = [i for i, m in enumerate(prompt.messages) if m.role == "assistant" and i >= start]
        for i, message in [(i, prompt.messages[i]) for i in earlier] + [(None, Message("assistant", response.text))]:
            if not message.content.strip():
                which = "the response" if i is None else f"turn {i}"
                raise UserError(
                    f"{which} of {prompt.id!r} is empty, so there is nothing to imitate", remedy="Remove the record."
                )
        ids, turns = self._marked(demonstration, earlier) or self._found(demonstration, earlier)
        return tree_of_turns(ids, turns)

    def documents(self, text: PlainText, max_tokens: int) -> list[Tree]:
        """A text and `end_id`, all scored, after the token that begins a sequence (where there is none, `end_id`).

        A longer one than `max_tokens` is cut into windows, each of which begins with the last token of the one before
        it, so that every token is scored once.
        """
        assert max_tokens > 1, "a window holds a token to score and the one before it"
        begin = self.tokenizer.bos_token_id
        ids = (int(begin if begin is not None else self.end_id), *self._encode(text.text), self.end_id)
        step = max_tokens - 1
        return [Tree(ids[at : at + 1], (Branch(ids[at + 1 : at + 1 + step]),)) for at in range(0, len(ids) - 1, step)]

    def text(self, response_ids: Sequence[int], after: Sequence[int] = ()) -> str:
        """The text of sampled tokens, the end of the turn left out.

        after: the tokens before them; some tokenizers drop a space that a text begins with, unless it follows another.
        """
        kept = [i for i in response_ids if i != self.end_id]
        before = after if not self._before or self._decode(after) else self._before
        return self._decode([*before, *kept])[len(self._decode(before)) :]

    def plain_ids(self, text: str, *, marked: bool) -> tuple[int, ...]:
        """Ids of a text that is no conversation; the control tokens in it are such. marked: with what the tokenizer
        puts around a text, such as the token that begins a sequence."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=marked)) if text or marked else ()

    def plain_text(self, ids: Sequence[int]) -> str:
        """The text of any tokens, control tokens included."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def control_token(self, prompt: Prompt, responses: Sequence[Response] = ()) -> str | None:
        """One that a text holds, and that would begin or end turns where nobody did; None when no text does."""
        whole = [prompt.prefill + response.text for response in responses] or [prompt.prefill]
        texts = (*(message.content for message in prompt.messages), *whole)
        return next((found[0] for text in texts if (found := self._control.search(text))), None)

    def check_boundary(self, prompt: Prompt, response: Response) -> None:
        """Raises UserError when the whole text would be tokenized otherwise than prompt and response apart."""
        final = Message("assistant", prompt.prefill + response.text)
        text = self._render((*prompt.messages, final), opened=False, of=prompt.id)
        if not text.startswith(self._render(prompt.messages, opened=True, of=prompt.id) + final.content):
            raise UserError(
                f"the chat template does not write the response to prompt {prompt.id!r} as it is given",
                remedy="It may strip white space or add words (such as empty thoughts). Take white space off both ends "
                "of the response, or give the model another template, as in `chat_template: chatml`.",
            )
        whole = self._encode(text)
        ends = [at for at, token in enumerate(whole) if token == self.end_id]
        whole = whole[: ends[-1] + 1] if ends else whole  # some templates write a newline after the turn
        apart = (*self.prompt_ids(prompt), *self.response_ids(Response(response.text)))
        if whole != apart:
            raise UserError(
                f"prompt {prompt.id!r} and its response merge into one token where they meet",
                remedy="Begin the response at a word boundary (end the prefill before the space), and check that the "
                "chat template ends an assistant's turn with the end-of-sequence token.",
            )

    def _found(self, demonstration: Demonstration, earlier: Sequence[int]) -> tuple[tuple[int, ...], list[Span]]:
        """The ids and the imitated turns, each as it is when it is the one that is answered."""
        prompt, response = demonstration.prompt, demonstration.response
        self.check_boundary(prompt, response)
        opened = self.prompt_ids(prompt)
        ids = (*opened, *self.response_ids(response))
        return ids, [*(self._turn(prompt, i, ids) for i in earlier), (len(opened), len(ids))]

    def _turn(self, prompt: Prompt, i: int, ids: Sequence[int]) -> Span:
        """Where the assistant's turn number `i` stands in the ids of a whole conversation."""
        opened = self._opened(prompt.messages[:i], prompt.id)
        answered = (*opened, *self.response_ids(Response(prompt.messages[i].content)))
        if tuple(ids[: len(answered)]) != answered:
            raise UserError(
                f"the chat template does not keep turn {i} of {prompt.id!r} as it was when it was answered",
                remedy="It may strip white space or thoughts. Imitate the last turn alone (`last_turn_only: true`), or "
                "use a chat template with {% generation %} marks.",
            )
        return len(opened), len(answered)

    def _marked(
        self, demonstration: Demonstration, earlier: Sequence[int]
    ) -> tuple[tuple[int, ...], list[Span]] | None:
        """The ids and the imitated turns by the chat template's own marks; None when it has none for each turn."""
        if not (self.tokenizer.is_fast and _MARK.search(str(self.tokenizer.get_chat_template()))):
            return None
        prompt, response = demonstration.prompt, demonstration.response
        messages = (*prompt.messages, Message("assistant", prompt.prefill + response.text))
        self._render(messages, opened=False, of=prompt.id)  # raises what the template refuses
        out: Any = self.tokenizer.apply_chat_template(
            _plain(messages), return_dict=True, return_assistant_tokens_mask=True
        )
        ids = tuple(out["input_ids"])
        marked = marked_turns(ids, out["assistant_masks"], self.end_id)
        turns = [i for i, message in enumerate(messages) if message.role == "assistant"]
        if len(marked) != len(turns):
            return None
        opened = self.prompt_ids(prompt)
        begin, end = max(marked[-1][0], len(opened)), marked[-1][1]
        if ids[: len(opened)] != opened or begin >= end or any(ids[stop - 1] != self.end_id for _, stop in marked):
            raise UserError(
                f"{prompt.id!r} is written otherwise by the chat template than a prompt that is answered",
                remedy="Begin the response at a word boundary, and check that the chat template ends an assistant's "
                "turn with the end-of-turn token.",
            )
        imitated = [marked[turns.index(i)] for i in earlier]
        return ids, [*imitated, (begin, end if response.finished else end - 1)]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _opened(self, messages: Sequence[Message], of: str) -> tuple[int, ...]:
        return self._encode(self._render(messages, opened=True, of=of))

    def _render(self, messages: Sequence[Message], *, opened: bool, of: str = "") -> str:
        try:
            text = self.tokenizer.apply_chat_template(_plain(messages), tokenize=False, add_generation_prompt=opened)
        except Exception as error:  # raised by the template itself, which is a program
            raise UserError(
                f"the chat template refuses the conversation of {of!r}: {first_line(error)}",
                remedy="Change its turns (some templates take no system message, or want user and assistant in turn), "
                "or give the model another template, as in `chat_template: chatml`.",
            ) from error
        assert isinstance(text, str)
        return text

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False)) if text else ()

    def _encode_on(self, text: str) -> tuple[int, ...]:
        """Ids of a text that goes on from an opened turn, without the mark that some tokenizers put before a text."""
        if not (text and self._anchor):
            return self._encode(text)
        before, whole = self._encode(self._anchor), self._encode(self._anchor + text)
        return whole[len(before) :] if whole[: len(before)] == before else self._encode(text)

    def _beginnings(self) -> tuple[str, tuple[int, ...]]:
        """What to encode before a text that goes on, and what to decode before tokens that do; mostly nothing."""
        opened = self._render((Message("user", "a"),), opened=True)
        marks = [*self.tokenizer.all_special_tokens, *self.tokenizer.get_added_vocab()]
        anchor = next((mark for mark in marks if opened.endswith(mark)), _TEXT)
        begun = len(self._encode(anchor))
        on = {text: self._encode(anchor + text)[begun:] for text in ("a", " a")}
        if all(ids == self._encode(text) for text, ids in on.items()):
            anchor = ""
        for before in ((), self._encode(_TEXT)):
            skip = len(self._decode(before))
            if all(self._decode([*before, *ids])[skip:] == text for text, ids in on.items()):
                return anchor, before
        return anchor, ()


def _control_tokens(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """Finds what the tokenizer takes for one of its special tokens wherever it stands."""
    added = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    names = {*added, *tokenizer.all_special_tokens} - {""}
    return re.compile("|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)))


def _plain(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]
