"""Reward models on human preferences, out of fold, against floors that know nothing of quality.

    python bench/reward_models.py run --case hh_helpful --seed 1    # a fold that is done is not run again
    python bench/reward_models.py run --case hh_helpful --seed 1 --share 0.25    # a point of the learning curve
    python bench/reward_models.py run --case hh_helpful --seed 1 --trainer trl --trl-python ENV/bin/python
    python bench/reward_models.py table

Five folds by prompt (the first user's turn without case and punctuation), ties left out. Each fold's rows are scored by
a model that was trained on the other four. The floors, in the same folds: the longer response wins; the shorter one
does; and a logistic regression on differences of TF-IDF vectors. A model is better than its floor when the paired
bootstrap by prompt of the difference in accuracy has its lower end above 0. The data: folder `prefs` in the folder that
ACCORD_DATA names.

bench/results/reward_models/CASE-TRAINER-SHARE-SEED.json holds for each row 1, 0 or .5 (equal scores), no text.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results" / "reward_models"
CASES = ("hh_helpful", "hh_harmless", "pandalm")
MODEL = "smollm2-135m-instruct"
NUM_FOLDS = 5
# The same for both trainers, and set before any test row was scored.
SETTINGS = {"learning_rate": 2e-5, "num_epochs": 1.0, "batch_size": 16, "warmup": 0.05}


def rows_of(case: str) -> list[dict[str, Any]]:
    """The untied rows of a case."""
    folder = os.environ.get("ACCORD_DATA")
    if not folder:
        sys.exit("ACCORD_DATA is not set: name the folder that holds prefs/")
    with gzip.open(Path(folder) / "prefs" / f"{case}.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [row for row in rows if not row.get("tie")]


def groups_of(rows: list[dict[str, Any]]) -> np.ndarray:
    """[n]: rows whose first user's turns are the same but for case, punctuation and spaces share a group."""
    first = [next(turn["content"] for turn in row["prompt"] if turn["role"] == "user") for row in rows]
    plain = [" ".join(re.sub(r"[^\w\s]", " ", text.lower()).split()) for text in first]
    _, groups = np.unique(plain, return_inverse=True)
    return groups


def folds_of(groups: np.ndarray, seed: int, num_folds: int = NUM_FOLDS) -> np.ndarray:
    """[n]: the fold of each row; whole groups, dealt at random, the largest first, each to the smallest fold."""
    rng = np.random.default_rng(seed)
    sizes = np.bincount(groups)
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of_group, filled = np.zeros(len(sizes), dtype=int), np.zeros(num_folds)
    for group in order:
        fold = int(np.argmin(filled))
        fold_of_group[group] = fold
        filled[fold] += sizes[group]
    return fold_of_group[groups]


def longer(rows: list[dict[str, Any]]) -> np.ndarray:
    """[n]: 1 where the chosen response has more words, one half where both have as many: what equal scores count."""
    gaps = [len(row["chosen"].split()) - len(row["rejected"].split()) for row in rows]
    return 0.5 + 0.5 * np.sign(np.array(gaps, dtype=float))


