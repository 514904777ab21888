"""How far people agree within the groups that they declared, and across them; and who can be believed how far."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import combinations_with_replacement

import numpy as np
from sqlalchemy import Connection

from accord.algorithms.agreement import Bools, Floats, agreement_between
from accord.algorithms.statistics import wilson
from accord.labels.declared import LEAST, Kind, groups_among
from accord.labels.quality import Share, rated
from accord.labels.snapshot import said


@dataclass(frozen=True, slots=True)
class Between:
    """first == second: of every two people of a group. Else of one who is of the first alone and one who is of the
    second alone."""

    kind: Kind
    first: str
    second: str
    agree: Share


@dataclass(frozen=True, slots=True)
class Believed:
    """accuracy: how often this person is estimated to say what is true of two responses."""

    pseudonym: str
    num_rated: int
    accuracy: float


def by_group(connection: Connection, campaign_id: int) -> list[Between]:
    """The share of answers of two people to the same two responses that agree, within each group and between every two
    of a kind, where at least `LEAST` people of each side have answered what one of the other side has. Intervals take
    the pairs of answers to be independent, which those to one item are not quite."""
    answered = [one for one in said(connection, campaign_id) if one.gold is None]
    people, ratings = rated(answered)
    of_pseudonym = {one.pseudonym: one.user for one in answered}
    groups = groups_among(connection, set(of_pseudonym.values()))
    members = {name: np.array([of_pseudonym[one] in ids for one in people]) for name, ids in groups.items()}
    found = []
    for (kind, first), (other_kind, second) in combinations_with_replacement(groups, 2):
        if kind == other_kind and _enough(ratings, members[kind, first], members[kind, second], first == second):
            same, num = agreement_between(ratings, members[kind, first], members[kind, second])
            found.append(Between(kind, first, second, Share(num, wilson(same, num))))
    return found


def _enough(ratings: Floats, first: Bools, second: Bools, within: bool) -> bool:
    """Whether a share says nothing of fewer than `LEAST` people: of a group's, or of those of one group alone."""
    there = ~np.isnan(ratings)
    one, other = (first, first) if within else (first & ~second, second & ~first)
    both = there.T.astype(np.int64) @ there.astype(np.int64)
    together = (both > 0) & ~np.eye(len(both), dtype=bool) & np.outer(one, other)
    return int(min(together.any(axis=1).sum(), together.any(axis=0).sum())) >= LEAST


def can_believe() -> bool:
    """Whether what Dawid and Skene's estimate takes is installed."""
    return find_spec("crowdkit") is not None


def believed(connection: Connection, campaign_id: int) -> list[Believed]:
    """Dawid and Skene's estimate (1979, Applied Statistics 28) of how often each person is right, of items of which
    nobody knows what is right: those are believed more with whom the others agree. Where items have few answers, or
    people give few, it says little. crowd-kit's; call it where `can_believe`."""
    people, ratings = rated([one for one in said(connection, campaign_id) if one.gold is None])
    twice = ratings[(~np.isnan(ratings)).sum(axis=1) >= 2]
    return _dawid_skene(people, twice) if len(twice) else []


def _dawid_skene(people: Sequence[str], ratings: Floats) -> list[Believed]:
    import pandas as pd
    from crowdkit.aggregation import DawidSkene

    units, raters = np.nonzero(~np.isnan(ratings))
    frame = pd.DataFrame({"task": units, "worker": raters, "label": ratings[units, raters].astype(int)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # how crowd-kit calls pandas is not for our users to mend
        fitted = DawidSkene(n_iter=100, tol=1e-6).fit(frame)
    assert fitted.errors_ is not None  # [(rater, what is said), what is true]
    assert fitted.priors_ is not None
    right = np.zeros(len(people))
    for (rater, label), said_if in fitted.errors_.iterrows():
        right[rater] += fitted.priors_.get(label, 0.0) * said_if.get(label, 0.0)
    num = (~np.isnan(ratings)).sum(axis=0)
    return [Believed(people[i], int(num[i]), float(right[i])) for i in np.unique(raters)]
