"""Everything that can be said of data before anybody trains on it, in one pass: what is wrong, how long, what to know.

`check_data` is what the command `accord data check` shows. What is found has a code; CODES says of each what happens
to the rows that it concerns, and why that matters: rows with a flaw of their reading are left out, others are kept.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from accord.data.audit.budget import Tokens, over_budget, render_all
from accord.data.audit.checks import ALONE, control_tokens
from accord.data.audit.evaluation import EvaluationTexts
from accord.data.audit.lengths import Lengths, lengths
from accord.data.audit.lexicon import Lexicon
from accord.data.audit.overlap import contaminated, shared_prompts
from accord.data.audit.personal import Finder
from accord.data.audit.shares import Audit, audit, shipped_groups
from accord.data.formats.reading import Flaw, Reading

LEFT_OUT, KEPT, NO_PAIR = "left out", "kept", "no pair"


@dataclass(frozen=True, slots=True)
class Code:
    """effect: what happens to a row of which this is said. why: what it would do to a training run."""

    effect: str
    why: str


CODES: Mapping[str, Code] = {
    "unparsable": Code(LEFT_OUT, "the row cannot be read"),
    "missing": Code(LEFT_OUT, "a column that is needed is not there"),
    "wrong-type": Code(LEFT_OUT, "a value is of another type, such as true for a text"),
    "unusable": Code(LEFT_OUT, "the row cannot be used"),
    "empty": Code(LEFT_OUT, "a text that says nothing"),
    "bad-character": Code(LEFT_OUT, "no tokenizer takes such a text"),
    "unknown-role": Code(LEFT_OUT, "a turn is nobody's: system, user and assistant speak"),
    "mixed-kinds": Code(LEFT_OUT, "the row is of another kind than the others"),
    "repeated-id": Code(LEFT_OUT, "an id names one row"),
    "not-a-dialogue": Code(LEFT_OUT, "no turns can be told apart"),
    "unclear-turns": Code(LEFT_OUT, "where a turn ends, and whose it is, is unclear"),
    "no-shared-prefix": Code(LEFT_OUT, "the two sides answer different conversations"),
    "no-answer": Code(LEFT_OUT, "there is no response to learn from"),
    "two-answers": Code(LEFT_OUT, "which of two turns is the response is unclear"),
    "unanswered": Code(LEFT_OUT, "no annotator has answered"),
    "unclear-answer": Code(LEFT_OUT, "what the annotator said is no order, rating or text"),
    "divided": Code(LEFT_OUT, "as many annotators say one thing as the opposite"),
    "ambiguous": Code(LEFT_OUT, "several questions would do: name one"),
    "contradiction": Code(LEFT_OUT, "its own columns say opposite things"),
    "single-response": Code(LEFT_OUT, "one response compares with nothing"),
    "empty-response": Code(LEFT_OUT, "a model would learn to say nothing"),
    "empty-turn": Code(LEFT_OUT, "somebody says nothing in a conversation"),
    "equal-responses": Code(LEFT_OUT, "equal responses have no order"),
    "unread": Code(LEFT_OUT, "what this evaluation row holds was not looked for"),
    "tie": Code(NO_PAIR, "no order: no pair to train on, none for an accuracy"),
    "unjudged": Code(NO_PAIR, "nobody has said which response is better"),
    "intransitive": Code(KEPT, "no order of the responses agrees with all that was said"),
    "two-turns-in-a-row": Code(KEPT, "one speaks twice; some chat templates refuse that"),
    "repeated-response": Code(KEPT, "the same text is compared with itself"),
    "stray-role-marker": Code(KEPT, "a model learns to write the other's turn"),
    "control-token": Code(KEPT, "a turn would end, or begin, in the middle of the text"),
    "value-as-text": Code(KEPT, "a model learns to answer with a value of a program"),
    "repeated": Code(KEPT, "it counts twice, and may stand on both sides of a split"),
    "contradictory": Code(KEPT, "a pair that is ordered both ways teaches nothing"),
    "refused-by-template": Code(KEPT, "the model's chat template does not take it"),
    "over-long": Code(KEPT, "training leaves it out, or cuts it"),
    "no-response-left": Code(KEPT, "if it is cut, nothing of the response remains"),
    "equal-after-truncation": Code(KEPT, "if they are cut, the two are the same: no order"),
    "shared-prompt": Code(KEPT, "what is trained on here is tested on there"),
    "in-evaluation": Code(KEPT, "a model that has seen it is not tested by it"),
}
HARMLESS = ("tie",)  # a fact, and not a defect


@dataclass(frozen=True, slots=True)
class CheckedSet:
    """One data set (or a part of one). findings: in the order of its rows. lengths: of each part of its records."""

    name: str
    reading: Reading
    findings: list[Flaw]
    lengths: list[Lengths]


@dataclass(frozen=True, slots=True)
class DataCheck:
    """What was found. model: whose tokens were counted, "" for words. max_tokens: what a record may take, if given.
    unread: rows of the evaluation texts that could not be read."""

    sets: list[CheckedSet]
    audit: Audit
    model: str = ""
    max_tokens: int | None = None
    unread: list[Flaw] = field(default_factory=list)

    @property
    def findings(self) -> list[Flaw]:
        """Those of all sets, and the rows to test on that could not be read."""
        return [*(flaw for checked in self.sets for flaw in checked.findings), *self.unread]

    def by_code(self) -> dict[str, list[Flaw]]:
        """The findings by code, the rows that are left out first, then the most frequent."""
        found: dict[str, list[Flaw]] = {}
        for flaw in self.findings:
            found.setdefault(flaw.code, []).append(flaw)
        return dict(sorted(found.items(), key=lambda item: (code_of(item[0]).effect != LEFT_OUT, -len(item[1]))))

    @property
    def num_defects(self) -> int:
        """Findings that somebody should look at; a tie is none."""
        return sum(flaw.code not in HARMLESS for flaw in self.findings)


@dataclass(frozen=True, slots=True)
class Model:
    """Whose tokens are counted. special: the texts that its tokenizer reads as control tokens."""

    name: str
    tokens: Tokens
    special: Collection[str] = ()


def check_data(
    readings: Mapping[str, Reading],
    *,
    model: Model | None = None,
    max_tokens: int | None = None,
    evaluation: EvaluationTexts | None = None,
    find: Finder,
    toxic: Lexicon,
) -> DataCheck:
    """Runs every check on every data set, and the audit over all of them.

    readings: by the name of each data set. evaluation: what will be tested on. find, toxic: what the
    audit takes for personal data, and for toxic. Without a model there are no checks of lengths.
    """
    assert model or max_tokens is None, "tokens are counted by a model"
    shared = list(shared_prompts(readings)) if len(readings) > 1 else []
    sets = []
    for name, reading in readings.items():
        found = [*reading.flaws, *reading.notes]
        for check in ALONE:
            found += check(reading)
        found += control_tokens(reading, model.special if model else ())
        rendered = None
        if model:
            rendered, refused = render_all(model.tokens, reading)
            found += [*refused, *over_budget(reading, rendered, max_tokens)]
        if evaluation:
            found += contaminated(reading, evaluation.texts)
        found += [flaw for owner, flaw in shared if owner == name]
        sets.append(CheckedSet(name, reading, sorted(found, key=_in_order), lengths(reading, rendered)))
    audited = audit(readings.values(), find, toxic, shipped_groups())
    return DataCheck(sets, audited, model.name if model else "", max_tokens, evaluation.unread if evaluation else [])


def code_of(code: str) -> Code:
    """What a code means; one that is not listed is that of a row that was left out."""
    return CODES.get(code, Code(LEFT_OUT, "the row cannot be used"))


def _in_order(flaw: Flaw) -> tuple[str, int]:
    file, number = _NUMBERED.fullmatch(flaw.place).groups()  # type: ignore[union-attr]
    return file, int(number or 0)


_NUMBERED = re.compile(r"(.*?)(\d*)\]?", re.DOTALL)
