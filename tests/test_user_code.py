from __future__ import annotations

from pathlib import Path

import pytest

from accord.errors import UserError
from accord.user_code import Source, plain_list, with_fingerprint


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str, name: str = "mine.py") -> Source:
    Path(name).write_text(text)
    return Source.read(name)


def error(text: str, function: str = "f", **arguments: object) -> UserError:
    source = write(text)
    try:
        source.check(function)
        source.load(function)(**arguments)
    except UserError as caught:
        return caught
    pytest.fail("nothing went wrong")


def test_a_function_is_called_with_what_it_takes():
    source = write("def f(a, *, b=2):\n    return a + b\ndef g(**kwargs):\n    return sorted(kwargs)\n")
    assert source.load("f")(a=1, b=3, c=4) == 4
    assert source.load("f")(a=1, c=4) == 3
    assert source.load("g")(a=1, c=4) == ["a", "c"]
    assert source.load("f").names("b")
    assert not source.load("g").names("b")


def test_classes_with_postponed_annotations_and_helpers_of_the_file_work():
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass Box:\n    n: int\n"
        "def f(n):\n    return double(Box(n).n)\ndef double(n):\n    return 2 * n\n"
    )
    assert write(text).load("f")(n=4) == 8


def test_checking_does_not_run_the_file():
    write("raise SystemExit('run')\ndef f(): pass\n").check("f")


@pytest.mark.parametrize(
    "text",
    [
        "from math import fsum as f",
        "import json as f",
        "f = lambda: 1",
        "class f: pass",
        "try:\n    import nothing\nexcept ImportError:\n    f = len",
        "from math import *",
        "if True:\n    def f(): pass",
        "match 1:\n    case 1:\n        def f(): pass",
        "match 1:\n    case f: pass",
        "match [1]:\n    case [*f]: pass",
        "match {}:\n    case {**f}: pass",
        "try:\n    pass\nexcept* ValueError:\n    f = len",
        "try:\n    pass\nfinally:\n    f = len",
        "(f := len)",
        "for f in [len]: pass",
        "with open('x') as f: pass",
        "async def f(): pass",
    ],
)
def test_what_a_file_may_define_a_name_by(text: str):
    write(text).check("f")


@pytest.mark.parametrize("text", ["def g():\n    f = 1", "class g:\n    def f(self): pass", "print(f)", "f.x = 1"])
def test_what_defines_no_name_of_the_module(text: str):
    with pytest.raises(UserError, match="the file has no function 'f'"):
        write(text).check("f")


def test_a_mistyped_name_is_found_without_running_the_file():
    caught = error("print('run')\ndef brevity(): pass\n", "brevty")
    assert str(caught) == "mine.py: the file has no function 'brevty'\n  Did you mean 'brevity'?"
    assert "Write `def f(...)` into it." in str(error(""))


def test_a_name_that_is_no_function():
    assert "the file has no function 'f'" in str(error("f = 3\n"))


def test_a_file_that_is_not_there():
    with pytest.raises(UserError, match=r"^none\.py: the file of the function cannot be read: No such file"):
        Source.read("none.py")


@pytest.mark.parametrize(
    ("text", "place"), [("x = 1\ndef f(:\n", "mine.py:2: this is not Python: "), ("\0", "mine.py"), ("(" * 9999, "")]
)
def test_what_is_not_python(text: str, place: str):
    assert str(error(text)).startswith(place)
    assert "this is not Python" in str(error(text))


def test_an_exception_is_at_the_users_line():
    caught = error("def f(n):\n    return g(n)\n\ndef g(n):\n    return 1 / n\n", n=0)
    assert str(caught).startswith("mine.py:5: the function 'f' failed: ZeroDivisionError: division by zero\n")
    caught = error("import sys\nsys.exit(3)\ndef f(): pass\n")
    assert str(caught).startswith("mine.py:2: the function 'f' failed: SystemExit: 3")


def test_what_is_yielded_is_a_list_and_fails_at_the_users_line():
    assert write("def f(n):\n    yield n\n    yield 2 * n\n").load("f")(n=2) == [2, 4]
    caught = error("def f(n):\n    yield 1\n    yield 1 / n\n", n=0)
    assert str(caught).startswith("mine.py:3: the function 'f' failed: ZeroDivisionError: division by zero\n")


def test_an_import_that_fails_says_what_a_file_may_import():
    caught = error("import no_such_package\ndef f(): pass\n")
    assert caught.where == "mine.py:1"
    assert "has to be installed" in caught.remedy


def test_an_argument_that_is_wanted_and_not_given():
    assert "wants 'answers', which it is not given" in str(error("def f(answers): pass\n"))


def test_what_was_returned_is_wrong_where_the_function_stands():
    caught = write("\n\ndef f(): pass\n").load("f").wrong("returned nothing")
    assert str(caught).startswith("mine.py:3: the function 'f' returned nothing")


def test_a_file_that_changed_since_it_was_planned():
    values = {"file": "mine.py", "function": "f"}
    write("def f(): pass\n")
    planned = with_fingerprint(values)["fingerprint"]
    assert Source.read("mine.py", planned).digest == planned
    write("def f(): return 1\n")
    with pytest.raises(UserError, match="changed after the plan had been made"):
        Source.read("mine.py", planned)
    assert with_fingerprint(values)["fingerprint"] != planned
    assert with_fingerprint({"file": 3, "function": "f"}) == {"file": 3, "function": "f"}


def test_tensors_and_arrays_are_lists():
    torch = pytest.importorskip("torch")
    assert plain_list(torch.tensor([1.0, 2.0])) == [1.0, 2.0]
    assert plain_list([1]) == [1]


@pytest.mark.parametrize(
    "text",
    [
        "def f(a, b=1, *more, c=2, **rest): pass",
        "import functools\n@functools.cache\ndef f(other): pass",
        "def f(other): pass\ndef f(a): pass",
        "f = lambda other: 1",
        "from math import fsum as f",
        "class f:\n    def __init__(self, other): pass",
    ],
)
def test_a_signature_that_fits_or_cannot_be_told_is_left(text: str):
    write(text).check("f", ["a"])


def test_a_call_that_lacks_something_names_the_line_and_what_there_is():
    text = "def made(other):\n    return lambda other, a: 1\nf = made(1)\n"
    caught = error(text, a=1, b=2)
    assert str(caught) == (
        "mine.py:2: the function 'f' wants 'other', which it is not given\n"
        "  It is called with those of these keywords that it takes: a, b."
    )
