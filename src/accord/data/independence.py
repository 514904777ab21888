"""Which comparisons belong together when they are drawn, or dealt to parts: those that say something of one another."""

from __future__ import annotations

from collections.abc import Sequence

from accord.types import Ranking


def groups_of(rankings: Sequence[Ranking]) -> list[int]:
    """A number for each ranking, equal where they belong together, in the order in which they come first.

    That is where their prompts are equal. Where all have one and the same prompt, as ratings of texts on a common
    instruction do, it is where they share a response, directly or through others.
    """
    prompts = [(one.prompt.messages, one.prompt.prefill) for one in rankings]
    if len(set(prompts)) > 1:
        return _numbered(prompts)
    first_with: dict[str, int] = {}
    parent = list(range(len(rankings)))

    def root(of: int) -> int:
        while parent[of] != of:
            parent[of] = of = parent[parent[of]]
        return of

    for number, ranking in enumerate(rankings):
        for response in ranking.responses:
            parent[root(number)] = root(first_with.setdefault(response.text, number))
    return _numbered([root(number) for number in range(len(rankings))])


def _numbered(names: Sequence[object]) -> list[int]:
    known: dict[object, int] = {}
    return [known.setdefault(name, len(known)) for name in names]
