"""DPO, a reward model or supervised fine-tuning with TRL's trainers."""

from __future__ import annotations

import tempfile

from datasets import load_dataset
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from bench.contestants.shared import Report, finish, settings
from bench.contestants.trainer import Timing, clock_of, common, tokenizer_of

TRAINERS = {"dpo": (DPOTrainer, DPOConfig), "reward": (RewardTrainer, RewardConfig), "sft": (SFTTrainer, SFTConfig)}


def main() -> None:
    asked, report = settings(), Report()
    trainer_class, config_class = TRAINERS[asked["kind"]]
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_class(
            asked["reward_model"] if asked["kind"] == "reward" else asked["model"],
            args=config_class(**common(asked, folder), max_length=None),
            train_dataset=load_dataset("json", data_files=asked["data"], split="train", cache_dir=folder),
            processing_class=tokenizer_of(asked),
        )
        trainer.add_callback(Timing(report, clock_of(report, asked)))
        trainer.train()
    finish(report)


if __name__ == "__main__":
    main()
