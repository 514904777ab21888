from __future__ import annotations

import sys
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.types import Message
from accord.web.policies import served, served_soon
from tests.fixtures.warm import Warm


@pytest.fixture(autouse=True)
def children(warm_python: Warm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", warm_python.python)


def test_policies_are_served_by_a_child_that_goes_with_us(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCORD_API_KEY", "horse")  # for clients of a server, of which this is none
    with served([f"one={tiny_model}", f"two={tiny_model}"], str(tmp_path)) as policies:
        assert policies.names == ("one", "two")
        first, second = policies.answers([Message("user", "Hello.")])
        assert {first.by.split()[0], second.by.split()[0]} == {"one", "two"}
        likeliest = [policies.likeliest(name, [Message("user", "Hello.")]) for name in ("one", "one", "two")]
        assert len(set(likeliest)) == 1  # it is one model
    with pytest.raises(UserError, match="cannot be reached"):
        policies.answers([Message("user", "Hello.")])


def test_a_model_that_is_not_there_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="are not served"), served([str(tmp_path / "nowhere")], str(tmp_path)):
        pass
    assert "nowhere" in capfd.readouterr().err


def test_pages_open_before_the_model_does(tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    hello = [Message("user", "Hello.")]
    said: list[str] = []
    with served_soon([f"one={tiny_model}"], str(tmp_path), said.append) as policies:
        assert said == []
        with pytest.raises(UserError, match="still being opened"):
            policies.answers(hello)
        policies._opened.result(timeout=300)
        assert said == ["people can write to one now"]
        assert len(policies.answers(hello)) == 2
    with served_soon([str(tmp_path / "nowhere")], str(tmp_path), said.append) as policies:
        with pytest.raises(UserError, match="are not served"):
            policies._opened.result(timeout=300)
        with pytest.raises(UserError, match="are not served"):
            policies.answers(hello)
    assert "nowhere" in capfd.readouterr().err
