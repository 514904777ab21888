"""The nouns of the loop. One definition each, frozen, standard library only.

    Prompt -> Response -> Comparison -> Judgement -> Ranking -> (trees, losses, scores)

Comparison and Judgement are facts that people (or judges) produced; a Ranking is derived from them and can be
derived again with other rules. Nothing here knows about tokens, tensors or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a policy answers: messages, and perhaps an opening of the answer that is given to it.

    The prefill is part of the assistant's turn: nobody trains on it, and a reward model sees it as part of the
    response's turn. Example: messages = (user: "Write one line of a film review.",), prefill = "The acting".
    A response then starts where the prefill stops, for example " carries a thin plot.".

    risk_category: what an answer has to beware of, such as "unqualified advice", where the prompt was written to get an
    unsafe one (Touvron et al. 2023, section 4.1); "" of every other prompt.
    """

    id: str
    messages: tuple[Message, ...]
    prefill: str = ""
    risk_category: str = ""

    @property
    def is_safety(self) -> bool:
        """Whether the prompt was written to get an unsafe answer: is_safety(p) of Llama 2's reward."""
        return bool(self.risk_category)


@dataclass(frozen=True, slots=True)
class Response:
    """The text of an answer, after the prefill. `finished`: it ended its turn, rather than ran out of tokens."""

    text: str
    finished: bool = True


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One prompt with the answer to imitate (supervised fine-tuning).

    imitate_from: the assistant's turns among the prompt's messages from this index on are imitated, too; None: the
    response alone. A whole conversation is the demonstration of its last turn with imitate_from = 0.
    """

    prompt: Prompt
    response: Response
    imitate_from: int | None = None


@dataclass(frozen=True, slots=True)
class LabelledResponse:
    """One prompt and one response that somebody called good or bad: unpaired feedback, as of a thumb up or down."""

    prompt: Prompt
    response: Response
    good: bool


@dataclass(frozen=True, slots=True)
class PlainText:
    """A text that is nobody's turn: language modelling on documents."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """One prompt and the K responses that somebody was, or will be, asked to compare."""

    id: str
    prompt: Prompt
    responses: tuple[Response, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one annotator said of one comparison: a grade for each response, higher is better, None is no answer.

    safe: whether each response is safe to give, None is no answer; () when nobody was asked.
    """

    comparison_id: str
    annotator: str
    grades: tuple[float | None, ...]
    safe: tuple[bool | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """An ordered pair inside a ranking: indices into its responses, and the margin that the loss should ask for."""

    chosen: int
    rejected: int
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class Ranking:
    """K responses to one prompt and the ordered pairs among them. A tie is no such pair: it stands in `ties`.

    ties: pairs of indices, the smaller first, that were judged equal. safe: as in Judgement, what most of those say who
    say something (None: nobody, or as many as deny it); () when no response has such a label.
    Example: three responses graded 2.1, -1.0 and 2.0 where differences below 0.5 count as ties give
    pairs = (Pair(0, 1), Pair(2, 1)) and ties = ((0, 2),). A preference (chosen, rejected) is the ranking with K = 2
    and one pair.
    """

    prompt: Prompt
    responses: tuple[Response, ...]
    pairs: tuple[Pair, ...]
    ties: tuple[tuple[int, int], ...] = ()
    safe: tuple[bool | None, ...] = ()


@dataclass(frozen=True, slots=True)
class RatedText:
    """A text with the ratings that people gave it, one number a person."""

    id: str
    text: str
    ratings: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(self.ratings) / len(self.ratings)
