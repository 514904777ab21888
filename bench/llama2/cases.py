"""All cases: what makes each of them, and a digest of its settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.llama2 import auxiliary, cross, distillation, margin, rounds
from bench.llama2.common import Row


@dataclass(frozen=True, slots=True)
class Case:
    """settings: of a case's name and a seed, all that its numbers depend on. measure: of these and a folder for what is
    thrown away, the numbers that are kept."""

    settings: Callable[[str, int], Row]
    measure: Callable[[str, int, Path], Row]


CASES: Mapping[str, Case] = {
    **{f"margin-{size}": Case(margin.settings, margin.measure) for size in margin.MARGINS},
    **{f"auxiliary-{coef}": Case(auxiliary.settings, auxiliary.measure) for coef in auxiliary.COEFS},
    **{f"cross-{home}": Case(cross.settings, cross.measure) for home in cross.HOMES},
    "rounds": Case(rounds.recipe_of, rounds.measure),
    **{
        f"distillation-{context}": Case(distillation.settings, distillation.measure)
        for context in distillation.CONTEXTS
    },
}


def settings_of(case: str, seed: int) -> str:
    """A digest of the settings. Results of other ones do not belong into one table."""
    settings = CASES[case].settings(case, seed)
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
