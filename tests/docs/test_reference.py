"""The generated reference: every step, every key with its meaning, every command."""

from __future__ import annotations

import re

from accord.steps.registry import STEPS
from docs import hooks


def test_every_key_of_every_step_has_a_meaning() -> None:
    page = hooks.step_reference()
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
    keys = {name for kind in STEPS.values() for name in kind.config.model_fields} - {"fingerprint"}
    assert {row[0] for row in rows} == keys
    assert [row[0] for row in rows if not row[3].strip()] == []


def test_every_command_is_there() -> None:
    page = hooks.command_reference()
    assert {"accord run", "accord demo", "accord check"} <= set(re.findall(r"^### `(.*?)`$", page, re.MULTILINE))


def test_fences_lose_the_mark() -> None:
    assert hooks.on_page_markdown("```bash run fails\nfalse\n```\n") == "```bash\nfalse\n```\n"
    assert hooks.on_page_markdown('```yaml title="a.yaml"\n```\n') == '```yaml title="a.yaml"\n```\n'