def tf_idf(rows: list[dict[str, Any]], folds: np.ndarray) -> np.ndarray:
    """[n]: whether a logistic regression on differences of TF-IDF vectors (1- and 2-grams), fitted on the other folds,
    prefers the chosen response."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    right = np.zeros(len(rows))
    for fold in np.unique(folds):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        words = TfidfVectorizer(ngram_range=(1, 2), min_df=2)
        words.fit([rows[i][side] for i in train for side in ("chosen", "rejected")])
        gaps = {
            which: words.transform([rows[i]["chosen"] for i in where])
            - words.transform([rows[i]["rejected"] for i in where])
            for which, where in (("train", train), ("test", test))
        }
        signs = np.where(np.arange(len(train)) % 2 == 0, 1.0, -1.0)  # both classes, without an intercept
        model = LogisticRegression(fit_intercept=False, max_iter=1000)
        model.fit(gaps["train"].multiply(signs[:, None]).tocsr(), signs)
        right[test] = 0.5 + 0.5 * np.sign(model.decision_function(gaps["test"]))
    return right


def floors_of(rows: list[dict[str, Any]], folds: np.ndarray) -> dict[str, np.ndarray]:
    """[n] each: what is right without knowing anything of quality."""
    by_length = longer(rows)
    return {"longest": by_length, "shortest": 1 - by_length, "TF-IDF": tf_idf(rows, folds)}


def trained_rows(folds: np.ndarray, groups: np.ndarray, fold: int, share: float, seed: int) -> np.ndarray:
    """The rows that a fold's model is trained on: of a share of the prompts; a smaller share is part of a larger."""
    train = np.flatnonzero(folds != fold)
    if share == 1.0:
        return train
    own = np.random.default_rng([seed, fold]).permutation(np.unique(groups[train]))
    return train[np.isin(groups[train], own[: round(share * len(own))])]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """A file of TRL's columns that either trainer reads."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            sides = {side: [{"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")}
            file.write(json.dumps({"prompt": row["prompt"], **sides}) + "\n")


def recipe_of(train: Path, seed: int) -> dict[str, Any]:
    """A reward model from the model as it comes."""
    return {
        "model": MODEL,
        "seed": seed,
        "data": {"fold": {"source": str(train), "defects": "drop"}},
        "steps": [{"reward": {"name": "rm", "data": "fold", "start": "start", "margin": "none", **SETTINGS}}],
    }


def with_accord(train: Path, test: Path, seed: int, folder: Path) -> tuple[list[float], dict[str, Any]]:
    """Score gaps of the test rows, and what training took."""
    import accord

    run = accord.run_recipe(recipe_of(train, seed), store=folder / "store")
    step = run.step("rm")
    reward = run.reward("rm")
    rows = [json.loads(line) for line in test.read_text(encoding="utf-8").splitlines()]
    pairs = [[row["chosen"][0]["content"], row["rejected"][0]["content"]] for row in rows]
    gaps = [first - second for first, second in reward.score([row["prompt"] for row in rows], pairs)]
    return gaps, {"seconds": step.seconds, "num_comparisons": step.summary()["num_comparisons"]}


def with_trl(train: Path, test: Path, seed: int, folder: Path, python: str) -> tuple[list[float], dict[str, Any]]:
    """The same from TRL's RewardTrainer, in an environment of its own. It starts from the same folder."""
    import accord

    model = accord.run_recipe(recipe_of(train, seed), store=folder / "store", until="model")
    settings = {"model": str(model.step("model").folder / "model"), "seed": seed, **SETTINGS}
    script = Path(__file__).parent / "peers" / "trl_reward.py"
    out = folder / "out.json"
    environment = {**os.environ, "TRL_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}
    command = [python, str(script), str(train), str(test), str(out), json.dumps(settings)]
    subprocess.run(command, check=True, env=environment)
    found = json.loads(out.read_text(encoding="utf-8"))
    return found.pop("gaps"), found


def run(arguments: argparse.Namespace) -> None:
    """All folds of a case that are not done yet."""
    rows = rows_of(arguments.case)
    groups = groups_of(rows)
    folds = folds_of(groups, seed=0)  # the same for every seed and trainer, so that they pair
    name = f"{arguments.case}-{arguments.trainer}-{arguments.share:g}-{arguments.seed}"
    path = RESULTS / f"{name}.json"
    done: dict[str, Any] = {"case": arguments.case, "trainer": arguments.trainer, "share": arguments.share}
    done |= {"seed": arguments.seed, "model": MODEL, "settings": SETTINGS, "folds": {}}
    if path.exists():
        done = json.loads(path.read_text(encoding="utf-8"))
        if done["settings"] != SETTINGS or done["model"] != MODEL:
            sys.exit(f"{path} was made with other settings: move it away")
    for fold in range(NUM_FOLDS):
        if str(fold) in done["folds"]:
            continue
        with tempfile.TemporaryDirectory(prefix="accord-bench-", dir=arguments.scratch) as scratch:
            folder = Path(scratch)
            train, test = folder / "train.jsonl", folder / "test.jsonl"
            own = np.flatnonzero(folds == fold)
            write(train, [rows[i] for i in trained_rows(folds, groups, fold, arguments.share, arguments.seed)])
            write(test, [rows[i] for i in own])
            began = time.monotonic()
            if arguments.trainer == "accord":
                gaps, facts = with_accord(train, test, arguments.seed, folder)
            else:
                gaps, facts = with_trl(train, test, arguments.seed, folder, arguments.trl_python)
            facts["wall_seconds"] = round(time.monotonic() - began, 1)
            shutil.rmtree(folder / "store", ignore_errors=True)
        right = {str(i): 0.5 + 0.5 * float(np.sign(gap)) for i, gap in zip(own, gaps, strict=True)}
        done["folds"][str(fold)] = {**facts, "accuracy": float(np.mean(list(right.values()))), "right": right}
        RESULTS.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(done) + "\n", encoding="utf-8")
        print(f"{name} fold {fold}: {done['folds'][str(fold)]['accuracy']:.3f} of {len(own)}", flush=True)


