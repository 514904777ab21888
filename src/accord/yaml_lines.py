"""A strict subset of YAML, read together with the line of every key.

Maps with text keys, lists, text, finite numbers, booleans and null. No aliases, no tags, no key twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml

from accord.errors import UserError

KeyPath = tuple[str | int, ...]

_LARGEST = 2**63


def parse_yaml(text: str, where: str) -> tuple[Any, dict[KeyPath, int]]:
    """One YAML document as plain values (None when empty), and the line (from 1) of every key and list item by path.

    where: what error messages call the text. Raises UserError for everything that is not in the subset.
    """
    with _yaml_errors(text, where):
        loader = yaml.SafeLoader(text)
        reader = _Reader(loader, where)
        try:
            root = loader.get_single_node()
            return (None if root is None else reader.plain(root, ())), reader.lines
        finally:
            loader.dispose()


@dataclass(slots=True)
class _Reader:
    """From YAML's nodes to plain values."""

    loader: Any
    where: str
    lines: dict[KeyPath, int] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)

    def plain(self, node: Any, path: KeyPath) -> Any:
        """The value of a node. Also notes its lines."""
        if id(node) in self.seen:
            raise self.error("aliases (*name) are not supported", node, path, "Write the value out.")
        self.seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        if node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            raise self.error("tags are not supported", node, path, "Remove the word that begins with `!`.")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        for index, item in enumerate(node.value):
            self.lines[(*path, index)] = item.start_mark.line + 1
        return [self.plain(item, (*path, index)) for index, item in enumerate(node.value)]

    def mapping(self, node: Any, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.scalar(key_node, path) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str) or not key:
                raise self.error("this key is not text", key_node, path, "Put it in quotes.")
            inner = (*path, key)
            if key in result:
                remedy = f"It is on line {self.lines[inner]} already: keep one."
                raise self.error(f"the key {key!r} stands here twice", key_node, inner, remedy)
            self.lines[inner] = key_node.start_mark.line + 1
            result[key] = self.plain(value_node, inner)
        return result

    def scalar(self, node: Any, path: KeyPath) -> Any:
        try:
            value = self.loader.construct_object(node)
            fine = value is None or isinstance(value, bool)
            if isinstance(value, str):
                value.encode()  # a lone surrogate, "\ud800", is no text
                fine = "\0" not in value
            elif isinstance(value, int | float):
                fine = abs(value) < _LARGEST and math.isfinite(value)
        except (ValueError, LookupError, AttributeError, TypeError) as error:  # PyYAML lets these through
            raise self.error("this value cannot be read", node, path, "Put it in quotes.") from error
        if not fine:
            what = f"a value of type {type(value).__name__} that a recipe cannot hold"
            remedy = "Values are text, finite numbers below 2^63, true, false and null; put dates in quotes."
            raise self.error(what, node, path, remedy)
        return value

    def error(self, what: str, node: Any, path: KeyPath, remedy: str) -> UserError:
        place = f"{self.where}:{node.start_mark.line + 1}:{'.'.join(map(str, path))}".rstrip(":")
        return UserError(what, where=place, remedy=remedy)


@contextmanager
def _yaml_errors(text: str, where: str) -> Iterator[None]:
    try:
        yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}:{mark.line + 1}" if mark else where
        tab = "'\\t'" in str(error.problem)
        remedy = "Indent with spaces instead of tabs." if tab else "Correct the text at this line, or just above it."
        raise UserError(f"this is not valid YAML: {error.problem}", where=place, remedy=remedy) from error
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        what = f"this is not valid YAML: {error.reason}"
        raise UserError(what, where=f"{where}:{line}", remedy="Remove that character.") from error
    except (ValueError, OverflowError) as error:  # "\U00110000", which PyYAML hands to chr()
        raise UserError(f"this is not valid YAML: {error}", where=where, remedy="Correct the escapes.") from error
    except RecursionError as error:
        raise UserError("brackets are nested too deep", where=where, remedy="Write it flatter.") from error
