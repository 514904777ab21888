"""What is seen of a step while workers compute it: how far a pass is, metrics in trackers; and how it is stopped."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from accord.cluster import launch, workers
from accord.engine.scorer import per_branch
from accord.errors import Interrupted
from accord.text.tree import Branch, Tree
from accord.trackers import known
from accord.trackers.base import Series
from accord.trackers.reports import Reports
from tests.cluster.pair import in_two
from tests.cluster.recipes import Recipes, left_over, two

RECIPE = """\
model: {model}
data: {{asked: {{source: {asked}}}, compared: {{source: {compared}}}, held: {{source: {held}}}}}
{cluster}
"""
TRACKED = """\
report_to: [tensorboard]
steps:
  - reward_rule: {{name: rule, rule: length, unit: characters, target: 40}}
  - rloo: {{prompts: asked.train, reward: rule, num_iterations: 2, prompts_per_iteration: 4, num_samples: 2,
           max_response_tokens: 4, truncation_score: null}}
"""
READING = """\
steps:
  - reward: {{name: taste, data: compared.train, batch_size: 6}}
  - accuracy: {{rewards: taste, data: held.train}}
"""
TREES = [Tree((1,), (Branch((2, 3, 4)),)) for _ in range(6)]


@pytest.fixture
def recipes(tiny_model: Path, asked: Path, compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipes:
    monkeypatch.setattr(workers, "PROGRAM", "tests.cluster.faulty")
    return Recipes(RECIPE, tiny_model, asked, compared, tmp_path)


def told() -> list[int]:
    found: list[int] = []
    per_branch(TREES, lambda b: b.ids.flatten()[b.last_rows].float(), max_tokens=4, advance=found.append)
    return found


def test_the_leading_process_tells_as_it_reads_and_the_others_at_the_end(tmp_path: Path) -> None:
    """Each reads three of six trees."""
    assert in_two(told, tmp_path) == [[2, 2, 2], [6]]


class Seen:
    """What a tracker was sent of `rloo`, and whether the step was done by then."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self.rows: list[tuple[int, bool]] = []

    def open(self, name: str, series: Series, after: int) -> Seen:
        assert (name, series.step, after) == ("tensorboard", "rloo", -1)
        return self

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        assert "objective/kl" in values
        self.rows.append((iteration, any(self._store.glob("artifacts/rloo-*"))))

    def close(self) -> None:
        pass


def test_a_tracker_is_sent_a_row_while_the_step_runs(recipes: Recipes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The leading worker saves for two seconds after the first row."""
    seen = Seen(recipes.folder / "tracked")
    monkeypatch.setattr(known, "find_spec", lambda name: object())
    monkeypatch.setattr("accord.run.Reports", partial(Reports, open_one=seen.open))
    monkeypatch.setattr(launch, "_TELL", 0.1)
    monkeypatch.setenv("ACCORD_TEST_FAULT", "saving:0:slow:1")
    recipes.run("tracked", two(), RECIPE + TRACKED)
    assert [iteration for iteration, _ in seen.rows] == [1, 2]
    assert seen.rows[0] == (1, False)


def test_a_pass_is_stopped_before_all_have_read(recipes: Recipes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The leading worker ends after its own batch, and who waits for it is ended."""
    monkeypatch.setenv("ACCORD_TEST_FAULT", "reading::slow:")
    threading.Thread(target=_interrupt_accuracy, args=(recipes.folder / "stopped",), daemon=True).start()
    with pytest.raises(Interrupted):
        recipes.run("stopped", two(), RECIPE + READING)
    assert not left_over()
    assert not any((recipes.folder / "stopped").glob("artifacts/accuracy-*"))


def _interrupt_accuracy(store: Path) -> None:
    """Ctrl-C, once the step `accuracy` has begun."""
    while not any(store.glob("work/accuracy-*/progress.json")):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
