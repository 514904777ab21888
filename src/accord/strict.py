"""What every configuration is made from: an unknown key is an error, and so is a true or an infinity as a number."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Later:
    """Marks a key, in `Annotated`, that came when artifacts were kept already: at its default it is in no step's key
    (`accord.plan`), so that what was made before it came still holds."""


class StrictModel(BaseModel):
    """Frozen, without unknown keys; numbers are finite, and true is none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and not (annotation is bool or bool in get_args(annotation)):
            raise ValueError("true and false are not wanted here")
        return value

    def identity(self) -> dict[str, Any]:
        """What it says, as JSON, that makes it another than others of its class: its keys, without those that are
        `Later` and at their defaults."""
        fields = type(self).model_fields.items()
        later = [name for name, field in fields if any(isinstance(mark, Later) for mark in field.metadata)]
        exclude = {name for name in later if getattr(self, name) == type(self).model_fields[name].default}
        return self.model_dump(mode="json", exclude=exclude)
