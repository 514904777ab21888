"""Sampling with transformers, as a user would write it: `generate`, or `generate_batch` (continuous batching)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, ContinuousBatchingConfig, GenerationConfig

# By default it takes nine tenths of a processor's memory, whatever is free. A block holds 256 tokens of one response.
CACHE = ContinuousBatchingConfig(num_blocks=256, max_batch_tokens=2048)


@dataclass
class Written:
    """ids: of each response, the prompt's all together, up to and with the stop."""

    ids: list[list[int]]
    texts: list[str]

    @property
    def num_tokens(self) -> int:
        return sum(len(one) for one in self.ids)


class Generator:
    """A model in bfloat16 with its tokenizer."""

    def __init__(self, folder: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()

    def config(self, num_samples: int, max_tokens: int) -> GenerationConfig:
        """From the whole distribution at temperature 1."""
        return GenerationConfig(
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=max_tokens,
            num_return_sequences=num_samples,
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
        )

    @torch.no_grad()
    def generate(self, prompts: Sequence[Any], num_samples: int, max_tokens: int) -> Written:
        """One batch, padded on the left."""
        options = {"add_generation_prompt": True, "return_dict": True, "return_tensors": "pt", "padding": True}
        inputs = self.tokenizer.apply_chat_template(list(prompts), **options)
        out = self.model.generate(**inputs, generation_config=self.config(num_samples, max_tokens))
        return self.written(out[:, inputs["input_ids"].shape[1] :].tolist())

    @torch.no_grad()
    def generate_batch(self, prompts: Sequence[Any], num_samples: int, max_tokens: int) -> Written:
        inputs = self.tokenizer.apply_chat_template(list(prompts), add_generation_prompt=True, return_dict=False)
        out = self.model.generate_batch(
            inputs, generation_config=self.config(num_samples, max_tokens), continuous_batching_config=CACHE
        )
        return self.written([one.generated_tokens for one in out.values()])

    def written(self, rows: Sequence[Sequence[int]]) -> Written:
        stop = self.tokenizer.eos_token_id
        ids = [list(row[: row.index(stop) + 1]) if stop in row else list(row) for row in rows]
        return Written(ids, self.tokenizer.batch_decode(ids, skip_special_tokens=True))