def paired(right: np.ndarray, floor: np.ndarray, groups: np.ndarray) -> tuple[float, float, float]:
    """The difference of two accuracies on the same rows, and its 95 % bootstrap interval by prompt."""
    from accord.algorithms.statistics import bootstrap_mean

    found = bootstrap_mean(right - floor, seed=0, groups=groups, num_resamples=10_000)
    return found.value, found.low, found.high


def table() -> None:
    """Everything that is done, a line for each case, trainer and share: the seeds' answers are averaged row by row, so
    that an interval over prompts is one of the average of these seeds. The floors are on the same rows."""
    from accord.algorithms.statistics import bootstrap_mean

    grouped: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for path in sorted(RESULTS.glob("*.json")):
        done = json.loads(path.read_text(encoding="utf-8"))
        grouped.setdefault((done["case"], done["trainer"], done["share"]), []).append(done)
    columns = ("case", "trainer", "share", "seeds", "n", "accuracy", "by seed")
    columns += ("longest", "shortest", "TF-IDF", "above the best floor")
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    known: dict[str, Any] = {}
    for (case, trainer, share), seeds in grouped.items():
        if case not in known:
            rows = rows_of(case)
            groups = groups_of(rows)
            known[case] = (groups, floors_of(rows, folds_of(groups, seed=0)))
        groups, floors = known[case]
        answers = [{int(i): v for fold in one["folds"].values() for i, v in fold["right"].items()} for one in seeds]
        own = np.array(sorted(set.intersection(*map(set, answers))))  # rows of folds that every seed has done
        values = np.array([[of_seed[i] for i in own] for of_seed in answers])
        accuracy = bootstrap_mean(values.mean(axis=0), seed=0, groups=groups[own])
        floor = max(floors.values(), key=lambda one: one.mean())  # the best one over all rows of the case
        difference = paired(values.mean(axis=0), floor[own], groups[own])
        cells = [
            case,
            trainer,
            f"{share:g}",
            ", ".join(str(one["seed"]) for one in seeds),
            str(len(own)),
            f"{accuracy.value:.3f} ({accuracy.low:.3f} to {accuracy.high:.3f})",
            ", ".join(f"{one:.3f}" for one in values.mean(axis=1)),
            *(f"{one[own].mean():.3f}" for one in floors.values()),
            f"{difference[0]:+.3f} ({difference[1]:+.3f} to {difference[2]:+.3f})",
        ]
        print("| " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--case", choices=CASES, required=True)
    running.add_argument("--seed", type=int, required=True)
    running.add_argument("--share", type=float, default=1.0, help="of the training prompts")
    running.add_argument("--trainer", choices=("accord", "trl"), default="accord")
    running.add_argument("--trl-python", help="the Python of an environment that has trl==1.16")
    running.add_argument("--scratch", type=Path, help="where models lie while they are needed")
    commands.add_parser("table")
    arguments = parser.parse_args()
    if arguments.command == "table":
        table()
    elif arguments.trainer == "trl" and not arguments.trl_python:
        parser.error("--trainer trl needs --trl-python")
    else:
        run(arguments)


if __name__ == "__main__":
    main()
