"""Runs a case and measures its policy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import accord
from accord.algorithms.selection import best_of_n_estimate, best_of_n_kl
from accord.data.derive import mean_grades, view
from accord.data.records import read_records
from accord.engine.rollout import Rollout, roll_out
from accord.evaluate.policies import sequence_logprobs
from accord.evaluate.reward_model import score_texts
from accord.evaluate.text_baseline import TextRidge, rated_pairs
from accord.models.compute import compute_dtype
from accord.models.policy import Policy
from accord.rewards.learned import LearnedReward
from accord.types import Message, Prompt
from bench.sentiment.cases import CASES, MAX_TOKENS, POSITIVE, policy_of, recipe_of

NUM_PROMPTS, NUM_SAMPLES, NUM_BEST_OF = 128, 4, 64
_UNFINISHED = 1e3  # taken from the proxy's score: a finished response is chosen before any other


def run_case(case: str, seed: int, store: Path) -> dict[str, Any]:
    """Makes the policy of a case, if it is not in the store, and measures it. Raises UserError when it breaks."""
    recipe = recipe_of(case, seed)
    run = accord.run_recipe(recipe, store=store, force=True)  # too little memory is no result of a method
    if case == "judges":
        return {"case": case, "seed": seed, **judges(run, seed)}
    own = [next(iter(step.values()))["name"] for step in CASES[case](seed, policy_of(case, seed))]
    step = {"prompted": "model"}.get(case, own[-1] if own else "sft")
    found = {"case": case, "seed": seed, **measure(run, step, case, seed)}
    found["seconds"] = sum(run.step(name).seconds for name in own)
    found["train_flops"] = flops(recipe, store, own)
    rows = run.step(step).metrics()
    found["path"] = [
        {"share": row["iteration"] / len(rows), "kl": row["objective/kl"], "gold": row["watch/gold"]}
        for row in rows
        if "watch/gold" in row
    ]
    return found


def flops(recipe: dict[str, Any], store: Path, names: list[str]) -> float:
    """Of some steps, as the plan estimates them: with the lengths of the SFT policy's responses throughout. What only
    measures (`watch`) is left out."""
    import yaml

    from accord.estimate.rows import Estimator
    from accord.plan import make_plan
    from accord.recipe import parse_recipe
    from accord.steps.registry import STEPS
    from accord.store.artifacts import Store

    steps = [
        {kind: {key: value for key, value in config.items() if key not in ("watch", "watch_every")}}
        for step in recipe["steps"]
        for kind, config in step.items()
    ]
    recipe = {**recipe, "steps": steps}
    plan = make_plan(parse_recipe(yaml.safe_dump(recipe), Path("bench.yaml")), STEPS)
    estimator = Estimator(plan, STEPS, Store(store))
    works = [estimator.works[name] for name in names]
    trained = sum(work.tokens("train") for work in works)
    forward = sum(work.tokens("forward", "prefill", "decode") for work in works)
    return 2.0 * estimator.model.dimensions.policy_parameters * (3 * trained + forward)


def measure(run: Any, step: str, case: str, seed: int) -> dict[str, Any]:
    """Mean scores and KL of each prompt, and what the texts are like."""
    dtype = compute_dtype()
    records = read_records(run.step("reviews").folder / "test_prompts.jsonl", "prompts")
    prompts: list[Prompt] = view(records, "prompts", "prompts")[:NUM_PROMPTS]
    asked = prompts
    if case.startswith("prompted"):
        asked = [replace(prompt, messages=(Message("user", POSITIVE),)) for prompt in prompts]
    policy = Policy.load(run.step(step).folder / "model", dtype)
    num = NUM_BEST_OF if case == "best-of-n" else NUM_SAMPLES
    rollout = roll_out(
        policy, asked, num_samples=num, max_response_tokens=MAX_TOKENS, temperature=1.0, key=(seed, "test", case)
    )
    scores = scores_of(run, prompts, rollout, seed)
    parameters = sum(parameter.numel() for parameter in policy.module.parameters())
    prompt_tokens = float(np.mean([len(tree.prompt_ids) for tree in rollout.trees]))
    tokens = float(np.mean(rollout.num_tokens))
    finished = np.array(rollout.finished).reshape(len(prompts), num)
    if case == "best-of-n":
        chooser = np.where(finished, scores["proxy"], scores["proxy"] - _UNFINISHED)

        def chosen(values: np.ndarray, n: int) -> list[float]:
            return [best_of_n_estimate(by, n, worth) for by, worth in zip(chooser, values, strict=True)]

        lengths = np.array(rollout.num_tokens, dtype=float).reshape(len(prompts), num)
        return {
            "of_n": {
                str(n): {
                    **{name: chosen(values, n) for name, values in scores.items()},
                    "mean_tokens": float(np.mean(chosen(lengths, n))),
                    "finished": float(np.mean(chosen(finished.astype(float), n))),
                    "kl": [best_of_n_kl(n)] * len(prompts),
                    # The prompt is computed once for all samples; from 2 on the proxy reads all of that, too.
                    "answer_flops": 2.0 * parameters * (1 + (n > 1)) * (prompt_tokens + n * tokens),
                }
                for n in (1, 2, 4, 8, 16, 32, 64)
            }
        }
    found: dict[str, Any] = {
        "mean_tokens": tokens,
        "finished": float(np.mean(finished)),
        "answer_flops": 2.0 * parameters * (prompt_tokens + tokens),
    }
    found |= {name: values.mean(axis=1).tolist() for name, values in scores.items()}
    found["kl"] = kl_of(run, prompts, rollout).reshape(len(prompts), num).mean(axis=1).tolist()
    return found


def scores_of(run: Any, prompts: list[Prompt], rollout: Rollout, seed: int) -> dict[str, np.ndarray]:
    """[P, K] of each judge. All see the plain prompt."""
    shape = (len(prompts), -1)
    scores = {}
    for called, step in (("gold", "gold"), ("proxy", f"proxy_{seed}")):
        reward = LearnedReward.load(run.step(step).folder / "model", compute_dtype())
        scores[called] = reward.score(prompts, rollout.responses).numpy().reshape(shape).astype(float)
    texts = [
        prompt.prefill + response.text
        for prompt, of_prompt in zip(prompts, rollout.responses, strict=True)
        for response in of_prompt
    ]
    scores["second"] = np.asarray(second_judge(run).predict(texts), dtype=float).reshape(shape)
    return scores


def kl_of(run: Any, prompts: list[Prompt], rollout: Rollout) -> np.ndarray:
    """[P * K]: log(policy / reference) of each response, the reference asked the plain prompt."""
    reference = Policy.load(run.step("sft").folder / "model", compute_dtype())
    trees = tuple(
        replace(tree, prompt_ids=reference.template.prompt_ids(prompt))
        for tree, prompt in zip(rollout.trees, prompts, strict=True)
    )
    under_policy = [sum(of_one) for of_prompt in rollout.sampler_logprobs for of_one in of_prompt]
    return np.array(under_policy) - sequence_logprobs(reference, replace(rollout, trees=trees))


def second_judge(run: Any) -> TextRidge:
    """A linear model of words, on labels that neither the proxy nor gold has seen."""
    texts: list[str] = []
    means: list[float] = []
    for comparison, judgements in read_records(run.step("reviews").folder / "gold_validation.jsonl", "comparisons"):
        grades = mean_grades(judgements, len(comparison.responses))
        for response, grade in zip(comparison.responses, grades, strict=True):
            if grade is not None:
                texts.append(response.text)
                means.append(grade)
    return TextRidge().fit(texts, means)


def judges(run: Any, seed: int) -> dict[str, Any]:
    """How often gold, the proxy and the second judge order two held-out snippets as people do."""
    folder = run.step("reviews").folder
    items = read_records(folder / "pair_test.jsonl", "ratings")
    prompt = replace(read_records(folder / "test_prompts.jsonl", "prompts")[0], prefill="")
    first, second = rated_pairs(items, min_difference=1.0, num_pairs=2000, seed=0)
    gap = np.array([items[a].mean - items[b].mean for a, b in zip(first, second, strict=True)])
    texts = [item.text for item in items]
    scores = {"second": np.asarray(second_judge(run).predict(texts))}
    for called, step in (("gold", "gold"), ("proxy", f"proxy_{seed}")):
        reward = LearnedReward.load(run.step(step).folder / "model", compute_dtype())
        scores[called] = score_texts(reward, prompt, texts)
    return {
        f"accuracy_{name}": float(np.mean(np.sign(values[first] - values[second]) == np.sign(gap)))
        for name, values in scores.items()
    }
