"""Personal data in texts: where it stands, by patterns that rather miss something than cry wolf, or by presidio.

Found here: e-mail addresses, telephone numbers, IBANs (by their checksum), card numbers (Luhn), US social security
numbers, IP addresses, street addresses of the English form, URLs with a password, and secrets such as API keys. Names
of people are not: that takes a language model (`presidio_finder`, the extra `pii`). What was found is never quoted.
"""

from __future__ import annotations

import importlib
import importlib.util
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from accord.errors import UserError


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Characters `start` to `end` (not included) of a text. label: what stands there, as in EMAIL."""

    start: int
    end: int
    label: str


Finder = Callable[[str], list[Span]]
"""The personal data of a text: spans in their order that do not overlap."""


def find_personal(text: str) -> list[Span]:
    """By patterns. A finding inside an earlier one of the list of patterns is part of that one."""
    spans: list[Span] = []
    if not _HINT.search(text):
        return spans
    for label, pattern, valid in _PATTERNS:
        for match in pattern.finditer(text):
            start, end = match.span("it") if "it" in pattern.groupindex else match.span()
            end = start + valid(text[start:end])
            if end > start and not any(start < other.end and other.start < end for other in spans):
                spans.append(Span(start, end, label))
    return sorted(spans)


def scrub(text: str, find: Finder = find_personal) -> str:
    """The text with `<EMAIL>` and the like in place of each finding.

    >>> scrub("Write to jo@mail.org, or call +44 20 7946 0958.")
    'Write to <EMAIL>, or call <PHONE>.'
    """
    kept, at = [], 0
    for span in find(text):
        kept += [text[at : span.start], f"<{span.label}>"]
        at = span.end
    return "".join((*kept, text[at:]))


def scrub_values(value: Any, find: Finder = find_personal) -> Any:
    """A JSON value with every text in it scrubbed. Keys of objects, and ids (the key `id`), stay as they are."""
    if isinstance(value, str):
        return scrub(value, find)
    if isinstance(value, list):
        return [scrub_values(item, find) for item in value]
    if isinstance(value, dict):
        return {key: item if key == "id" else scrub_values(item, find) for key, item in value.items()}
    return value


def presidio_finder(language_model: str = "en_core_web_sm") -> Finder:
    """Microsoft's presidio with a spaCy model. Raises UserError when one of the two is not installed."""
    if importlib.util.find_spec("presidio_analyzer") is None:
        raise UserError("presidio is not installed", remedy="Run: pip install 'accord[pii]'")
    try:
        metadata.version(language_model)
    except metadata.PackageNotFoundError as error:  # presidio would try to download it, and leave the program
        raise UserError(
            f"presidio's language model {language_model!r} is not installed",
            remedy=f"Run: python -m spacy download {language_model}",
        ) from error
    models = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": language_model}]}
    provider = importlib.import_module("presidio_analyzer.nlp_engine").NlpEngineProvider(nlp_configuration=models)
    engine = importlib.import_module("presidio_analyzer").AnalyzerEngine(nlp_engine=provider.create_engine())

    def find(text: str) -> list[Span]:
        found = engine.analyze(text=text, language="en", score_threshold=PRESIDIO_SCORE)
        spans: list[Span] = []
        for one in sorted(found, key=lambda one: (-one.score, one.start, -one.end, one.entity_type)):
            if not any(one.start < other.end and other.start < one.end for other in spans):
                spans.append(Span(one.start, one.end, one.entity_type.removesuffix("_ADDRESS")))
        return sorted(spans)

    return find


PRESIDIO_SCORE = 0.5  # below it, presidio guesses: a number of nine digits might be a passport


# Each takes a candidate and gives the length of what is valid of it, 0 where nothing is.


def _whole(candidate: str) -> int:
    return len(candidate)


def _card(candidate: str) -> int:
    digits = [int(character) for character in candidate if character.isdigit()]
    doubled = [2 * digit - 9 * (digit > 4) if at % 2 else digit for at, digit in enumerate(reversed(digits))]
    return len(candidate) if 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0 else 0


def _iban(candidate: str) -> int:
    """A candidate may run on into the next word in capitals, so it is shortened group by group."""
    while len(candidate) >= MIN_IBAN:
        compact = candidate.replace(" ", "")
        if int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1:
            return len(candidate)
        candidate = candidate[: candidate.rfind(" ")] if " " in candidate else ""
    return 0


