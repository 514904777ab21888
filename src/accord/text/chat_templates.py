"""Chat templates that a recipe can name (`model: {source: ..., chat_template: plain}`), and how a template is mended.

Each ends exactly at the token that ends the turn and adds no system message unasked. What is mended in a template of
the model's own is mended in its text, so that every tool that reads the saved folder renders as Accord does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from accord.errors import UserError, did_you_mean
from accord.paths import user_path


@dataclass(frozen=True, slots=True)
class NamedTemplate:
    """tokens: those that the template writes and that a vocabulary must have, or is given."""

    text: str
    tokens: tuple[str, ...] = ()


NAMED = {
    "chatml": NamedTemplate(
        "{% for message in messages %}{{ '\n' if not loop.first }}"
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' }}{% endfor %}"
        "{{ '\n<|im_start|>assistant\n' if add_generation_prompt }}",
        ("<|im_start|>", "<|im_end|>"),
    ),
    "llama3": NamedTemplate(
        "{% for message in messages %}"
        "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] + '<|eot_id|>' }}"
        "{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' if add_generation_prompt }}",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    # For a base model: no new tokens. The answer begins on a line of its own, because a space before it would belong
    # to its first token.
    "plain": NamedTemplate(
        "{% for message in messages %}{{ '\n\n' if not loop.first }}"
        "{{ message['role'] | capitalize + ':\n' + message['content'] }}"
        "{{ eos_token if message['role'] == 'assistant' }}{% endfor %}"
        "{{ '\n\nAssistant:\n' if add_generation_prompt }}"
    ),
}

_DATE = datetime(2024, 7, 26, tzinfo=UTC)  # the date that Llama 3's templates fall back on
_CLOCK = re.compile(r"strftime_now\(\s*(['\"])(.+?)\1\s*\)")
_NO_CLOCK = "{%- macro strftime_now(format) -%}"
_GENERATION = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")


def template_text(given: str) -> str:
    """The text of a template that a recipe gives by name, as a file, or (in a stored config) as its text."""
    if given in NAMED:
        return NAMED[given].text
    if "{%" in given or "{{" in given:
        return given
    path = user_path(given)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else "is not there, or cannot be read"
        raise UserError(
            f"the chat template {given!r} {why}",
            remedy=f"Give the path of a .jinja file, or a name. {did_you_mean(given, NAMED)}",
        ) from error


def without_clock(text: str) -> str:
    """The template with `strftime_now` at a fixed date: tokens that change from day to day cannot be trained on."""
    if "strftime_now" not in text or text.startswith(_NO_CLOCK):
        return text
    dates = {match[2]: _DATE.strftime(match[2]) for match in _CLOCK.finditer(text)}
    clock = f"{{{{ {dates!r}.get(format, '{_DATE:%Y-%m-%d}') }}}}"
    return f"{_NO_CLOCK}{clock}{{%- endmacro -%}}{text}"


def ending_at_the_turn(text: str, rest: str) -> str:
    """The template without the white space `rest` that it writes after the last turn's end.

    Marks of what the assistant generates are taken out: they count from the beginning of the text, which a block that
    collects it hides from them.
    """
    whole = _GENERATION.sub("", text)
    shorter = f"accord_text[:-{len(rest)}] if not add_generation_prompt and accord_text.endswith({rest!r})"
    return f"{{%- set accord_text -%}}{whole}{{%- endset -%}}{{{{ {shorter} else accord_text }}}}"


def opening_with(text: str, lead: str) -> str:
    """The template that opens an assistant's turn with `lead` when it is asked for a generation prompt."""
    return f"{text}{{{{ {lead!r} if add_generation_prompt }}}}"


def beginning_with(text: str, token: str) -> str:
    """The template that writes the token (`bos_token`) first."""
    return f"{{{{- {token} }}}}{text}"


def keeping_eos(text: str, eos_token: str) -> str:
    """The template in which `eos_token` is what it was, whatever the tokenizer calls so now."""
    return f"{{%- set eos_token = {eos_token!r} -%}}{text}"
