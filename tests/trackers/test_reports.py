"""What a run sends to its trackers: all of it once, whatever happens; a tracker that fails is no failure of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.store.workspace import MetricsLog
from accord.trackers import known
from accord.trackers.base import Series, grouped
from accord.trackers.known import TRACKERS, check_trackers
from accord.trackers.reports import Reports


class Fake:
    """Keeps what it is sent; fails where it is told to."""

    def __init__(self, fails_at: int | None = None, fails_to_open: bool = False) -> None:
        self.points: list[tuple[str, int, dict[str, float]]] = []
        self.opened: list[tuple[str, int]] = []
        self.num_closed, self.fails_at, self.fails_to_open = 0, fails_at, fails_to_open

    def open(self, name: str, series: Series, after: int) -> Fake:
        if self.fails_to_open:
            raise OSError("no network\nlong explanations")
        self.opened.append((series.id, after))
        self.name = name
        return self

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        if iteration == self.fails_at:
            raise RuntimeError("the tracker is broken")
        self.points.append((self.name, iteration, dict(values)))

    def close(self) -> None:
        self.num_closed += 1

    @property
    def iterations(self) -> list[int]:
        return [iteration for _, iteration, _ in self.points]


def series(folder: Path, step: str = "ppo") -> Series:
    return Series("mine", step, "ppo", "0123456789abcdef", 1, {"learning_rate": 1e-5}, folder)


@pytest.fixture
def log(tmp_path: Path) -> MetricsLog:
    return MetricsLog(tmp_path / "metrics.jsonl")


def write(log: MetricsLog, first: int, last: int) -> None:
    for at in range(first, last + 1):
        log.write(at, loss=1.0 / at, **{"objective/kl": float("nan"), "keyword/word": "great"})


def test_rows_go_out_as_they_are_logged_without_what_is_no_number(log: MetricsLog, tmp_path: Path):
    fake = Fake()
    with Reports(["wandb"], tmp_path, fake.open).of(series(tmp_path)) as told:
        told.follow(log)
        write(log, 1, 2)
        assert fake.points == [("wandb", 1, {"loss": 1.0}), ("wandb", 2, {"loss": 0.5})]
        assert fake.opened == [("mine-ppo-01234567", -1)]
        told.catch_up(log)
        assert fake.num_closed == 0
    assert (fake.num_closed, fake.iterations) == (1, [1, 2])


def test_a_step_that_is_gone_on_with_sends_no_point_twice(log: MetricsLog, tmp_path: Path):
    fake = Fake()
    with Reports(["wandb"], tmp_path, fake.open).of(series(tmp_path)) as told:
        told.follow(log)
        write(log, 1, 5)
    log.report = None
    log.rewind(3)  # its checkpoint was made there, and it was killed
    with Reports(["wandb"], tmp_path, fake.open).of(series(tmp_path)) as told:
        told.follow(log)
        write(log, 4, 7)
    assert fake.iterations == [1, 2, 3, 4, 5, 6, 7]
    assert fake.opened == [("mine-ppo-01234567", -1), ("mine-ppo-01234567", 5)]
    with Reports(["wandb"], tmp_path, fake.open).of(series(tmp_path)) as told:
        told.catch_up(log)
    assert len(fake.opened) == 2  # nothing was left to send


def test_a_tracker_that_is_named_later_gets_what_was_before(log: MetricsLog, tmp_path: Path):
    fake = Fake()
    write(log, 1, 3)
    with Reports(["mlflow"], tmp_path, fake.open).of(series(tmp_path)) as told:
        told.follow(log)
        write(log, 4, 4)
    assert fake.iterations == [1, 2, 3, 4]
    other = Fake()
    with Reports(["mlflow", "trackio"], tmp_path, other.open).of(series(tmp_path)) as told:
        told.catch_up(log)
    assert [(name, at) for name, at, _ in other.points] == [("trackio", at) for at in (1, 2, 3, 4)]
    assert json.loads((tmp_path / "trackers.json").read_text()) == {
        "mlflow": {"mine-ppo-01234567": 4},
        "trackio": {"mine-ppo-01234567": 4},
    }


@pytest.mark.parametrize("fake", [Fake(fails_at=2), Fake(fails_to_open=True)], ids=["log", "open"])
def test_a_tracker_that_fails_is_said_once_and_the_run_goes_on(
    fake: Fake, log: MetricsLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    reports = Reports(["wandb"], tmp_path, fake.open)
    for step in ("sft", "ppo"):
        with reports.of(series(tmp_path, step)) as told:
            told.follow(log)
            write(log, 1, 4)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("warning: wandb takes no more metrics of this run (")
    assert "long explanations" not in said[0]
    assert len(log.read()) == 8
    assert reports.names == ()


def test_a_tracker_that_cannot_be_closed(log: MetricsLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    class Stuck(Fake):
        def close(self) -> None:
            raise RuntimeError("no")

    with Reports(["wandb"], tmp_path, Stuck().open).of(series(tmp_path)) as told:
        told.follow(log)
        write(log, 1, 1)
    assert "warning: wandb takes no more" in capsys.readouterr().err


def test_ctrl_c_is_no_failure_of_a_tracker(log: MetricsLog, tmp_path: Path):
    class Interrupting(Fake):
        def log(self, iteration: int, values: Mapping[str, float]) -> None:
            raise KeyboardInterrupt

    with Reports(["wandb"], tmp_path, Interrupting().open).of(series(tmp_path)) as told:
        told.follow(log)
        with pytest.raises(KeyboardInterrupt):
            write(log, 1, 1)


@pytest.mark.parametrize("text", ["", "[]", '{"wandb": 3}', '{"wandb": {"a": "b"}}'])
def test_a_record_of_what_was_sent_that_cannot_be_read(text: str, log: MetricsLog, tmp_path: Path):
    (tmp_path / "trackers.json").write_text(text)
    fake = Fake()
    with Reports(["wandb"], tmp_path, fake.open).of(series(tmp_path)) as told:
        told.follow(log)
        write(log, 1, 1)
    assert fake.iterations == [1]


def test_unknown_and_uninstalled_trackers(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UserError, match="no tracker 'tensorbord'") as caught:
        check_trackers(["tensorbord"], "mine.yaml:3:report_to")
    assert (caught.value.where, caught.value.remedy) == ("mine.yaml:3:report_to", "Did you mean 'tensorboard'?")
    monkeypatch.setattr(known, "find_spec", lambda name: None)
    for name in TRACKERS:
        with pytest.raises(UserError, match="is not installed") as caught:
            check_trackers([name], "")
        assert caught.value.remedy == f"Install it: pip install 'accord[{name}]'"
    monkeypatch.setattr(known, "find_spec", lambda name: object())
    check_trackers(TRACKERS, "")


def test_names_are_those_of_other_trainers():
    assert [grouped(name) for name in ("loss", "eval_rewards/margins", "rewards/chosen", "evaluated")] == [
        "train/loss",
        "eval/rewards/margins",
        "train/rewards/chosen",
        "train/evaluated",
    ]
