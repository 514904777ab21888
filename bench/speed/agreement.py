"""Whether contestants compute the same: loss and gradient norm of the first step, against Accord's.

How far they may differ, as a share of Accord's value:

    both in fp32         1e-3: the order of sums alone (seen: 1e-6 to 1e-5)
    both in bfloat16     3e-2: a rounded number is off by up to 2^-9 = 0.2 %, in other places for each, and thirty
                         layers add that up (seen: 0.3 to 0.4 %); a wrong mask, a lost token or another mean is more
    fp32 and bfloat16    1e-1: what rounding costs, whoever rounds. Weights are rounded alike by all, so that those in
                         bfloat16 are off in the same direction (seen: 3 to 4 % of a reward model's loss on two pairs)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FP32, BF16, MIXED = 1e-3, 3e-2, 1e-1


@dataclass(frozen=True, slots=True)
class Difference:
    """Of a contestant from what it is compared with, in a round, as a share."""

    round: int
    contestant: str
    against: str
    quantity: str
    share: float
    allowed: float

    @property
    def agrees(self) -> bool:
        return self.share <= self.allowed


def differences(
    rounds: Sequence[Mapping[str, Mapping[str, Any]]],
    dtypes: Mapping[str, str],
    compared: Sequence[str],
    first: str,
) -> list[Difference]:
    """rounds: results by contestant. In fp32 `FIRST-fp32` is what is compared with, where it ran."""
    found = []
    for number, results in enumerate(rounds):
        for name, result in results.items():
            full, exact = dtypes[name] == "float32", f"{first}-fp32"
            against = exact if full and exact in results and name != exact else first
            if name == against or against not in results:
                continue
            same = dtypes[name] == dtypes[against]
            allowed = (FP32 if full else BF16) if same else MIXED
            for quantity in compared:
                own, other = result.get(quantity), results[against].get(quantity)
                if own is None or other is None:
                    continue
                share = abs(own - other) / max(abs(other), 1e-12)
                share = share if share == share else float("inf")
                found.append(Difference(number, name, against, quantity, share, allowed))
    return found
