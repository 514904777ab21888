"""Supervised fine-tuning with transformers.Trainer: what one would write without a library for alignment."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, DataCollatorForSeq2Seq, Trainer, TrainingArguments

from bench.contestants.shared import Report, finish, read_rows, settings
from bench.contestants.trainer import Timing, clock_of, common, tokenizer_of


def main() -> None:
    asked, report = settings(), Report()
    tokenizer = tokenizer_of(asked)
    examples = [tokenized(tokenizer, row) for row in read_rows(asked["data"])]
    model = AutoModelForCausalLM.from_pretrained(asked["model"], dtype=torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model,
            TrainingArguments(**common(asked, folder)),
            train_dataset=Dataset.from_list(examples),
            data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100),
            processing_class=tokenizer,
            callbacks=[Timing(report, clock_of(report, asked))],
        )
        trainer.train()
    finish(report)


def tokenized(tokenizer: Any, row: dict[str, Any]) -> dict[str, list[int]]:
    """A conversation of which the completion is trained on."""
    prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)
    whole = tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=False)
    assert whole[: len(prompt)] == prompt, "the template writes the prompt alone as it does with its answer"
    labels = [-100] * len(prompt) + whole[len(prompt) :]
    return {"input_ids": whole, "attention_mask": [1] * len(whole), "labels": labels}


if __name__ == "__main__":
    main()
