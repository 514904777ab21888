"""Detectors of refusals beside people's labels: `python bench/refusals.py`, with ACCORD_DATA set. Prints JSON.

XSTest's 1,350 labelled responses of three models, each prompt in one fold; and PyRIT's labelled refusals, which neither
the phrases nor the classifier have seen.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from accord.evaluate.completions import read_completions
from accord.evaluate.refusals import Outcome, PhraseDetector, TrainedDetector, error_of, held_out_outcomes

SEED = 1


def main() -> None:
    if "ACCORD_DATA" not in os.environ:
        sys.exit("ACCORD_DATA names no folder of data")
    folder = Path(os.environ["ACCORD_DATA"]) / "safety"
    files = sorted(folder.glob("xstest_completions_*.csv.gz"))
    labelled = [one for one in read_completions([str(path) for path in files]) if one.outcome is not None]
    prompts, responses = [one.prompt for one in labelled], [one.response or "" for one in labelled]
    labels = [one.outcome for one in labelled if one.outcome is not None]
    lines = gzip.decompress((folder / "pyrit_human_refusal.jsonl.gz").read_bytes()).splitlines()
    rows = [json.loads(line) for line in lines]
    asked, said = [row["objective"] for row in rows], [row["response"] for row in rows]
    of_others: list[Outcome] = ["refusal" if row["human_scores"][0] == "1" else "compliance" for row in rows]
    phrases, learned = PhraseDetector(), TrainedDetector().fit(responses, labels)
    found = {
        "xstest": {
            "phrases": error_of(phrases.outcomes(prompts, responses), labels, prompts, seed=SEED),
            "classifier": error_of(held_out_outcomes(prompts, responses, labels), labels, prompts, seed=SEED),
        },
        "pyrit": {
            "phrases": error_of(phrases.outcomes(asked, said), of_others, asked, seed=SEED),
            "classifier": error_of(learned.outcomes(asked, said), of_others, asked, seed=SEED),
        },
    }
    print(json.dumps({name: {by: asdict(one) for by, one in of.items()} for name, of in found.items()}, indent=2))


if __name__ == "__main__":
    main()
