"""Why something that was asked of the label database is not done. The text is for the person who asked."""

from __future__ import annotations


class Refused(Exception):
    """Base of what follows."""


class Missing(Refused):
    """There is no such thing, or not for this person."""


class Conflict(Refused):
    """Not now: something else happened before."""


class Unfit(Refused):
    """What was sent does not fit what was asked."""
