"""Every page's blocks that are marked `run` run, top to bottom, in an empty folder, as a reader would run them.

    ```bash run            the shell, with `accord` on the path; `run fails`: the status is not 0
    ```python run          Python; all of a page's blocks in one interpreter
    ```yaml title="x.yaml" the file x.yaml, written where it stands in the page (so of any language)

The built-in model's name stands for the tiny model.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.warm import Warm

DOCS = Path(__file__).parents[2] / "docs"
BUILTIN = "smollm2-135m-instruct"
FENCE = re.compile(r"^```(?P<lang>\w+)(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = sorted(path for path in DOCS.rglob("*.md") if re.search(r"^```\w+ run", path.read_text(), re.MULTILINE))


def script(page: str) -> str:
    """The page as one Python program: files are written, shell blocks and Python blocks run."""
    parts = ["from tests.docs.shell import shell, write\n"]
    for fence in FENCE.finditer(page):
        lang, info, body = fence["lang"], fence["info"].split(), fence["body"]
        if title := re.search(r'title="([^"]+)"', fence["info"]):
            parts.append(f"write({title[1]!r}, {body!r})\n")
        elif "run" in info and lang == "bash":
            parts.append(f"shell({body!r}, fails={'fails' in info})\n")
        elif "run" in info:
            assert lang == "python", f"blocks of {lang} cannot be run"
            parts.append(body)
    return "".join(parts)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages measure once how fast this machine is with the model."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_page(path: Path, tiny_model: Path, tmp_path: Path, cache: Path, warm_python: Warm) -> None:
    program = tmp_path / "page.py"
    program.write_text(script(path.read_text().replace(BUILTIN, str(tiny_model))))
    folder = tmp_path / "reader"
    folder.mkdir()
    environment = warm_python.environment() | {
        "PYTHONPATH": str(DOCS.parent),
        "ACCORD_CACHE": str(cache),
        "COLUMNS": "100",
    }
    done = subprocess.run(
        [warm_python.python, str(program)], cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_pages_are_found() -> None:
    assert {"data", "rewards", "api"} <= {path.stem for path in PAGES}
