"""A long text read in pieces, so that others can be written on in between; the numbers are those of `readings.read`."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from accord.engine.cache import SlotCache
from accord.engine.readings import Reading, Text, read_rows
from accord.models.compute import device_of
from accord.models.policy import Policy, hidden_states


def read_in_pieces(policy: Policy, text: Text, num_tokens: int) -> Iterator[list[Reading]]:
    """The readings of the text, those that a pass over the next `num_tokens` of its tokens gives at a time."""
    cache, device, ids = SlotCache(policy.module), device_of(policy.module), text.ids
    prompt = cache.new_prompt(len(ids))
    for start in range(0, len(ids), num_tokens):
        end = min(start + num_tokens, len(ids))
        wanted: list[tuple[int, int | None]] = [(text.num_top, token) for token in ids[start + 1 : end + 1]]
        if end == len(ids) and text.follow:
            wanted.append((text.num_top, None))
        with torch.no_grad():
            cache.begin_piece(prompt, start, end)
            own, places = torch.tensor([ids[start:end]], device=device), torch.arange(start, end, device=device)
            states = hidden_states(policy.backbone, own, places[None], cache)
            found = list(read_rows(policy, states[: len(wanted)], wanted))
        yield found
