"""Safety context distillation: the safety score before and after, its tail, and what is refused without need.

The start model answers HarmBench's test behaviours; where a safety model calls an answer unsafe, it is asked again with
a preprompt, and imitates what is safer, without the preprompt. Two safety models are trained on PyRIT's rated answers,
each on one half of the objectives: `guide` chooses, `judge` has no part in it. Both score the answers to HarmBench's
validation behaviours, before and after. Beside it: which answers to XSTest's safe prompts are refusals, by
the usual phrases. An answer ends at its first period after 16 tokens. Kept are scores and refusals, in the order of the
prompts.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np

from accord.api.runs import Run
from accord.engine.ending import Ending
from accord.engine.rollout import roll_out
from accord.evaluate.refusals import PhraseDetector
from accord.models.compute import compute_dtype
from accord.models.policy import Policy
from accord.types import Message, Prompt
from bench.llama2.auxiliary import answers, learned_from
from bench.llama2.auxiliary import recipe_of as safety_models
from bench.llama2.common import Row, finished, raw_scores, rounded, write_rows

CONTEXTS = ("generic", "tailored")
MAX_TOKENS = 64
ENDING = Ending(end_at=".", end_after=16)  # answers of its own length would take minutes each, or be cut off
NUM_DISTILLED = 64
NUM_HELPFUL = 100
NUM_SAMPLES = 2
SHARED = ("guide", "judge")
_CATEGORIES = {  # HarmBench's, as the preprompts call them
    "illegal": "illicit and criminal activities",
    "cybercrime_intrusion": "illicit and criminal activities",
    "chemical_biological": "illicit and criminal activities",
    "harmful": "hateful and harmful activities",
    "harassment_bullying": "hateful and harmful activities",
    "misinformation_disinformation": "hateful and harmful activities",
}


def behaviours(part: str) -> list[Row]:
    """The different ones that make sense without a context."""
    rows = _table(f"harmbench_behaviors_text_{part}.csv")
    found = {row["Behavior"]: row for row in rows if row["FunctionalCategory"] == "standard"}
    return [
        {"prompt": text, "risk_category": _CATEGORIES[row["SemanticCategory"]]}
        for text, row in found.items()
        if row["SemanticCategory"] in _CATEGORIES
    ]


def helpful_prompts() -> list[str]:
    """Every so many-th of XSTest's safe prompts, of which neighbours are of one kind."""
    safe = [row["prompt"] for row in _table("xstest_prompts.csv") if not row["type"].startswith("contrast")]
    return [safe[at] for at in np.linspace(0, len(safe) - 1, NUM_HELPFUL).round().astype(int)]


def _table(name: str) -> list[Row]:
    with (Path(os.environ.get("ACCORD_DATA", "")) / "safety" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def recipe_of(case: str, seed: int, files: list[str], asked: str) -> Row:
    """The safety models are those of `auxiliary-1`, with other names. The recipe's own seed is the same throughout."""
    recipe = safety_models("auxiliary-1", 1, files)
    for step, name in zip(recipe["steps"], SHARED, strict=True):
        step["reward"]["name"] = name
    context = case.removeprefix("distillation-")
    trying = {"context": context, "num_samples": NUM_SAMPLES, "num_prompts": NUM_DISTILLED, "below": 0.5}
    training = {"learning_rate": 2e-4, "num_epochs": 2.0, "batch_size": 8, "lora": {"rank": 16, "alpha": 32}}
    asking = {"prompts": "asked", "start": "start", "reward": "guide", "max_response_tokens": MAX_TOKENS}
    asking |= ENDING.model_dump()
    recipe["data"]["asked"] = {"source": asked, "kind": "prompts"}
    recipe["steps"].append({"distill": {"name": f"{context}_{seed}", **asking, **trying, **training}})
    return recipe


def settings(case: str, seed: int) -> Row:
    measured = {"num_helpful": NUM_HELPFUL, "num_samples": NUM_SAMPLES, "max_tokens": MAX_TOKENS}
    return {**recipe_of(case, seed, ["", ""], ""), **measured}


def measure(case: str, seed: int, scratch: Path) -> Row:
    data, folder = answers(), scratch / "distillation"
    files = [write_rows(folder / f"{i}.jsonl", learned_from(data, i)) for i in range(len(SHARED))]
    asked = write_rows(folder / "asked.jsonl", behaviours("test"))
    recipe = recipe_of(case, seed, [str(file) for file in files], str(asked))
    with finished(recipe, scratch, keep=SHARED) as run:
        (step,) = (one for one in run.steps.values() if one.kind == "distill")
        found: Row = {"seconds": round(step.seconds, 1), "counts": _numbers(step.summary())}
        for when, name in (("before", "start"), ("after", step.name)):
            found[when] = _measured(run, Policy.load(run.step(name).folder / "model", compute_dtype()), seed)
    return found


def _measured(run: Run, policy: Policy, seed: int) -> Row:
    """Before and after draw the same random numbers."""
    harmful, texts = _answered(policy, [row["prompt"] for row in behaviours("val")], NUM_SAMPLES, seed)
    scores = {name: raw_scores(run, name, harmful, texts) for name in SHARED}
    helpful, replies = _answered(policy, helpful_prompts(), 1, seed)
    outcomes = PhraseDetector().outcomes([""] * len(helpful), [of_one[0] for of_one in replies])
    return {
        **{name: [rounded(of_prompt) for of_prompt in of_model] for name, of_model in scores.items()},
        "refused": [int(one != "compliance") for one in outcomes],
    }


def _answered(policy: Policy, texts: list[str], num_samples: int, seed: int) -> tuple[list[Prompt], list[list[str]]]:
    prompts = [Prompt(str(at), (Message("user", text),)) for at, text in enumerate(texts)]
    rollout = roll_out(
        policy,
        prompts,
        num_samples=num_samples,
        max_response_tokens=MAX_TOKENS,
        temperature=1.0,
        ending=ENDING,
        key=(seed, "distillation"),
    )
    return prompts, [[response.text for response in of_one] for of_one in rollout.responses]


def _numbers(summary: Row) -> Row:
    return {name: value for name, value in summary.items() if isinstance(value, int | float)}
