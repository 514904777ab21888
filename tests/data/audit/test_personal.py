from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import machinery, metadata
from typing import Any

import pytest

from accord.data.audit.personal import Span, find_personal, presidio_finder, scrub, scrub_values
from accord.errors import UserError

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("jo.w+x@mail.example.org", "EMAIL"),
        ("müller@web.de", "EMAIL"),
        ("+44 20 7946 0958", "PHONE"),
        ("+1 (202) 456-1111", "PHONE"),
        ("(215) 204-3120", "PHONE"),
        ("650-636-4884", "PHONE"),
        ("650.636.4884", "PHONE"),
        ("DE89 3704 0044 0532 0130 00", "IBAN"),
        ("GB82WEST12345698765432", "IBAN"),
        ("4111 1111 1111 1111", "CREDIT_CARD"),
        ("378282246310005", "CREDIT_CARD"),
        ("123-45-6789", "US_SSN"),
        ("203.0.113.77", "IP"),
        ("2001:db8:0:0:1:0:0:1", "IP"),
        ("12 Old Oak Street", "STREET_ADDRESS"),
        ("600 S Rowan Ave", "STREET_ADDRESS"),
        ("postgres://ann:s3cret@db.host:5432/x", "CREDENTIALS"),
        ("sk-abcdefghijklmnopqrstuv", "SECRET"),
        ("AKIAIOSFODNN7EXAMPLE", "SECRET"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "SECRET"),
        (KEY, "SECRET"),
        # Not one of these holds a digit.
        ("glpat-ABCDEFGHIJKLMNOPQRSTU", "SECRET"),
        ("AKIAABCDEFGHIJKLMNOP", "SECRET"),
        ("xoxb-abcdefghijkl", "SECRET"),
        ("AIza" + "a" * 35, "SECRET"),
        ("hf_" + "a" * 30, "SECRET"),
        ("eyJabcdefghij.eyJabcdefghij.abcdefghij", "SECRET"),
        ("fe:ab:cd:ef:ab:cd:ef:ab", "IP"),
    ],
)
def test_personal_data_is_found_whole_inside_a_sentence(text: str, label: str) -> None:
    assert find_personal(f"It is {text}, I think.") == [Span(6, 6 + len(text), label)]


@pytest.mark.parametrize(
    "text",
    [
        "mail me @home",
        "a@b",
        "100 200 3000",
        "555-0123",
        "call 911",
        "DE89 3704 0044 0532 0130 01",  # its checksum is wrong
        "4111 1111 1111 1112",  # Luhn
        "1234 5678 9012 3452",  # no card begins with 1
        "000-12-3456",
        "666-12-3456",
        "123-45-67890",
        "127.0.0.1",
        "1.2.3.4",  # a section
        "version 12.1.3.4",
        "300.1.1.1",
        "std::vector",
        "12:30:45",
        "in 1984 Winston Drives",
        "https://host.org/a:b",
        "sk-short",
        "9780306406157",
        "2024-01-31",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert find_personal(f"It is {text} here.") == []


def test_a_number_is_a_telephones_when_the_text_says_so() -> None:
    text = "Her mobile number is 0171 5550123."
    assert find_personal(text) == [Span(21, 33, "PHONE")]
    assert scrub(text) == "Her mobile number is <PHONE>."


def test_an_iban_before_capitals_ends_where_its_checksum_says() -> None:
    assert scrub("DE89 3704 0044 0532 0130 00 AND MORE") == "<IBAN> AND MORE"


def test_findings_do_not_overlap_and_scrubbing_twice_changes_nothing() -> None:
    text = "ftp://jo:pw@mail.org a@b.org, b@c.org 4111-1111-1111-1111"
    once = scrub(text)
    assert once == "<CREDENTIALS> <EMAIL>, <EMAIL> <CREDIT_CARD>"
    assert scrub(once) == once


def test_hostile_text_takes_no_longer_than_other_text() -> None:
    """With unbounded repetitions each of these would take hours."""
    for unit in ("a.", "1 ", "a@", "+1 ", "1.", "a:", "://", "Aa ", "1 Aa ", "sk-", "phone ", "(", "-", "A"):
        find_personal(unit * 50_000)


def test_every_text_of_a_value_is_scrubbed_but_ids_and_names_of_columns() -> None:
    row = {"id": "a@b.org", "a@b.org": 1, "turns": [{"content": "a@b.org"}], "n": 2.5, "none": None}
    assert scrub_values(row) == {
        "id": "a@b.org",
        "a@b.org": 1,
        "turns": [{"content": "<EMAIL>"}],
        "n": 2.5,
        "none": None,
    }


@dataclass
class Found:
    entity_type: str
    start: int
    end: int
    score: float


def _install(monkeypatch: pytest.MonkeyPatch, found: Sequence[Found]) -> list[dict[str, Any]]:
    """A presidio of our own, and a language model. Gives the calls of analyze."""
    calls: list[dict[str, Any]] = []

    class Engine:
        def __init__(self, nlp_engine: object) -> None:
            assert nlp_engine == "engine of en_core_web_sm"

        def analyze(self, **options: Any) -> Sequence[Found]:
            calls.append(options)
            return found

    class Provider:
        def __init__(self, nlp_configuration: dict[str, Any]) -> None:
            self.name = nlp_configuration["models"][0]["model_name"]

        def create_engine(self) -> str:
            return f"engine of {self.name}"

    package, nlp = types.ModuleType("presidio_analyzer"), types.ModuleType("presidio_analyzer.nlp_engine")
    package.__spec__ = machinery.ModuleSpec("presidio_analyzer", None)
    package.AnalyzerEngine = Engine  # type: ignore[attr-defined]
    nlp.NlpEngineProvider = Provider  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "presidio_analyzer", package)
    monkeypatch.setitem(sys.modules, "presidio_analyzer.nlp_engine", nlp)
    monkeypatch.setattr(metadata, "version", lambda name: "3.8.0")
    return calls


def test_presidio_finds_names_and_the_surest_of_two_findings_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Found("URL", 13, 21, 0.5), Found("EMAIL_ADDRESS", 8, 21, 1.0), Found("PERSON", 0, 3, 0.85)]
    calls = _install(monkeypatch, found)
    find = presidio_finder()
    assert scrub("Ann has ann@mail.org.", find) == "<PERSON> has <EMAIL>"
    assert calls[0]["language"] == "en"


def test_without_presidio_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="presidio is not installed\n  Run: pip install 'accord\\[pii\\]'"):
        presidio_finder()


def test_without_its_language_model_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, [])

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(UserError, match="language model 'en_core_web_sm' is not installed\n  Run: python -m spacy"):
        presidio_finder()
