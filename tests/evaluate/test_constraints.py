from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accord.errors import UserError
from accord.evaluate.constraints import Check, Constraint, Instruction, instruction_of, read_constraints
from accord.evaluate.languages import LANGUAGES, language_of

SAID = {
    "Dutch": "Ik weet niet wat je daarvan vindt, maar het is een mooie dag en dat komt door de zon.",
    "English": "I do not know what you think of it, but it is a fine day and that is because of the sun.",
    "French": "Je ne sais pas ce que vous en pensez, mais c'est une belle journée et le soleil y est pour beaucoup.",
    "German": "Ich weiß nicht, was du davon hältst, aber es ist ein schöner Tag, und das kommt von der Sonne.",
    "Italian": "Non so che cosa ne pensi, ma è una bella giornata e questo è merito del sole.",
    "Portuguese": "Não sei o que você acha, mas é um dia bonito e isso é por causa do sol.",
    "Spanish": "No sé qué piensa usted, pero es un día bonito y eso es por el sol.",
}


@pytest.mark.parametrize(
    ("check", "yes", "no"),
    [
        ({"includes": "tennis"}, ["I play TENNIS.", "Tennis, anyone?"], ["Tennisball.", "Golf."]),
        ({"includes": ["tea", "iced coffee"]}, ["Iced coffee!"], ["Coffee, iced."]),
        ({"excludes": "the"}, ["Then go."], ["Go to The shop."]),
        ({"starts_with": "Well now"}, ["well now, so be it", '"Well now."', "**Well now** yes"], ["Now well."]),
        ({"ends_with": "Take care."}, ["Bye. Take care!", 'Bye. "take care"\n'], ["Take care of it."]),
        ({"ends_with": "?"}, ["Do you?", '"Do you?"'], ["I do.", "Is it? Yes."]),
        ({"case": "lower"}, ["all small, 1."], ["One capital.", "12"]),
        ({"case": "upper"}, ["LOUD ÄÖÜ"], ["LOUd"]),
        ({"language": "French"}, [SAID["French"]], [SAID["Spanish"], "Oui."]),
        ({"min_words": 2, "max_words": 3}, ["one two", "one two three"], ["one", "1 2 3 4"]),
        ({"min_items": 2}, ["- a\n- b", "1. a\n2. b"], ["- a", "a - b"]),
        ({"pattern": "^[^,]*$"}, ["No sign."], ["One, two."]),
        ({"includes": "tea", "case": "lower"}, ["tea it is"], ["Tea it is", "it is"]),
    ],
)
def test_what_a_check_sees(check: dict[str, Any], yes: list[str], no: list[str]) -> None:
    found = Check.model_validate(check)
    assert [found.holds(text) for text in yes] == [True] * len(yes)
    assert [found.holds(text) for text in no] == [False] * len(no)
    assert found.holds(" \n") is False


def test_a_pattern_that_takes_for_ever_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accord.evaluate.constraints.REGEX_SECONDS", 0.01)
    assert Check(pattern=r"^(a|aa|aaa)+$").holds("a" * 200 + "b") is None


def test_languages_are_told_apart() -> None:
    assert {language: language_of(SAID[language]) for language in LANGUAGES} == {one: one for one in LANGUAGES}
    assert language_of("Tennis!") is None


def test_an_instruction_is_kept_where_all_of_it_is() -> None:
    tea, small, judged = (
        Constraint(kind="hobby", text="Mention tea.", check=Check(includes=("tea",))),
        Constraint(kind="style", text="Write small.", check=Check(case="lower")),
        Constraint(kind="mood", text="Be glad."),
    )
    both = Instruction((tea, small))
    assert (both.text, both.kinds) == ("Mention tea. Write small.", ("hobby", "style"))
    assert both.before("Hi?") == "Mention tea. Write small.\n\nHi?"
    assert [both.kept(text) for text in ("a tea", "A tea", "")] == [True, False, False]
    assert [Instruction((tea, judged)).kept(text) for text in ("Tea.", "No.")] == [None, False]


def test_what_is_shipped_has_checks_and_shares_nothing() -> None:
    train, test = read_constraints("builtin:train"), read_constraints("builtin:test")
    assert {one.kind for one in train} == {one.kind for one in test} == {"hobby", "language", "public figure", "style"}
    assert all(one.check is not None for one in (*train, *test))
    assert not {one.check.model_dump_json() for one in train} & {one.check.model_dump_json() for one in test}  # type: ignore[union-attr]
    for one in (*train, *test):
        if one.kind == "language":
            assert one.check is not None
            assert [language for language, text in SAID.items() if one.check.holds(text)] == [one.check.language]


def test_instructions_are_drawn_by_their_seed() -> None:
    constraints = read_constraints("builtin:train")
    drawn = [instruction_of(constraints, (1, 3), seed) for seed in range(400)]
    assert drawn[:50] == [instruction_of(constraints, (1, 3), seed) for seed in range(50)]
    nums = [len(one.constraints) for one in drawn]
    assert min(nums.count(n) for n in (1, 2, 3)) > 90
    assert all(len(set(one.kinds)) == len(one.kinds) for one in drawn)
    assert {one.text for each in drawn for one in each.constraints} == {one.text for one in constraints}


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("kind: style", "c.yaml", "a list of constraints is wanted"),
        ("- {kind: a, text: b}\n- {kind: a}", "c.yaml:2", "text: Field required"),
        ("- {kind: a, text: b,\n   check: {caps: all}}", "c.yaml:2", "check.caps"),
        ("- {kind: a, text: b,\n   check: {pattern: '('}}", "c.yaml:2", "not a regular expression"),
        ("- {kind: a, text: b, check: {}}", "c.yaml:1", "at least one thing"),
        ("- {kind: a, text: b, check: {includes: ' '}}", "c.yaml:1", "an empty word"),
        ("- {kind: a, text: b, check: {language: Klingon}}", "c.yaml:1", "check.language"),
        ("- {kind: a, text: b}\n- {kind: c, text: b}", "c.yaml:2", "on line 1 already"),
        ("- [a", "c.yaml:1", "not valid YAML"),
    ],
)
def test_what_is_wrong_with_a_file(
    text: str, where: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        read_constraints("c.yaml")
    assert caught.value.where == where
    assert says in str(caught.value)


def test_names_and_files_that_are_not_there() -> None:
    with pytest.raises(UserError, match="Did you mean 'builtin:train'"):
        read_constraints("builtin:trian")
    with pytest.raises(UserError, match="the file of constraints cannot be read"):
        read_constraints("nowhere.yaml")
