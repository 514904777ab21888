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


def row(kind: str, key: str) -> list[str]:
    """What a key takes, its default, and its meaning."""
    page = hooks.step_reference().partition(f"### `{kind}`")[2].partition("\n### ")[0]
    return next(line for line in page.splitlines() if line.startswith(f"| `{key}` |")).split(" | ")[1:]


def test_what_a_key_takes_is_said_as_it_is_written() -> None:
    assert row("reward", "margin")[0] == "`none`, `small`, `large`, `data`, or a list of 4 numbers"
    assert row("reward", "margin_thresholds")[:2] == ["a list of 4 numbers", "`[0.5, 1.25, 2.5, 3.75]`"]
    assert row("ppo", "lora")[0] == "a map (`rank`, `alpha`, `dropout`, `targets`) or null"
    assert row("ppo", "watch")[:2] == ["a list of rewards", "`[]`"]
    assert row("dpo", "data")[:2] == ["comparisons or a list of such parts", "required"]
    assert row("kto", "validation")[0] == "labelled responses, a list of such parts, or null"
    assert row("dpo", "per_token")[0] == "true, false, or null"
    assert row("reward_endpoint", "version")[1] == '`""`'
    taken = re.findall(r"^\| `\w+` \| (.*?) \|", hooks.step_reference(), re.MULTILINE)
    assert [text for text in taken if re.search(r"tuple|list\[|Optional|Literal|\bNone\b|\.\.\.|Ref", text)] == []


def test_a_word_that_is_broken_at_its_hyphen_is_whole() -> None:
    assert hooks._one_line("Of pre-\n    training, k -\n1, and pre-\nand post-training.\n") == (
        "Of pre-training, k - 1, and pre- and post-training."
    )
    assert re.findall(r"\w- (?!and|or)\w+", hooks.step_reference()) == []


def test_every_command_is_there() -> None:
    page = hooks.command_reference()
    assert {"accord run", "accord demo", "accord check"} <= set(re.findall(r"^### `(.*?)`$", page, re.MULTILINE))


def test_fences_lose_the_mark() -> None:
    assert hooks.on_page_markdown("```bash run fails\nfalse\n```\n") == "```bash\nfalse\n```\n"
    assert hooks.on_page_markdown('```yaml title="a.yaml"\n```\n') == '```yaml title="a.yaml"\n```\n'
