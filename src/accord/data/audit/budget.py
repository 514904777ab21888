"""Records against a number of tokens: what is too long for it, what is left of a pair when it is cut there.

Tokens are those of a model (anything with `prompt_ids` and `response_ids`, such as accord.text.template.Template). Cut
means that the first tokens of prompt and response are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any, Protocol

from accord.data.audit.passages import Part, responses_of
from accord.data.formats.reading import Flaw, Reading
from accord.data.records import RecordKind
from accord.data.splits import prompt_of
from accord.errors import UserError
from accord.types import Demonstration, Prompt, Response


class Tokens(Protocol):
    """How one model renders prompts and responses."""

    def prompt_ids(self, prompt: Prompt) -> tuple[int, ...]: ...

    def response_ids(self, response: Response) -> tuple[int, ...]: ...

    def demonstration(self, demonstration: Demonstration) -> object:
        """Raises UserError where a demonstration cannot be imitated faithfully."""


Rendered = tuple[tuple[int, ...], list[tuple[str, Part, tuple[int, ...]]]]
"""The prompt's tokens, and for each response its field, its part and its tokens."""


def render(tokens: Tokens, kind: RecordKind, record: Any) -> Rendered:
    """The tokens of a record; a text is a response to nothing. Raises UserError where training would."""
    prompt = prompt_of(record, kind)
    if isinstance(record, Demonstration):
        tokens.demonstration(record)
    if prompt is None:
        return (), [("text", "text", tokens.response_ids(Response(record.text)))]
    responses = [(field, part, tokens.response_ids(response)) for field, part, response in responses_of(kind, record)]
    return tokens.prompt_ids(prompt), responses


def render_all(tokens: Tokens, reading: Reading) -> tuple[list[Rendered | None], list[Flaw]]:
    """The tokens of every record; None, and a flaw, for one that the chat template does not take."""
    rendered: list[Rendered | None] = []
    flaws = []
    for record, place in zip(reading.records, reading.places, strict=True):
        try:
            rendered.append(render(tokens, reading.kind, record))
        except UserError as error:
            rendered.append(None)
            flaws.append(Flaw(place, "prompt", error.what, "refused-by-template"))
    return rendered, flaws


def over_budget(reading: Reading, rendered: list[Rendered | None], max_tokens: int | None) -> Iterator[Flaw]:
    """What does not fit. max_tokens: of a prompt and one response (None: any number fits).

    Of each record with a prompt the first that holds: no token of the response is left, two responses are equal in
    what is left, or it is too long. Responses whose texts differ and whose tokens do not are equal at any length.
    """
    for at, (place, tokens) in enumerate(zip(reading.places, rendered, strict=True)):
        if tokens is None:
            continue
        prompt, responses = tokens
        longest = max((len(ids) for _, _, ids in responses), default=0)
        size = len(prompt) + longest
        if not prompt:
            continue  # a text is trained on in windows, and nothing of it is lost
        if max_tokens is not None and responses and len(prompt) >= max_tokens:
            what = f"takes {len(prompt):,} tokens: of {max_tokens:,} none is left for a response"
            yield Flaw(place, "prompt", what, "no-response-left")
        elif equal := _equal_pair(
            reading.records[at], responses, None if max_tokens is None else max_tokens - len(prompt)
        ):
            first, second, left = equal
            what = f"has the same tokens as {first}" + (f" in the {left:,} that are left" if left is not None else "")
            yield Flaw(place, second, what, "equal-after-truncation")
        elif max_tokens is not None and size > max_tokens:
            field = next((field for field, _, ids in responses if len(ids) == longest), "prompt")
            yield Flaw(place, field, f"takes {size:,} tokens with its prompt, of {max_tokens:,}", "over-long")


def _equal_pair(
    record: Any, responses: list[tuple[str, Part, tuple[int, ...]]], room: int | None
) -> tuple[str, str, int | None] | None:
    """The fields of two responses that differ as texts and not in their first `room` tokens, and the room if it cut."""
    if len(responses) < 2:
        return None
    texts = [response.text for response in record[0].responses]
    for i, j in combinations(range(len(responses)), 2):
        a, b = responses[i][2], responses[j][2]
        if texts[i] != texts[j] and a[:room] == b[:room]:
            return responses[i][0], responses[j][0], None if a == b else room
    return None
