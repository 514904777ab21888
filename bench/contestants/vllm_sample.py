"""Sampling with vLLM on the processor. Prompts come as text and are rendered by the folder's own chat template."""

from __future__ import annotations

import os

os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1"}

import time

from transformers import AutoTokenizer
from vllm import LLM, SamplingParams

from bench.contestants.shared import Report, finish, read_rows, settings


def main() -> None:
    asked, report = settings(), Report()
    prompts = [row["prompt"] for row in read_rows(asked["data"])]
    tokenizer = AutoTokenizer.from_pretrained(asked["model"])
    model = LLM(asked["model"], dtype="bfloat16", enforce_eager=True, max_model_len=1024, seed=asked["seed"])
    # With a seed for each request it fails on a processor as soon as it takes a prompt in pieces.
    params = SamplingParams(n=asked["num_samples"], temperature=1.0, max_tokens=asked["max_response_tokens"])
    for call in range(1 + asked["num_timed"]):
        model.reset_prefix_cache()  # or the prompts of all calls but the first would be there already
        began = time.perf_counter()
        ids = tokenizer.apply_chat_template(prompts, add_generation_prompt=True, return_dict=False)
        outputs = model.generate([{"prompt_token_ids": one} for one in ids], params, use_tqdm=False)
        if call:
            report.seconds.append(time.perf_counter() - began)
            report.tokens.append(sum(len(one.token_ids) for output in outputs for one in output.outputs))
    finish(report)


if __name__ == "__main__":
    main()
