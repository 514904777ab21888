"""What a step counted, for whoever looks at a run."""

from __future__ import annotations

import json

from accord.monitor.ended import ending
from accord.store.artifacts import Artifact


def counts_of(artifact: Artifact) -> list[str]:
    """What a step counted, from its summary.json: how much it used, and what it left out.

    Top-level numbers called num_...: "174 demonstrations", "3 too long". Of data the records of each part, and what
    was left out of each source by its flaw. Of training that stopped early, or that an alarm ended, whose weights
    are kept; and its alarms.
    """
    try:
        summary = json.loads((artifact.path / "summary.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    numbers = {name.removeprefix("num_"): value for name, value in summary.items() if name.startswith("num_")}
    counts = [f"{value} {name.replace('_', ' ')}" for name, value in numbers.items() if value]
    counts += [f"{part} {one['num_records']} {one['kind']}" for part, one in summary.get("parts", {}).items()]
    if (ended := ending(summary)) is not None:
        counts.append(ended)
    elif summary.get("stopped_early"):
        counts.append(f"stopped early, and the weights after optimizer step {summary['best_step']} are kept")
    if "stopped_at_kl" in summary:
        counts.append(f"ended at a KL of {summary['stopped_at_kl']:.3g} nats, above stop_at_kl")
    for one in summary.get("alarms", []):
        since = f", from {one['since']} on" if one["since"] else ""
        counts.append(f"alarm{since}: {one['what']}")
    sources = summary.get("sources")
    for part, one in sources.items() if isinstance(sources, dict) else ():
        flaws = ", ".join(f"{code} {count}" for code, count in one["flaws"].items())
        counts += [f"{one['num_left_out']} of the {one['num_rows']} rows of {part} left out ({flaws})"] if flaws else []
    return counts
