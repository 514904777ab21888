"""Runs in lm-eval's environment: one of the tasks beside this file, and writes what was asked and answered."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.tasks import TaskManager


def main(out: str, task: str, model: str, arguments: str, as_chat: str) -> None:
    """arguments: of the model, as JSON."""
    os.chdir(Path(__file__).parent)  # the tasks name their files from here
    found: Any = lm_eval.simple_evaluate(
        model=model,
        model_args=json.loads(arguments),
        tasks=[task],
        task_manager=TaskManager(include_path=str(Path(__file__).parent / "tasks")),
        apply_chat_template=as_chat == "chat",
        bootstrap_iters=0,
    )
    rows = [{"asked": one["arguments"], "answered": one["resps"]} for one in found["samples"][task]]
    Path(out).write_text(json.dumps({"rows": rows, "results": found["results"][task]}, default=str), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
