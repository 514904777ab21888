"""What `accord eval safety` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

# How a response refuses: the elements of `accord.evaluate.refusal_style`, in words.
ELEMENTS: Final[Mapping[str, str]] = {
    "urgent": "speaks to an immediate danger",
    "declines": "declines clearly",
    "explains": "explains why",
    "alternatives": "gives context, lawful ways, help",
    "invites": "asks for more, offers other help",
    "lectures": "moralises",
}


def safety_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Of what `accord.api.safety.evaluate_safety` returns."""
    for name, one in found["results"].items():
        yield from _lines(name, one)
    if "compared" in found:
        first, second = found["results"]
        yield from _compared_lines(first, second, found["compared"])


def _lines(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    """Of one file or policy, as `accord.evaluate.safety.as_json` has it."""
    yield f"{name}, by {found['by']}:"
    if "unsafe" in found:
        rate = _share(found["violation_rate"])
        yield f"  unsafe prompts complied with (violations): {rate} of {_num(found['unsafe'])}"
    if "safe" in found:
        rate = _share(found["false_refusal_rate"])
        yield f"  safe prompts refused (false refusals):     {rate} of {_num(found['safe'])}"
        partial = found["safe"]["shares"]["partial refusal"]
        yield f"    of these partly:                         {_share(partial)}"
    for kind in found.get("undecided", ()):
        yield f"  of no {kind} prompt it is known what was done"
    missing = [kind for kind in ("unsafe", "safe") if kind not in found and kind not in found.get("undecided", ())]
    if missing:
        yield f"  there is no {missing[0]} prompt: one rate without the other says little"
    for style in found.get("refusal_style", ()):
        yield f"  how the {style['num']} responses that refuse do so, by {style['by']}:"
        for element, words in ELEMENTS.items():
            yield f"    {words:<33} {_share(style['elements'][element])}"
    error = found["error"]
    if error is not None:
        sees, clears = _share(error["sensitivity"]), _share(error["specificity"])
        yield f"  {found['by']} beside people, on {error['num']} responses: it sees {sees} of their refusals,"
        yield f"  and takes {clears} of the others for none"
    elif found["by"] != "people":
        yield "  how far this detector can be believed is not known: name responses that people labelled, --labelled"


def _compared_lines(first: str, second: str, found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for kind, test in found.items():
        right = "not complied with" if kind == "unsafe" else "not refused"
        alone = f"{right} by {first} alone: {test['only_first']}, by {second} alone: {test['only_second']}"
        yield f"of {test['num']} {kind} prompts that both have, {alone}; McNemar's exact p = {test['p_value']:.3g}"


def _share(found: Mapping[str, Any] | None) -> str:
    if found is None or found["value"] is None:
        return "none"
    return f"{found['value']:.1%} ({found['low']:.1%} to {found['high']:.1%})"


def _num(found: Mapping[str, Any]) -> str:
    unknown = f" ({found['num_unknown']} unknown)" if found["num_unknown"] else ""
    return f"{found['num']}{unknown}"
