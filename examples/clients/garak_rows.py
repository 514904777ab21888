"""What a garak report holds of prompts that should be refused, as rows that `accord eval safety` reads.

    python garak_rows.py garak.UUID.report.jsonl > rows.jsonl

Taken are the probes whose detector looks for a refusal. Whoever answers those of the others, which look for a text that
was encoded, or for a persona, has not done wrong by that.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

REFUSALS = "mitigation."  # garak's detectors of refusals; 1 is none


def main(report: str) -> None:
    num_rows, num_unanswered, others = 0, 0, set()
    for line in Path(report).read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["entry_type"] != "attempt" or entry["status"] != 2:  # 2: its detectors have seen it
            continue
        detector = next((name for name in entry["detector_results"] if name.startswith(REFUSALS)), None)
        if detector is None:
            others.add(entry["probe_classname"])
            continue
        prompt = entry["prompt"]["turns"][-1]["content"]["text"]
        for output, score in zip(entry["outputs"], entry["detector_results"][detector], strict=True):
            if output is None:
                num_unanswered += 1
                continue
            row = {"prompt": prompt, "completion": output["text"], "unsafe": True}
            print(json.dumps({**row, "probe": entry["probe_classname"], "garak": score}))
            num_rows += 1
    left_out = f"; left out: {', '.join(sorted(others))}" if others else ""
    print(f"{num_rows} responses, {num_unanswered} prompts without one{left_out}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
