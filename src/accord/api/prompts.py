"""What people write in Python, checked: prompts and responses (texts, lists of messages, or the nouns themselves), and
the numbers of sampling."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from accord.data.formats.fields import Defect, messages_of, text_of
from accord.errors import UserError
from accord.types import Message, Prompt, Response

PromptLike = str | Prompt | Sequence[Mapping[str, str] | Message]
ResponseLike = str | Response

COLDEST = 1e-6  # of temperatures above 0: logits are divided by it, and shall stay finite


def prompts_of(prompts: Iterable[PromptLike]) -> list[Prompt]:
    """A text is one message of the user; a last message of the assistant opens the answer. Raises UserError."""
    if isinstance(prompts, str | Prompt):
        raise UserError("one prompt was given, and a list of prompts is wanted", remedy="Put it into a list: [prompt].")
    return [prompt_of(prompt, f"prompts[{i}]", str(i)) for i, prompt in enumerate(prompts)]


def prompt_of(prompt: PromptLike, where: str = "prompt", name: str = "0") -> Prompt:
    """One prompt. name: its id, by which draws are named, if it has none of its own. Raises UserError."""
    read = _read_prompt(prompt, where, name)
    for text in (*(message.content for message in read.messages), read.prefill):
        _check_text(text, where)
    return read


def _read_prompt(prompt: PromptLike, where: str, name: str) -> Prompt:
    if isinstance(prompt, Prompt):
        return prompt
    if isinstance(prompt, str):
        return Prompt(name, (Message("user", prompt),))
    messages = [{"role": m.role, "content": m.content} if isinstance(m, Message) else m for m in prompt]
    try:
        read = messages_of({"prompt": [dict(m) if isinstance(m, Mapping) else m for m in messages]}, "prompt")
    except Defect as defect:
        place = where + defect.field.removeprefix("prompt")
        remedy = 'Write [{"role": "user", "content": "..."}].'
        raise UserError(defect.what, where=place, remedy=remedy) from defect
    prefill = read.pop().content if read and read[-1].role == "assistant" else ""
    if not read or read[-1].role == "assistant":
        raise UserError("there is no message to answer", where=where, remedy="End with a message of the user.")
    return Prompt(name, tuple(read), prefill)


def responses_of(responses: Iterable[Iterable[ResponseLike]], num_prompts: int) -> list[list[Response]]:
    """[P][K] responses; a text is one that ended its turn. Raises UserError."""
    out = []
    for i, of_prompt in enumerate(responses):
        if isinstance(of_prompt, str | Response):
            what = "one response was given, and a list of responses to each prompt is wanted"
            raise UserError(what, where=f"responses[{i}]", remedy="Write [[response], ...].")
        out.append([one if isinstance(one, Response) else Response(one) for one in of_prompt])
        for k, response in enumerate(out[-1]):
            _check_text(response.text, f"responses[{i}][{k}]")
        if not out[-1]:
            raise UserError("there is no response to this prompt", where=f"responses[{i}]", remedy="Leave it out.")
    if len(out) != num_prompts:
        what = f"there are responses to {len(out)} prompts, and {num_prompts} prompts"
        raise UserError(what, where="responses", remedy="Give a list of responses for each prompt.")
    return out


def check_sampling(num_samples: int, max_response_tokens: int, temperature: float) -> None:
    """Raises UserError for numbers with which nothing can be sampled."""
    for name, value in (("num_samples", num_samples), ("max_response_tokens", max_response_tokens)):
        if value < 1:
            raise UserError(f"{name} is {value}, and at least 1 is wanted", remedy="Give a whole number above 0.")
    if temperature != 0:
        check_temperature(temperature, "Give a number above that, or 0, which takes the most probable token.")


def check_temperature(temperature: float, remedy: str = "Give a number above that.") -> None:
    """Raises UserError for a temperature at which there are no probabilities."""
    if not COLDEST <= temperature < math.inf:
        raise UserError(f"the temperature is {temperature}, and at least {COLDEST:g} is wanted", remedy=remedy)


def _check_text(text: str, where: str) -> None:
    try:
        text_of(text, where)
    except Defect as defect:
        raise UserError(defect.what, where=where, remedy="Give a text that a tokenizer takes.") from defect