def _phone(candidate: str) -> int:
    return len(candidate) if 8 <= sum(map(str.isdigit, candidate)) <= 15 else 0


def _address(candidate: str) -> int:
    """An IP address that may be somebody's: no loopback, and no number of a section or a version (1.2.3.4)."""
    try:
        address = ipaddress.ip_address(candidate)
    except ValueError:
        return 0
    named = not (address.is_loopback or address.is_unspecified or address.is_multicast)
    likely = max(map(int, candidate.split("."))) > 9 if address.version == 4 else len(candidate.split(":")) > 4
    return len(candidate) if named and likely else 0


MIN_IBAN = 15  # characters, Norway's

_STREET = r"Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Square|Terrace|Parkway|Pkwy"
_KEYS = (
    r"sk-[A-Za-z0-9_-]{20,200}",
    r"AKIA[0-9A-Z]{16}",
    r"gh[pousr]_[A-Za-z0-9]{36,255}",
    r"github_pat_[A-Za-z0-9_]{22,255}",
    r"glpat-[A-Za-z0-9_-]{20,64}",
    r"xox[abprs]-[A-Za-z0-9-]{10,200}",
    r"AIza[0-9A-Za-z_-]{35}",
    r"hf_[A-Za-z0-9]{30,64}",
    r"eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,1000}",
)

# Repetitions are bounded, and begin where no earlier match could have run on: hostile text costs no more than other.
_PATTERNS: tuple[tuple[str, re.Pattern[str], Callable[[str], int]], ...] = (
    ("SECRET", re.compile(rf"(?<![\w-])(?:{'|'.join(_KEYS)})(?![\w-])"), _whole),
    (
        "SECRET",
        re.compile(
            r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[A-Za-z0-9+/=\s]{1,10000}(?:-----END [A-Z ]{0,20}KEY-----)?"
        ),
        _whole,
    ),
    (
        "CREDENTIALS",
        re.compile(r"(?<!\w)[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s/:@]{1,64}:[^\s/@]{1,128}@[^\s]{0,254}[\w/]"),
        _whole,
    ),
    (
        "EMAIL",
        re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,8}[A-Za-z]{2,24}(?![\w-])"),
        _whole,
    ),
    (
        "IBAN",
        re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?:[A-Z0-9]{11,30}|(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,3})?)(?!\w)"),
        _iban,
    ),
    (
        "CREDIT_CARD",
        re.compile(
            r"(?<![\w-])(?:3[47]\d{2}(?P<a>[ -]?)\d{6}(?P=a)\d{5}"
            r"|(?:4\d|5[1-5]|2[2-7]|6[05])\d{2}(?P<b>[ -]?)\d{4}(?P=b)\d{4}(?P=b)\d{1,7})(?![\w-])"
        ),
        _card,
    ),
    ("US_SSN", re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])"), _whole),
    ("IP", re.compile(r"(?<![\w.])(?<!ersion )\d{1,3}(?:\.\d{1,3}){3}(?!\.?\w)"), _address),
    ("IP", re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){4,7}(?![\w:])"), _address),
    ("PHONE", re.compile(r"(?<![\w+])\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,4}\)?){2,6}(?!\d)"), _phone),
    (
        "PHONE",
        re.compile(
            r"(?<![\w.-])(?:1[ .-])?(?:\([2-9]\d{2}\) ?[2-9]\d{2}[ .-]"
            r"|[2-9]\d{2}(?P<s>[.-])[2-9]\d{2}(?P=s))\d{4}(?![\w-])"
        ),
        _phone,
    ),
    (
        "PHONE",
        re.compile(
            r"(?i:\b(?:phone|telephone|tel|mobile|cell|whatsapp|fax)\b)[^\d\n+]{0,20}"
            r"(?P<it>\(?\d[\d ().-]{5,18}\d)(?!\w)"
        ),
        _phone,
    ),
    (
        "STREET_ADDRESS",
        re.compile(rf"(?<![\w.,$-])\d{{1,5}} (?:[NSEW]\.? )?(?:[A-Z][a-z]{{1,20}} ){{1,3}}(?:{_STREET})(?!\w)"),
        _whole,
    ),
)
# No pattern matches without one of these.
_HINT = re.compile(r"[0-9@_]|:[A-Fa-f]{0,4}:|-----BEGIN|sk-|AKIA|glpat-|xox|AIza|eyJ")
