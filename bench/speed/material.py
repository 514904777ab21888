"""The examples of a round: real ones of HH-RLHF (ACCORD_DATA), or ones of wanted lengths made of their words.

Files have TRL's columns, which Accord reads as they are; rankings are written once as such, and once as all their
pairs. Every function takes consecutive examples of one fixed order, so that round r has examples that no other has.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from accord.models.folders import load_tokenizer
from accord.text.template import Template
from accord.types import Message, Prompt, Response
from bench.contestants.shared import write_rows
from bench.speed.flops import Example

Row = dict[str, Any]
SEED = 5


@dataclass(frozen=True, slots=True)
class Batch:
    """rows: what Accord is given. pairs: what a trainer of pairs is given, in its place. examples: their sizes."""

    rows: list[Row]
    examples: list[Example]
    pairs: list[Row] | None = None

    def write(self, folder: Path) -> tuple[Path, Path]:
        """The files of rows and of pairs."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = pairs = folder / "rows.jsonl"
        write_rows(rows, self.rows)
        if self.pairs is not None:
            pairs = folder / "pairs.jsonl"
            write_rows(pairs, self.pairs)
        return rows, pairs


class Material:
    """model: the folder whose template and tokens count."""

    def __init__(self, model: Path) -> None:
        self._template = Template(load_tokenizer(model))

    @cached_property
    def _hh(self) -> list[Row]:
        """Rows of different prompts that a chat template takes, in a fixed order."""
        rows, seen = [], set()
        path = data_folder() / "prefs" / "hh_helpful.jsonl.gz"
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                asked = json.dumps(row["prompt"])
                if asked not in seen and _usable(row):
                    seen.add(asked)
                    rows.append(row)
        random.Random(SEED).shuffle(rows)
        return rows

    def pairs(self, number: int, size: int, longest: int = 512, *, scored: bool = True) -> Batch:
        """A prompt with a chosen and a rejected response, of at most `longest` tokens all in: batch `number`."""
        found = ((row, self._example(row, ("chosen", "rejected"))) for row in self._hh)
        kept = (both for both in found if both[1].num_tokens <= longest)
        chosen = _batch(kept, number, size)
        rows = [
            {"prompt": row["prompt"], **{side: _answer(row[side]) for side in ("chosen", "rejected")}}
            for row, _ in chosen
        ]
        return Batch(rows, [example if scored else _unscored(example) for _, example in chosen])

    def demonstrations(self, number: int, size: int, longest: int = 512) -> Batch:
        """Conversations of which the last answer is imitated."""
        found = ((row, self._example(row, ("chosen",))) for row in self._hh)
        chosen = _batch((both for both in found if both[1].num_tokens <= longest), number, size)
        rows = [{"prompt": row["prompt"], "completion": _answer(row["chosen"])} for row, _ in chosen]
        return Batch(rows, [example for _, example in chosen])

    def rankings(self, number: int, size: int, num: int, longest: int = 512, *, scored: bool = False) -> Batch:
        """Prompts with `num` responses in order, those beyond two of other prompts: the lengths are real."""
        others = itertools.cycle([row[side] for row in reversed(self._hh) for side in ("chosen", "rejected")])
        found: list[tuple[Row, Example]] = []
        for row in self._hh:
            texts = list(dict.fromkeys([row["chosen"], row["rejected"], *itertools.islice(others, num)]))[:num]
            row = {"prompt": row["prompt"], "responses": texts, "grades": [float(num - k) for k in range(num)]}
            example = self._sizes(row["prompt"], texts)
            if len(texts) == num and example.prompt + max(example.responses) <= longest:
                found.append((row, example))
            if len(found) > (number + 1) * size:
                break
        chosen = _batch(found, number, size)
        pairs = [pair for row, _ in chosen for pair in exploded(row)]
        return Batch([row for row, _ in chosen], [e if scored else _unscored(e) for _, e in chosen], pairs)

    def made_up(self, number: int, size: int, length: int) -> Batch:
        """Pairs of exactly wanted lengths: three quarters of `length` the prompt, one quarter each response."""
        words = self._words
        rows, examples = [], []
        for i in range(number * size, (number + 1) * size):
            cut = random.Random(i)
            prompt, *sides = (
                _text(self._template, words, cut, tokens) for tokens in (3 * length // 4 - 8, length // 4, length // 4)
            )
            asked = [{"role": "user", "content": prompt}]
            rows.append({"prompt": asked, "chosen": _answer(sides[0]), "rejected": _answer(sides[1])})
            examples.append(self._sizes(asked, sides))
        return Batch(rows, examples)

    def prompts(self, number: int, size: int, longest: int = 64) -> Batch:
        """Questions of HH-RLHF, which the model answers at length."""
        return self._asked([row for row in self._hh if len(row["prompt"]) == 1], number, size, longest)

    def conversations(self, number: int, size: int, longest: int = 900) -> Batch:
        """Its questions, and its conversations that have come to a question: of very unequal lengths."""
        return self._asked(self._hh, number, size, longest)

    def _asked(self, rows: Sequence[Row], number: int, size: int, longest: int) -> Batch:
        found = ((row, self._sizes(row["prompt"], ())) for row in rows)
        chosen = _batch((both for both in found if both[1].prompt <= longest), number, size)
        return Batch([{"prompt": row["prompt"]} for row, _ in chosen], [example for _, example in chosen])

    @cached_property
    def _words(self) -> list[str]:
        return " ".join(row["chosen"] for row in self._hh).split()

    def _example(self, row: Row, sides: Sequence[str]) -> Example:
        return self._sizes(row["prompt"], [row[side] for side in sides])

    def _sizes(self, messages: Sequence[Row], responses: Sequence[str]) -> Example:
        prompt = Prompt("bench", tuple(Message(one["role"], one["content"]) for one in messages))
        own = self._template.prompt_ids(prompt)
        return Example(len(own), tuple(len(self._template.response_ids(Response(text))) for text in responses))


def data_folder() -> Path:
    """Raises SystemExit where it is not said."""
    if "ACCORD_DATA" not in os.environ:
        sys.exit("the data of these cases lies where ACCORD_DATA says, and it says nothing")
    return Path(os.environ["ACCORD_DATA"])


def exploded(row: Row) -> list[Row]:
    """All pairs of a ranking, best first."""
    both = itertools.combinations(row["responses"], 2)
    return [{"prompt": row["prompt"], "chosen": _answer(a), "rejected": _answer(b)} for a, b in both]


def _batch(found: Any, number: int, size: int) -> list[tuple[Row, Example]]:
    chosen = list(itertools.islice(found, number * size, (number + 1) * size))
    if len(chosen) < size:
        sys.exit(f"there is no batch {number} of {size} examples in the data: take fewer rounds")
    return chosen


def _answer(text: str) -> list[Row]:
    return [{"role": "assistant", "content": text}]


def _unscored(example: Example) -> Example:
    """Of a reward model, whose head is one row."""
    return Example(example.prompt, example.responses, 0)


def _usable(row: Row) -> bool:
    roles = [message["role"] for message in row["prompt"]]
    texts = [*(message["content"] for message in row["prompt"]), row["chosen"], row["rejected"]]
    in_turn = all(role == ("user", "assistant")[i % 2] for i, role in enumerate(roles))
    return in_turn and all(text.strip() for text in texts) and row["chosen"] != row["rejected"]


def _text(template: Template, words: Sequence[str], cut: random.Random, tokens: int) -> str:
    """Words from a place on, as many as are not more tokens."""
    at = cut.randrange(len(words) - tokens)
    text = words[at]
    while len(template.response_ids(Response(longer := f"{text} {words[at + 1]}"))) <= tokens:
        text, at = longer, at + 1
    return text
