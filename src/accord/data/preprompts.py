"""Preprompts: what is put before a prompt so that a policy answers it more safely, from templates in a file.

Generic ones say what the assistant is like; tailored ones say how to answer a prompt of one risk category, in four
parts, as Llama 2 had them (Touvron et al. 2023, section 4.2.4 and appendix A.4). Ours are in preprompts.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import resources
from typing import Any, Final, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator

from accord.config_errors import explain
from accord.errors import UserError, did_you_mean
from accord.paths import text_file
from accord.seeds import derive_seed
from accord.store.digests import digest_of
from accord.strict import StrictModel
from accord.types import Message, Prompt
from accord.yaml_lines import KeyPath, parse_yaml

OURS: Final = "preprompts.yaml"
_ADJECTIVE, _CATEGORY = "adjective", "category"
_PLACE = re.compile(r"\{(\w*)\}")


class _Wrong(ValueError):
    """Of a template. path: from where it was found."""

    def __init__(self, path: KeyPath, what: str) -> None:
        self.path = path
        super().__init__(what)


class Category(StrictModel):
    """also: other names of the category. templates: of preprompts for its prompts."""

    also: tuple[str, ...] = ()
    templates: tuple[str, ...] = Field(min_length=1)


class Preprompts(StrictModel):
    """adjectives: that are put into templates. generic: templates for any prompt. tailored: those for the prompts of a
    risk category, by its name."""

    adjectives: tuple[str, ...] = ()
    generic: tuple[str, ...] = Field(min_length=1)
    tailored: dict[str, Category] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for path, template in self._templates():
            places = _PLACE.findall(template)
            known = {_ADJECTIVE} if path[0] == "generic" else {_ADJECTIVE, _CATEGORY}
            if unknown := [place for place in places if place not in known]:
                may = " and ".join(f"{{{place}}}" for place in sorted(known))
                raise _Wrong(path, f"nothing stands for {{{unknown[0]}}}: a template here may have {may}")
            if places.count(_ADJECTIVE) > len(set(self.adjectives)):
                num = len(set(self.adjectives))
                raise _Wrong(path, f"{places.count(_ADJECTIVE)} different adjectives are wanted, and there are {num}")
            if not template.strip():
                raise _Wrong(path, "the template is empty")
        names: dict[str, str] = {}
        for category, own in self.tailored.items():
            for name in (category, *own.also):
                if names.setdefault(_plain(name), category) != category:
                    other = names[_plain(name)]
                    path = ("tailored", category) if name == category else ("tailored", category, "also")
                    raise _Wrong(path, f"{name!r} is also a name of {other!r}")
        return self

    @property
    def fingerprint(self) -> str:
        """Of all that a preprompt is made from."""
        return digest_of(self.model_dump(mode="json"))

    def category_of(self, risk_category: str) -> str | None:
        """The category that a prompt's goes by here, whatever its case and punctuation; None: there is no template."""
        wanted = _plain(risk_category)
        return next(
            (name for name, own in self.tailored.items() if wanted in {_plain(one) for one in (name, *own.also)}), None
        )

    def without_template(self, risk_category: str) -> str:
        """A sentence on a category that has none, and what there is."""
        known = [name for category, own in self.tailored.items() for name in (category, *own.also)]
        return f"no template is for the risk category {risk_category!r}. {did_you_mean(risk_category, known)}"

    def generic_for(self, prompt: Prompt, seed: int) -> str:
        """One of the generic preprompts, drawn for the prompt."""
        return self._drawn(self.generic, "generic", prompt, seed)

    def tailored_for(self, prompt: Prompt, seed: int) -> str:
        """One of those of the prompt's category, which has one, drawn for the prompt."""
        category = self.category_of(prompt.risk_category)
        assert category is not None, "whoever asks has looked"
        return self._drawn(self.tailored[category].templates, category, prompt, seed)

    def _drawn(self, templates: tuple[str, ...], category: str, prompt: Prompt, seed: int) -> str:
        generator = np.random.Generator(np.random.Philox(key=derive_seed(seed, "preprompt", category, prompt.id)))
        template = templates[int(generator.integers(len(templates)))]
        own = list(dict.fromkeys(self.adjectives))
        words = iter([own[i] for i in generator.permutation(len(own))])
        return _PLACE.sub(lambda place: next(words) if place[1] == _ADJECTIVE else category, template)

    def _templates(self) -> Iterator[tuple[KeyPath, str]]:
        for at, template in enumerate(self.generic):
            yield ("generic", at), template
        for name, own in self.tailored.items():
            for at, template in enumerate(own.templates):
                yield ("tailored", name, "templates", at), template


def load_preprompts(file: str | None = None) -> Preprompts:
    """Those of a YAML or JSON file; None: ours. Raises UserError with `file:line:field` for what does not fit."""
    if file is None:
        text, where = (resources.files("accord.data") / OURS).read_text(encoding="utf-8"), OURS
    else:
        text, where = text_file(file, "the file of preprompts"), file
    found, lines = parse_yaml(text, where)
    if not isinstance(found, dict):
        what = "a map with the keys generic and tailored is wanted"
        raise UserError(what, where=where, remedy="docs/safety.md has an example.")
    try:
        return Preprompts.model_validate(found)
    except ValidationError as error:
        raise _located(error, where, lines) from error


def with_preprompt(prompt: Prompt, preprompt: str, *, system: bool) -> Prompt:
    """The prompt as it is asked with a preprompt. system: in the system's turn, before what it says already; else
    before the user's last message."""
    messages = list(prompt.messages)
    at = 0 if system else max(i for i, message in enumerate(messages) if message.role == "user")
    if system and messages[0].role != "system":
        messages.insert(0, Message("system", preprompt))
    else:
        messages[at] = replace(messages[at], content=f"{preprompt}\n\n{messages[at].content}")
    return replace(prompt, messages=tuple(messages))


def _plain(name: str) -> str:
    """A name without case and punctuation."""
    return " ".join(re.findall(r"\w+", name.casefold()))


def _located(error: ValidationError, where: str, lines: Mapping[KeyPath, int]) -> UserError:
    """The first thing that is wrong, unknown keys before those that are missing, with its line."""
    problems: list[Any] = error.errors(include_url=False)
    problem = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    path: KeyPath = problem["loc"]
    own = problem.get("ctx", {}).get("error")
    if isinstance(own, _Wrong):
        path, what, remedy = own.path, str(own), "Change the template, or the names and adjectives."
    elif problem["type"] in ("missing", "too_short") and path[-1:] == ("templates",):
        what, remedy = f"the category {str(path[-2])!r} has no template", "Write one in its list `templates`."
    elif problem["type"] == "missing":
        what, remedy = f"the key {str(path[-1])!r} is missing", "Add it to the file."
    else:
        fields = Preprompts.model_fields if len(path) == 1 else Category.model_fields
        what, remedy = explain(problem, fields)
    line = next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), 1)
    return UserError(what, where=f"{where}:{line}:{'.'.join(map(str, path))}".rstrip(":"), remedy=remedy)
