"""The only place where conversations become token ids, and token ids become text.

A prompt and a response are tokenized apart and their ids are concatenated, so the boundary between what is given and
what is trained on never moves. That the concatenation equals the tokenization of the whole is asserted on demand
(`check_boundary`), because text that crosses the boundary in one token would make scores depend on who rendered it.
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from accord.errors import UserError
from accord.text.tree import Branch, Tree
from accord.types import Message, Prompt, Response

# ChatML that adds no system message unasked and ends exactly at the end-of-turn token: the Auto class for rewards reads
# the last token that is not padding, which then is the end of the turn.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '\n' if not loop.first }}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' }}{% endfor %}"
    "{{ '\n<|im_start|>assistant\n' if add_generation_prompt }}"
)


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
        self._rendered: dict[tuple[tuple[Message, ...], str], tuple[int, ...]] = {}

    def prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """The conversation up to where the response begins: an opened assistant turn, with the prefill in it."""
        key = (prompt.messages, prompt.prefill)
        if key not in self._rendered:
            opened = self._render(prompt.messages, opened=True)
            self._rendered[key] = (*self._encode(opened), *self._encode(prompt.prefill))
        return self._rendered[key]

    def response_ids(self, response: Response) -> tuple[int, ...]:
        """The response's own tokens, and the end of the turn if it was reached."""
        ids = self._encode(response.text)
        return (*ids, self.end_id) if response.finished else ids

    def tree(self, prompt: Prompt, responses: Sequence[Response]) -> Tree:
        """One prompt with its responses as branches."""
        return Tree(self.prompt_ids(prompt), tuple(Branch(self.response_ids(response)) for response in responses))

    def text(self, response_ids: Sequence[int], after: Sequence[int] = ()) -> str:
        """The text of sampled tokens, the end of the turn left out.

        after: the tokens before them; some tokenizers drop a space that a text begins with, unless it follows another.
        """
        kept = [i for i in response_ids if i != self.end_id]
        return self._decode([*after, *kept])[len(self._decode(after)) :]

    def check_boundary(self, prompt: Prompt, response: Response) -> None:
        """Raises UserError when the whole text would be tokenized otherwise than prompt and response apart."""
        final = Message("assistant", prompt.prefill + response.text)
        whole = self._encode(self._render((*prompt.messages, final), opened=False))
        ends = [at for at, token in enumerate(whole) if token == self.end_id]
        whole = whole[: ends[-1] + 1] if ends else whole  # some templates write a newline after the turn
        apart = (*self.prompt_ids(prompt), *self.response_ids(Response(response.text)))
        if whole != apart:
            raise UserError(
                f"prompt {prompt.id!r} and its response merge into one token where they meet",
                remedy="Begin the response at a word boundary (end the prefill before the space), and check that the "
                "chat template ends an assistant's turn with the end-of-sequence token.",
            )

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _render(self, messages: Sequence[Message], *, opened: bool) -> str:
        plain = [{"role": message.role, "content": message.content} for message in messages]
        text = self.tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=opened)
        assert isinstance(text, str)
        return text

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False)) if text else ()
