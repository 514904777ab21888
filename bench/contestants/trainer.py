"""What contestants on transformers' Trainer share: settings that are the same for all, and the callback that times."""

from __future__ import annotations

from typing import Any

from transformers import AutoTokenizer, TrainerCallback

from bench.contestants.shared import Clock, Report, on_gpu


def common(asked: dict[str, Any], folder: str) -> dict[str, Any]:
    """Arguments of any trainer: the batch in micro-batches of at most `micro`, nothing saved or reported, every step
    logged. What the contestant leaves out stays as the trainer has it by default."""
    batch = asked["batch_size"]
    micro = max(n for n in range(1, 1 + min(asked.get("micro") or batch, batch)) if batch % n == 0)
    return {
        "output_dir": folder,
        "use_cpu": not on_gpu(),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": batch // micro,
        "num_train_epochs": asked["warmup_epochs"] + asked["timed_epochs"],
        "learning_rate": asked["learning_rate"],
        "lr_scheduler_type": "constant",
        "seed": asked["seed"],
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        **asked.get("arguments", {}),
    }


def tokenizer_of(asked: dict[str, Any]) -> Any:
    """With the padding token of its own that the folder has."""
    return AutoTokenizer.from_pretrained(asked["model"])


class Timing(TrainerCallback):  # type: ignore[misc]
    """Notes the end of every optimizer step, and loss and gradient norm of the first."""

    def __init__(self, report: Report, clock: Clock) -> None:
        self._report, self._clock = report, clock

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._clock.step_done()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if logs and self._report.loss is None and "loss" in logs:
            self._report.loss = float(logs["loss"])
            self._report.gradient_norm = float(logs["grad_norm"]) if "grad_norm" in logs else None


def clock_of(report: Report, asked: dict[str, Any]) -> Clock:
    """For an epoch that warms up, and others that are timed."""
    steps = asked["num_examples"] // asked["batch_size"]
    warmup = asked["warmup_epochs"] * steps
    return Clock(report, asked["dtype"], warmup=warmup, total=warmup + asked["timed_epochs"] * steps)
