"""Names of models that are none, said before anything heavy is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from accord.api.named import check_policy, check_reward
from accord.errors import UserError


@pytest.fixture
def store(tmp_path: Path) -> Path:
    run = tmp_path / "store" / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "plan.json").write_text("{}")
    return tmp_path / "store"


def test_what_is_there_is_not_refused(store: Path, tmp_path: Path) -> None:
    for source in ("mine", "mine:sft", str(store / "runs" / "mine"), f"{store / 'runs' / 'mine'}:sft", str(tmp_path)):
        check_policy(source, store)
        check_reward(source, store)
    check_policy("smollm2-135m-instruct", store)
    check_reward("f.py:length", store)


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("mien", "Did you mean 'mine'?"),
        ("mien:sft", "A model here is also a run, or RUN:STEP."),
        ("smollm", "Known: mine, smollm2-135m-instruct."),
        ("f.py:length", "A model here is also a run, or RUN:STEP."),
    ],
)
def test_what_is_no_policy(store: Path, source: str, remedy: str) -> None:
    with pytest.raises(UserError, match="is not there") as caught:
        check_policy(source, store)
    assert remedy in caught.value.remedy


def test_what_is_no_reward(store: Path) -> None:
    for source in ("mien", "smollm2-135m-instruct", "OWNER/NAME"):
        with pytest.raises(UserError, match=f"there is no reward '{source}'"):
            check_reward(source, store)


def test_a_hub_id_that_is_not_in_the_cache(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="'ana/nothing' is not in the hub's cache"):
        check_policy("ana/nothing", store)


@pytest.mark.parametrize(
    "arguments", [["serve", "nothing"], ["serve", "mine", "--reward", "nothing"], ["chat", "mine", "nothing"]]
)
def test_commands_say_it_without_torch(store: Path, arguments: list[str]) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from accord.cli import app; app(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, *arguments, "--store", str(store)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, "'nothing'" in result.stderr) == (2, True), result.stderr
    assert "Traceback" not in result.stderr
