from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accord.errors import UserError
from accord.monitor.data_report import preview_page
from accord.monitor.preview import preview, preview_lines, previews, visible
from accord.types import Demonstration, LabelledResponse, Message, PlainText, Prompt, RatedText, Response
from tests.fixtures.readings import asked, compared, reading
from tests.fixtures.report_page import PAYLOAD, Page


@pytest.fixture(scope="session")
def template(tiny_model: Path) -> Any:
    from accord.models.catalog import load_template

    return load_template(str(tiny_model))


def lines(template: Any, kind: Any, record: Any, *, colour: bool = False) -> list[str]:
    return list(preview_lines(preview(template, reading(kind, record), 0), colour=colour))


def test_a_comparison_is_a_tree_with_its_order(template: Any) -> None:
    record = compared("Hi there", "A film.", "No", "Dull", grades=(2, None, 1))
    assert lines(template, "comparisons", record)[:6] == [
        "f:1: comparison; pairs: responses[0] > responses[2]",
        f"┌ prompt, {len(template.prompt_ids(record[0].prompt))} tokens, given",
        "│ <|im_start|>user↵",
        "│ Hi·there<|im_end|>↵",
        "│ <|im_start|>assistant↵",
        "│ ",
    ]
    rest = lines(template, "comparisons", record)[6:]
    assert [line for line in rest if line[0] in "├└"] == [
        f"├ responses[0], grade 2, {len(template.response_ids(Response('A film.')))} tokens",
        f"├ responses[1], not graded, {len(template.response_ids(Response('No')))} tokens",
        f"└ responses[2], grade 1, {len(template.response_ids(Response('Dull')))} tokens",
    ]
    assert rest[1] == "│ [[A·film.<|im_end|>]]"
    assert rest[-1] == "  [[Dull<|im_end|>]]"
    assert "no ordered pair" in lines(template, "comparisons", compared("q", "a", "b", grades=(1, 1)))[0]


def test_a_conversation_shows_each_turn_that_is_trained_on(template: Any) -> None:
    turns = (Message("user", "one"), Message("assistant", "two"), Message("user", "three"))
    record = Demonstration(Prompt("p", turns), Response("four"), imitate_from=0)
    text = "\n".join(lines(template, "demonstrations", record))
    assert "[[two<|im_end|>]]" in text
    assert "[[four<|im_end|>]]" in text
    assert "three<|im_end|>" in text.replace("[[", "").replace("]]", "")
    assert "[[three" not in text
    last_only = "\n".join(lines(template, "demonstrations", Demonstration(Prompt("p", turns), Response("four"))))
    assert last_only.count("[[") == 1


def test_masks_are_those_of_training(template: Any) -> None:
    turns = (Message("user", "one"), Message("assistant", "two"), Message("user", "three"))
    record = Demonstration(Prompt("p", turns), Response("four"), imitate_from=0)
    one = preview(template, reading("demonstrations", record), 0)
    tree = template.demonstration(record)
    shown = [(i, piece.trained) for piece in one.branches[0].pieces for i in piece.ids]
    assert shown == list(zip(tree.branches[0].ids, tree.branches[0].scored, strict=True))


def test_the_other_kinds(template: Any) -> None:
    good = LabelledResponse(asked("q"), Response("a"), True)
    assert any("response, called good" in line for line in lines(template, "labelled", good))
    bad = lines(template, "labelled", LabelledResponse(asked("q"), Response("a"), False))
    assert any("response, called bad" in line and line.endswith(" 0 trained on") for line in bad)
    assert not any("[[" in line for line in bad)
    opened = Prompt("p", (Message("user", "q"),), "The acting")
    assert lines(template, "prompts", opened)[-1] == "  The·acting"
    assert "[[A·text.<|im_end|>]]" in "\n".join(lines(template, "texts", PlainText("t", "A text.")))
    with pytest.raises(UserError, match="texts with ratings are measured, and not trained on"):
        lines(template, "ratings", RatedText("r", "a", (1.0,)))
    with pytest.raises(UserError, match="no row can be used"):
        previews(template, reading("texts"), 3)


def test_colours_end_with_their_line_and_only_ours_reach_the_terminal(template: Any) -> None:
    record = compared("q", "a\nb \x1b[2J", "c")
    shown = lines(template, "comparisons", record, colour=True)
    assert "│ \x1b[30;42ma↵\x1b[0m" in shown
    plain = "".join(lines(template, "comparisons", record))
    assert "\x1b" not in plain
    assert all(line.count("\x1b[0m") * 2 == line.count("\x1b") for line in shown)
    assert visible("a\tb\u00a0\r\x9b") == "a→b⍽␍\ufffd"


def test_the_page_escapes_tokens_and_gives_their_ids(template: Any) -> None:
    page = Page(preview_page(previews(template, reading("comparisons", compared(PAYLOAD, "a", "b")), 3), PAYLOAD, "m"))
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "<script>alert(1)</script>" in page.text
    end = template.end_id
    assert ("title", str(end)) in page.attributes
    assert ("class", "piece trained special") in page.attributes
