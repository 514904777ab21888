"""Whether a key was written by a person, or stands there because a preset or a default brought it."""

from __future__ import annotations

from typing import Any

from accord.engine.on_policy.presets import PRESETS


def given(config: Any, key: str) -> bool:
    """By the recipe; what a preset fills in stands there for a purpose."""
    preset = getattr(config, "preset", None)
    of_preset = preset is not None and PRESETS[preset].values.get(key, ...) == getattr(config, key)
    return key in config.model_fields_set and not of_preset


def blamed(config: Any, key: str) -> str:
    """The key to point at: the preset where that has brought this one."""
    return key if getattr(config, "preset", None) is None or given(config, key) else "preset"
