"""What a judge means by what it wrote: a verdict, points, a class or several numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from accord.collect.answer_log import Reply
from accord.collect.judge_prompts import JudgePrompt
from accord.rewards.rules import REGEX_SECONDS, compile_pattern


@dataclass(frozen=True, slots=True)
class Answer:
    """number: what the most probable answer stands for, or the one that is written. expected: the mean over all answers
    by their probabilities; None where the judge gave none."""

    number: float
    expected: float | None = None


def answer_of(prompt: JudgePrompt, reply: Reply) -> Answer | None:
    """Of a comparison how far the first response wins, 1, 0, or 0.5 for a tie; of points and choices their number. None
    where the reply says nothing of that kind."""
    answers = prompt.answers
    shares = shares_of(answers, reply.logprobs or {})
    if shares:
        return Answer(max(shares, key=lambda number: shares[number]), expected_number(shares))
    label = _label(prompt, reply.text)
    return None if label not in answers else Answer(answers[label])


def points_of(prompt: JudgePrompt, reply: Reply) -> float | None:
    """Points: where the prompt asks for them and the judge gave probabilities, the expected ones; else those written.
    None where there is no number, or none of the scale."""
    answer = answer_of(prompt, reply)
    if answer is None:
        return None
    return answer.expected if prompt.value == "expected" and answer.expected is not None else answer.number


def scores_of(prompt: JudgePrompt, reply: Reply) -> dict[str, float]:
    """By name the number on the last line that gives one, if it is of the scale; others are missing."""
    found = {}
    for name, (least, most) in (prompt.scores or {}).items():
        lines = re.findall(
            rf"^\W{{0,9}}{re.escape(name)}\W{{1,9}}(\d{{1,3}})\b", reply.text, re.IGNORECASE | re.MULTILINE
        )
        if lines and least <= int(lines[-1]) <= most:
            found[name] = float(lines[-1])
    return found


def shares_of(answers: Mapping[str, float], logprobs: Mapping[str, float]) -> dict[float, float]:
    """Number -> its probability, over all answers that stand for it, made to sum to 1; empty where none has one."""
    given = {label: logprobs[label] for label in answers if label in logprobs}
    most = max(given.values(), default=0.0)
    weights = {label: math.exp(logprob - most) for label, logprob in given.items()}
    total = sum(weights.values())
    shares: dict[float, float] = {}
    for label, weight in weights.items():
        shares[answers[label]] = shares.get(answers[label], 0.0) + weight / total
    return shares


def expected_number(shares: Mapping[float, float]) -> float:
    """sum_i p(s_i) s_i (G-Eval, Liu et al. 2023, arXiv:2303.16634, section 2).

    >>> expected_number({1.0: 0.25, 3.0: 0.75})
    2.5
    """
    return sum(number * share for number, share in shares.items())


def found_last(verdict: str, text: str) -> tuple[int, str] | None:
    """Where the label or number begins that a prompt's `verdict` finds last in a text, and what it is."""
    try:
        found = list(compile_pattern(verdict).finditer(text, timeout=REGEX_SECONDS))
    except TimeoutError:  # a text that is made for it: it cannot be read
        return None
    return (found[-1].start(1), found[-1][1]) if found and found[-1][1] is not None else None


def _label(prompt: JudgePrompt, text: str) -> str | None:
    """What the prompt's pattern finds last; without one, the answer with which the text begins."""
    if prompt.verdict is not None:
        found = found_last(prompt.verdict, text)
        return None if found is None else found[1]
    bare = "|".join(re.escape(label) for label in prompt.answers)
    match = re.match(rf"\W*({bare})\b", text.strip())
    return match[1] if match else None
