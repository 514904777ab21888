"""A run whose model has a card, and whose report leaves pictures and stands beside another one's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from accord.cli import app
from accord.monitor import report
from accord.results import write_report
from accord.store.artifacts import Store
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]

STEPS = """\
  - reward_function: {name: gold, file: rules.py, function: long}
  - sft: {data: mine.demos, max_response_tokens: 20, num_epochs: 2, batch_size: 4}
  - collect: {name: asked, comparisons: mine.pairs, reward: gold, noise: 0.1}
  - dpo: {data: asked, max_response_tokens: 20, batch_size: 4, validation: null}
  - evaluate:
      {policies: [sft, dpo], by: gold, prompts: mine.prompts, num_prompts: 3, num_samples: 2, max_response_tokens: 4}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A store with a run."""
    with pytest.MonkeyPatch.context() as patch:
        from accord.data import catalog
        from tests.fixtures.made_up_data import prepare

        kinds: Any = {"prompts": "prompts", "demos": "demonstrations", "pairs": "comparisons"}
        patch.setitem(catalog.BUILTIN, "made-up", catalog.BuiltinData("made-up", "", "", kinds, prepare))
        folder = tmp_path_factory.mktemp("card")
        patch.chdir(folder)
        Path("rules.py").write_text("def long(responses):\n    return [len(text) for text in responses]\n")
        run_steps(folder, tiny_model, STEPS, finish=lambda at, _: write_report(at, Store(folder / "store")))
        return folder


def accord(place: Path, *arguments: str | Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        result = CliRunner().invoke(app, [*map(str, arguments), "--store", "store"])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_card_says_what_the_run_recorded(place: Path) -> None:
    text = accord(place, "card", "few")
    head = yaml.safe_load(text[4:].partition("\n---\n")[0])
    assert head["tags"] == ["accord", "sft", "dpo", "simulated-feedback"]
    assert "license" not in head
    assert "base_model" not in head, "a folder is on no hub"
    (entry,) = head["model-index"]
    kinds = {metric["type"] for one in entry["results"] for metric in one["metrics"]}
    assert {"gold_win_rate", "kl"} <= kinds
    for said in (
        "| `sft` | sft | `mine.demos`, `latest` | `num_epochs=2.0`, `batch_size=4`, `data=mine.demos`",
        "Labels of `asked` are simulated",
        "| `asked` | simulated:gold:noise=0.1 | 8 |",
        "- licence: not known",
        "win rate, gold over sft, by gold",
        "3 prompts of mine.prompts",
        "core-hours",
        "  - dpo: {data: asked",
    ):
        assert said in text, said
    assert str(place) not in text.partition("## Recipe")[0], "folders of this machine are nobody's business"


def test_the_card_of_another_step_knows_its_own_way_alone(place: Path) -> None:
    text = accord(place, "card", "few", "sft")
    assert "simulated" not in text.partition("## Recipe")[0]
    assert "| `dpo` |" not in text


def test_export_writes_the_card_beside_the_model(place: Path) -> None:
    accord(place, "export", "few:sft", "out")
    assert (place / "out" / "README.md").read_text().startswith("---\n")
    assert "made by the step `sft`" in (place / "out" / "README.md").read_text()
    accord(place, "export", "few:sft", "out", "--force")
    said = accord(place, "export", "few:start", "start")
    assert "card" not in said
    assert not (place / "start" / "README.md").exists()


def test_a_card_is_not_written_over(place: Path) -> None:
    accord(place, "card", "few", "--out", "there")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for arguments in (["card", "few", "--out", "there"], ["card", "few", "evaluate"], ["card", "fwe"]):
            assert CliRunner().invoke(app, [*arguments, "--store", "store"]).exit_code == 2
    accord(place, "card", "few", "--out", "there", "--force")


def test_pictures_are_files_and_drawn_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, content = list[str](), report.report_content
    monkeypatch.setattr(report, "report_content", lambda run: drawn.append(run.name) or content(run))
    accord(place, "report", "few", "--export", "pictures")
    assert drawn == ["few"]
    names = sorted(path.name for path in (place / "pictures").iterdir())
    for name in ("lineage-of-the-models", "training-curves-of-dpo", "training-curves-of-sft", "win-rate-over-sft"):
        assert [one for one in names if one.startswith(name)] == [f"{name}.{end}" for end in ("csv", "png", "svg")]
        assert (place / "pictures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_report_has_lineage_health_samples_data_and_environment(place: Path) -> None:
    page = (place / "store" / "runs" / "few" / "report.html").read_text()
    digest = json.loads((place / "store" / "runs" / "few" / "steps" / "dpo" / "manifest.json").read_text())["digest"]
    for said in (
        "<h2>Lineage</h2>",
        digest[:12],
        "is this healthy?",
        "<h2>Before and after</h2>",
        "<h2>Data and labels</h2>",
        "simulated:gold:noise=0.1 <em>no person</em>",
        "<dt>seed</dt><dd>1</dd>",
        "<dt>machine</dt>",
    ):
        assert said in page, said


def test_two_runs_stand_side_by_side(place: Path, tiny_model: Path) -> None:
    said = accord(place, "report", "few", "few", "--export", "both")
    page = (place / "store" / "comparisons" / "few-against-few.html").read_text()
    assert "few-against-few.html" in said
    assert "Nothing: the runs were planned with the same steps, settings and data." in page
    assert (place / "both" / "win-rates-of-each-run.svg").is_file()
