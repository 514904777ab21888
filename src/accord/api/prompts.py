"""Prompts and responses as people write them in Python: texts, lists of messages, or the nouns themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from accord.data.formats.fields import Defect, messages_of
from accord.errors import UserError
from accord.types import Message, Prompt, Response

PromptLike = str | Prompt | Sequence[Mapping[str, str] | Message]
ResponseLike = str | Response


def prompts_of(prompts: Iterable[PromptLike]) -> list[Prompt]:
    """A text is one message of the user; a last message of the assistant opens the answer. Raises UserError."""
    if isinstance(prompts, str | Prompt):
        raise UserError("one prompt was given, and a list of prompts is wanted", remedy="Put it into a list: [prompt].")
    return [prompt_of(prompt, f"prompts[{i}]", str(i)) for i, prompt in enumerate(prompts)]


def prompt_of(prompt: PromptLike, where: str = "prompt", name: str = "0") -> Prompt:
    """One prompt. name: its id, by which draws are named, if it has none of its own. Raises UserError."""
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
        if not out[-1]:
            raise UserError("there is no response to this prompt", where=f"responses[{i}]", remedy="Leave it out.")
    if len(out) != num_prompts:
        what = f"there are responses to {len(out)} prompts, and {num_prompts} prompts"
        raise UserError(what, where="responses", remedy="Give a list of responses for each prompt.")
    return out
