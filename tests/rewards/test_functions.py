from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from accord.errors import UserError
from accord.models.scalar import Normalisation
from accord.rewards.functions import GROUP_SIZE, FunctionReward
from accord.types import Message, Prompt, Response
from accord.user_code import Source
from tests.fixtures.rewards import function_artifact

PLAIN = Normalisation()
PROMPT = Prompt("a", (Message("system", "Be short."), Message("user", "Hello.")), "Well")


def reward(text: str, normalisation: Normalisation = PLAIN) -> FunctionReward:
    return FunctionReward(Source("mine.py", text.encode()).load("f"), normalisation)


def score(text: str, *responses: Response) -> list[float]:
    return reward(text).score([PROMPT], [responses or (Response(" met."), Response(" then", finished=False))]).tolist()


def test_what_the_function_is_given():
    text = "import json, pathlib\ndef f(**kwargs):\n    pathlib.Path('seen.json').write_text(json.dumps(kwargs))\n"
    text += "    return [1, 2]\n"
    assert score(text) == [1.0, 2.0]
    seen = json.loads(Path("seen.json").read_text())
    conversation = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello."}]
    assert seen == {
        "prompts": [conversation] * 2,
        "responses": ["Well met.", "Well then"],
        "completions": [[{"role": "assistant", "content": text}] for text in ("Well met.", "Well then")],
        "prefills": ["Well", "Well"],
        "finished": [True, False],
        "prompt_ids": ["a", "a"],
    }


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_function_as_trl_has_them():
    assert score(
        "def f(prompts, completions, **kwargs):\n    return [len(c[0]['content']) for c in completions]\n"
    ) == [
        9.0,
        9.0,
    ]


def test_what_may_be_returned():
    assert score("import torch\ndef f(responses):\n    return torch.tensor([0.5, 1])\n") == [0.5, 1.0]
    assert score("import numpy\ndef f(responses):\n    return numpy.array([1, 2])\n") == [1.0, 2.0]
    assert score("import numpy\ndef f(responses):\n    return [numpy.float32(2), True]\n") == [2.0, 1.0]
    assert score("def f(responses):\n    return map(len, responses)\n") == [9.0, 9.0]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("[1]", "returned 1 numbers for 2 responses"),
        ("None", "returned None, and a list of numbers is wanted, one for each response"),
        ("3.0", "returned a value of type float, and a list of numbers is wanted"),
        ("[1, None]", "returned None for response 2 of 2, and a number is wanted"),
        ("['1', 2]", "returned a value of type str for response 1 of 2, and a number is wanted"),
        ("[1, float('nan')]", "returned nan for response 2 of 2"),
        ("[float('-inf'), 1]", "returned -inf for response 1 of 2"),
        ("[10**400, 1]", "returned too large a number for response 1 of 2"),
    ],
)
def test_what_may_not_be_returned(returned: str, message: str):
    with pytest.raises(UserError) as caught:
        score(f"\ndef f(responses):\n    return {returned}\n")
    assert str(caught.value).startswith(f"mine.py:2: the function 'f' {message}")


def test_in_the_order_of_prompts_and_in_groups():
    prompts = [Prompt(str(i), (Message("user", "x"),)) for i in range(GROUP_SIZE + 3)]
    responses = [[Response("a" * i), Response("b")] for i in range(1, len(prompts) + 1)]
    done: list[int] = []
    scores = reward("def f(responses):\n    return map(len, responses)\n").score(prompts, responses, done.append)
    assert scores.dtype == torch.float32
    assert scores.tolist() == [n for i in range(1, len(prompts) + 1) for n in (i, 1)]
    assert done == [GROUP_SIZE, 3]


def test_normalised_by_offset_and_gain():
    assert reward("def f(responses):\n    return [7, 9]\n", Normalisation(5.0, 0.5)).score(
        [PROMPT], [[Response("a"), Response("b")]]
    ).tolist() == [1.0, 2.0]


def test_saved_and_loaded_it_is_the_same_and_still_names_the_users_file(folder: Path):
    source = Source("elsewhere/mine.py", b"def f(responses):\n    return [1 / 0]\n")
    loaded = FunctionReward.load(function_artifact(folder, source, "f", Normalisation(1.0, 2.0)))
    assert loaded.normalisation == Normalisation(1.0, 2.0)
    with pytest.raises(UserError, match=r"^elsewhere/mine\.py:2: the function 'f' failed: ZeroDivisionError"):
        loaded.score([PROMPT], [[Response("a")]])
