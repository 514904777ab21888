"""Best of n with transformers: `generate`, then a forward pass of the reward model in batches, both in bfloat16."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from bench.contestants.generation import Generator
from bench.contestants.shared import Report, finish, read_rows, settings

SCORING_BATCH = 16


def main() -> None:
    asked, report = settings(), Report()
    torch.manual_seed(asked["seed"])
    prompts = [row["prompt"] for row in read_rows(asked["data"])]
    generator = Generator(asked["model"])
    reward = AutoModelForSequenceClassification.from_pretrained(asked["reward_model"], dtype=torch.bfloat16).eval()
    num = asked["num_samples"]
    for call in range(1 + asked["num_timed"]):
        began = time.perf_counter()
        written = generator.generate(prompts, num, asked["max_response_tokens"])
        sampled = time.perf_counter()
        asked_of = [prompt for prompt in prompts for _ in range(num)]
        scores = score(generator.tokenizer, reward, asked_of, written.texts).view(len(prompts), num)
        _ = scores.argmax(dim=1).tolist()
        done = time.perf_counter()
        if call:
            report.seconds.append(done - began)
            report.tokens.append(written.num_tokens)
            report.phases.setdefault("sampling", []).append(sampled - began)
            report.phases.setdefault("scoring", []).append(done - sampled)
            report.facts["score"] = float(scores.mean())
    finish(report)


@torch.no_grad()
def score(tokenizer: Any, reward: Any, prompts: Sequence[Any], texts: Sequence[str]) -> torch.Tensor:
    """[S], of whole conversations, padded on the right, those of similar length together."""
    whole = [[*prompt, {"role": "assistant", "content": text}] for prompt, text in zip(prompts, texts, strict=True)]
    ids = tokenizer.apply_chat_template(whole, return_dict=False)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    scores = torch.zeros(len(ids))
    for at in range(0, len(order), SCORING_BATCH):
        rows = order[at : at + SCORING_BATCH]
        batch = tokenizer.pad({"input_ids": [ids[i] for i in rows]}, padding_side="right", return_tensors="pt")
        scores[rows] = reward(**batch).logits[:, 0].float()
    return scores


if __name__ == "__main__":
    main()
