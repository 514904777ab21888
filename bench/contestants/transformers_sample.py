"""Sampling with transformers."""

from __future__ import annotations

import time

import torch

from bench.contestants.generation import Generator
from bench.contestants.shared import Report, finish, read_rows, settings


def main() -> None:
    asked, report = settings(), Report()
    torch.manual_seed(asked["seed"])
    prompts = [row["prompt"] for row in read_rows(asked["data"])]
    generator = Generator(asked["model"])
    write = generator.generate_batch if asked.get("continuous") else generator.generate
    for call in range(1 + asked["num_timed"]):
        began = time.perf_counter()
        written = write(prompts, asked["num_samples"], asked["max_response_tokens"])
        if call:
            report.seconds.append(time.perf_counter() - began)
            report.tokens.append(written.num_tokens)
    finish(report)


if __name__ == "__main__":
    main()
