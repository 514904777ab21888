"""What pydantic says, in the words of YAML."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from accord.config_errors import explain
from accord.strict import StrictModel


class Config(StrictModel):
    num_samples: int = Field(4, gt=1)
    clip_range: float = 0.2
    how: Literal["mean", "worst"] = "mean"
    loss: Literal["dpo", "ipo"] = "dpo"
    watch: tuple[str, ...] = Field(("a",), min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Config:
        if self.num_samples > 9:
            raise ValueError("too many samples for that")
        return self


def explained(**values: object) -> tuple[str, str]:
    with pytest.raises(ValidationError) as raised:
        Config.model_validate(values)
    return explain(raised.value.errors(include_url=False)[0], Config.model_fields)


@pytest.mark.parametrize(
    ("values", "what", "remedy"),
    [
        ({"num_generations": 8}, "unknown key 'num_generations'", "It is called 'num_samples' here."),
        ({"cliprange": 0.2}, "unknown key 'cliprange'", "It is called 'clip_range' here."),
        ({"num_sample": 8}, "unknown key 'num_sample'", "Did you mean 'num_samples'?"),
        ({"how": "worts"}, "it should be 'mean' or 'worst'", "Did you mean 'worst'?"),
        ({"how": "min"}, "it should be 'mean' or 'worst'", "It is called 'worst' here."),
        ({"how": "sum"}, "it should be 'mean' or 'worst'", "It is 'sum'."),
        ({"loss": "sigmoid"}, "it should be 'dpo' or 'ipo'", "It is called 'dpo' here."),
        ({"clip_range": "wide"}, "it should be a number", "It is 'wide'."),
        ({"num_samples": "many"}, "it should be a whole number", "It is 'many'."),
        ({"watch": "gold"}, "it should be a list", "Write [gold]."),
        ({"watch": []}, "a list of at least 1 is wanted", "It has 0."),
        ({"num_samples": 12}, "too many samples for that", "Change a key that this names, or leave it out."),
    ],
)
def test_explained(values: dict[str, object], what: str, remedy: str) -> None:
    assert explained(**values) == (what, remedy)


def test_a_wall_of_keys_is_not_shown() -> None:
    problem = {"loc": ("zzz",), "type": "extra_forbidden", "input": 1, "msg": ""}
    assert explain(problem, ["a", "b"])[1] == "Known: a, b."
    assert explain(problem, [f"key_{i}" for i in range(13)])[1].endswith("lists them, in build/site/recipes.")
