"""TRL's RewardTrainer on a file of pairs, in an environment of its own: `python trl_reward.py TRAIN TEST OUT SETTINGS`.

bf16 and without gradient checkpointing, which is its faster way on a processor; otherwise its own defaults. SETTINGS is
JSON: model (a folder), seed, learning_rate, num_epochs, batch_size, warmup. Writes the score gaps of TEST to OUT.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from typing import Any

import torch
from datasets import load_dataset
from transformers import AutoTokenizer
from trl import RewardConfig, RewardTrainer

MICRO_BATCH = 1


def main() -> None:
    train_file, test_file, out, text = sys.argv[1:]
    settings = json.loads(text)
    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    data = load_dataset("json", data_files={"train": train_file, "test": test_file})
    with tempfile.TemporaryDirectory() as folder:
        config = RewardConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=True,
            gradient_checkpointing=False,
            per_device_train_batch_size=MICRO_BATCH,
            gradient_accumulation_steps=settings["batch_size"] // MICRO_BATCH,
            learning_rate=settings["learning_rate"],
            lr_scheduler_type="cosine_with_min_lr",
            lr_scheduler_kwargs={"min_lr_rate": 0.1},
            num_train_epochs=settings["num_epochs"],
            warmup_steps=settings["warmup"],
            max_length=None,
            seed=settings["seed"],
            report_to=[],
            save_strategy="no",
            logging_steps=10,
        )
        trainer = RewardTrainer(settings["model"], args=config, train_dataset=data["train"], processing_class=tokenizer)
        began = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - began
    model = trainer.model.eval()
    gaps = [score(model, tokenizer, row, "chosen") - score(model, tokenizer, row, "rejected") for row in data["test"]]
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"gaps": gaps, "seconds": seconds, "num_comparisons": len(trainer.train_dataset)}, file)


@torch.no_grad()
def score(model: Any, tokenizer: Any, row: dict[str, Any], side: str) -> float:
    """Of one whole conversation, as RewardTrainer renders it."""
    ids = tokenizer.apply_chat_template(row["prompt"] + row[side], return_dict=True, return_tensors="pt")
    with torch.autocast("cpu", torch.bfloat16):
        return float(model(**ids).logits[0, 0])


if __name__ == "__main__":
    main()
