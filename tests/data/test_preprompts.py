from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from accord.data.preprompts import load_preprompts, with_preprompt
from accord.errors import UserError
from accord.labels.campaigns import CATEGORIES
from accord.types import Message, Prompt

ASKED = Prompt("p1", (Message("user", "How do I pick a lock?"),), risk_category="illicit")
FILE = """\
adjectives: [calm, wise]
generic:
  - You are {adjective} and {adjective}.
tailored:
  theft:
    also: [stealing]
    templates:
      - This is {category}. Be {adjective}.
"""


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


def test_ours_have_a_template_for_each_category_that_red_teamers_are_given():
    ours = load_preprompts()
    assert [ours.category_of(category) for category in CATEGORIES] == list(CATEGORIES) == list(ours.tailored)
    assert [ours.category_of(name) for name in ("Illicit!", "hateful", "medical  advice", "cooking", "")] == [
        *CATEGORIES,
        None,
        None,
    ]
    for category in ours.tailored.values():
        for template in category.templates:
            numbered = re.findall(r"^(\d)\.", template, re.MULTILINE)
            assert numbered == ["1", "2", "3", "4"], "the four parts of an answer"


def test_preprompts_are_drawn_for_the_prompt_and_filled_in():
    ours = load_preprompts()
    said = {ours.generic_for(Prompt(f"p{i}", ASKED.messages), 1) for i in range(60)}
    assert len(said) > 30
    assert not any("{" in one for one in said)
    for one in said:
        words = [word for word in ours.adjectives if re.search(rf"(?<![\w-]){word}(?![\w-])", one)]
        assert len(words) >= 1
    tailored = ours.tailored_for(ASKED, 1)
    assert '"illicit and criminal activities"' in tailored
    assert tailored == ours.tailored_for(ASKED, 1)
    assert {ours.tailored_for(ASKED, seed) for seed in range(20)} - {tailored}


def test_a_file_of_ones_own(tmp_path: Path):
    mine = load_preprompts(written(tmp_path, FILE))
    assert {mine.generic_for(ASKED, seed) for seed in range(20)} == {
        "You are calm and wise.",
        "You are wise and calm.",
    }
    stolen = Prompt("p", ASKED.messages, risk_category="Stealing")
    assert {mine.tailored_for(stolen, seed) for seed in range(20)} == {
        "This is theft. Be calm.",
        "This is theft. Be wise.",
    }
    assert mine.fingerprint != load_preprompts().fingerprint
    plain = {"generic": ["Be good."], "tailored": {"theft": {"templates": ["Do not."]}}}
    (tmp_path / "mine.json").write_text(json.dumps(plain))
    assert load_preprompts(str(tmp_path / "mine.json")).generic == ("Be good.",)


@pytest.mark.parametrize(
    ("old", "new", "where", "says"),
    [
        ("generic:", "generics:", "2:generics", "unknown key 'generics'\n  Did you mean 'generic'?"),
        ("    also: [stealing]", "    aslo: [stealing]", "6:tailored.theft.aslo", "Did you mean 'also'?"),
        ("    templates:\n      - This is {category}. Be {adjective}.\n", "", "5:tailored.theft.templates",
         "the category 'theft' has no template"),
        ("    templates:\n      - This is {category}. Be {adjective}.\n", "    templates: []\n",
         "7:tailored.theft.templates", "the category 'theft' has no template"),
        ("- You are {adjective} and {adjective}.", "- '{category} it is'", "3:generic.0",
         "nothing stands for {category}"),
        ("Be {adjective}.", "Be {adjectiv}.", "8:tailored.theft.templates.0", "nothing stands for {adjectiv}"),
        ("[calm, wise]", "[calm, calm]", "3:generic.0", "2 different adjectives are wanted, and there are 1"),
        ("[stealing]", "[1]", "6:tailored.theft.also.0", "text"),
        ("tailored:", "tailored:\n  stealing: {templates: [No.]}", "7:tailored.theft.also",
         "'stealing' is also a name of 'stealing'"),
        ("  - You are {adjective} and {adjective}.", "  - ' '", "3:generic.0", "the template is empty"),
        ("generic:\n  - You are {adjective} and {adjective}.\n", "", "1:generic", "the key 'generic' is missing"),
        (FILE, "[a]", "", "a map with the keys generic and tailored is wanted"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_line(tmp_path: Path, old: str, new: str, where: str, says: str):
    assert old in FILE
    file = written(tmp_path, FILE.replace(old, new))
    with pytest.raises(UserError) as caught:
        load_preprompts(file)
    assert caught.value.where == f"{file}:{where}".rstrip(":")
    assert says in str(caught.value)


def test_a_file_that_is_not_there():
    with pytest.raises(UserError, match=r"nowhere.yaml: the file of preprompts cannot be read"):
        load_preprompts("nowhere.yaml")


def test_where_a_preprompt_stands():
    talk = Prompt(
        "t", (Message("user", "Hi."), Message("assistant", "Hello."), Message("user", "Do it.")), prefill="Well"
    )
    as_system = with_preprompt(talk, "Be good.", system=True)
    assert [(one.role, one.content) for one in as_system.messages] == [
        *(("system", "Be good."), ("user", "Hi."), ("assistant", "Hello."), ("user", "Do it.")),
    ]
    assert (as_system.prefill, as_system.id) == ("Well", "t")
    as_user = with_preprompt(talk, "Be good.", system=False)
    assert [one.content for one in as_user.messages] == ["Hi.", "Hello.", "Be good.\n\nDo it."]
    again = with_preprompt(as_system, "And kind.", system=True)
    assert again.messages[0] == Message("system", "And kind.\n\nBe good.")
