"""A user's own Python function, from a file that the user named: the only code that is ever run from a file.

A plan reads the file and finds the function in it without running it; a step keeps a copy of the file in its artifact
and runs that. Whatever goes wrong in the user's code is an error at a line of the user's file.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import ModuleType
from typing import Any

from accord.errors import Interrupted, UserError, did_you_mean
from accord.paths import user_path


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a file, and what messages call it: the path that the user gave."""

    file: str
    content: bytes

    @classmethod
    def read(cls, file: str, digest: str = "") -> Source:
        """The user's file, relative to the working directory. Raises UserError when it cannot be read, and when its
        digest is not the one that is expected."""
        try:
            source = cls(file, user_path(file).read_bytes())
        except OSError as error:
            raise UserError(
                f"the file of the function cannot be read: {error.strerror}",
                where=file,
                remedy="Give the path of a Python file, from the folder in which the command is run.",
            ) from error
        if digest and source.digest != digest:
            remedy = "Run the same command again."
            raise UserError("the file was changed after the plan had been made", where=file, remedy=remedy)
        return source

    @property
    def digest(self) -> str:
        return sha256(self.content).hexdigest()

    def check(self, function: str, keywords: Collection[str] | None = None) -> None:
        """Finds the function in the file without running it. Raises UserError when it is not there, and when it wants
        what it will not be given. keywords: all that it will be."""
        with self._syntax_errors():
            tree = ast.parse(self.content, self.file)
        names = set(_names(tree))
        if function not in names and "*" not in names:
            raise self._no_function(function, names)
        defined = [one for one in tree.body if function in set(_names(_module(one)))]
        if len(defined) == 1 and keywords is not None:
            self._check_definition(function, defined[0], keywords)

    def _check_definition(self, function: str, defined: ast.stmt, keywords: Collection[str]) -> None:
        """As far as it can be told from the text: nothing of a function that is decorated or imported."""
        if isinstance(defined, ast.Assign | ast.AnnAssign) and isinstance(
            defined.value, ast.Constant | ast.List | ast.Tuple | ast.Dict | ast.Set | ast.JoinedStr
        ):
            remedy = f"Write `def {function}(...)`, or name another."
            raise UserError(f"{function!r} is not a function", where=f"{self.file}:{defined.lineno}", remedy=remedy)
        if isinstance(defined, ast.FunctionDef) and not defined.decorator_list:
            self.refuse_wanted(function, _wanted(defined.args, keywords), defined.lineno, keywords)

    def refuse_wanted(self, function: str, wanted: Sequence[str], line: int | None, keywords: Iterable[str]) -> None:
        """Raises UserError when a function wants parameters that it is not given."""
        if wanted:
            raise UserError(
                f"the function {function!r} wants {' and '.join(map(repr, wanted))}, which it is not given",
                where=f"{self.file}:{line}" if line else self.file,
                remedy=f"It is called with those of these keywords that it takes: {', '.join(keywords)}.",
            )

    def load(self, function: str) -> UserFunction:
        """Runs the file and gives the function. Raises UserError for whatever goes wrong."""
        with self._syntax_errors():
            code = compile(self.content, self.file, "exec", dont_inherit=True)
        module = ModuleType(f"accord_user_{self.digest[:16]}")
        module.__file__ = self.file
        sys.modules[module.__name__] = module  # dataclasses and pickles of the file's own classes look there
        with self.errors(function):
            exec(code, module.__dict__)  # noqa: S102  the user's own file, named by the user
        found = getattr(module, function, None)
        if not callable(found):
            raise self._no_function(function, {name for name, value in vars(module).items() if callable(value)})
        return UserFunction(self, function, found)

    @contextlib.contextmanager
    def errors(self, function: str) -> Iterator[None]:
        """Turns an exception of the user's code into a UserError at the line of the file that it came through."""
        try:
            yield
        except (UserError, Interrupted):
            raise
        except (Exception, SystemExit) as error:
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self.file]
            said = traceback.format_exception_only(error)[-1].strip()
            remedy = "Correct the function, and run the same command again."
            if isinstance(error, ModuleNotFoundError):
                remedy = "The file is run by itself: what it imports has to be installed, or to stand in the file."
            place = f"{self.file}:{lines[-1]}" if lines else self.file
            raise UserError(f"the function {function!r} failed: {said}", where=place, remedy=remedy) from error

    @contextlib.contextmanager
    def _syntax_errors(self) -> Iterator[None]:
        try:
            yield
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None)
            what = getattr(error, "msg", None) or str(error) or "it is nested too deep"
            place = f"{self.file}:{line}" if line else self.file
            raise UserError(f"this is not Python: {what}", where=place, remedy="Correct the file.") from error

    def _no_function(self, function: str, names: set[str]) -> UserError:
        known = {name for name in names if not name.startswith("_")}
        remedy = did_you_mean(function, known) if known else f"Write `def {function}(...)` into it."
        return UserError(f"the file has no function {function!r}", where=self.file, remedy=remedy)


def _module(statement: ast.stmt) -> ast.Module:
    return ast.Module([statement], [])


def _wanted(arguments: ast.arguments, keywords: Collection[str]) -> list[str]:
    """Parameters without a default that a call with these keywords does not fill."""
    named = [*arguments.posonlyargs, *arguments.args]
    needed = named[: len(named) - len(arguments.defaults)]
    only = [one for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None]
    return [one.arg for one in (*needed, *only) if one.arg not in keywords or one in arguments.posonlyargs]


def _names(module: ast.Module) -> Iterator[str]:
    """What a module defines outside its functions and classes; "*" when that cannot be told without running it."""
    nodes: list[ast.AST] = [module]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            continue
        if isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name
        elif isinstance(node, ast.MatchMapping) and node.rest:
            yield node.rest
        nodes.extend(ast.iter_child_nodes(node))


@dataclass(frozen=True, slots=True)
class UserFunction:
    """A function of a user's file."""

    source: Source
    name: str
    function: Callable[..., Any]

    def takes(self, parameter: str) -> bool:
        """Whether it can be called with a keyword of that name; a function that cannot be looked into takes all."""
        parameters = _parameters(self.function)
        if parameters is None:
            return True
        named = parameters.get(parameter)
        if named is not None:
            return named.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())

    def names(self, parameter: str) -> bool:
        """Whether a parameter of that name stands in its signature."""
        return parameter in (_parameters(self.function) or {})

    def __call__(self, **arguments: Any) -> Any:
        """Calls it with those of the arguments that it takes; what it yields becomes a list. Raises UserError for what
        the function raises."""
        parameters = _parameters(self.function) or {}
        wanted = [
            name
            for name, one in parameters.items()
            if one.default is one.empty
            and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
            and (name not in arguments or one.kind is one.POSITIONAL_ONLY)
        ]
        self.source.refuse_wanted(self.name, wanted, self._line, arguments)
        with self.source.errors(self.name):
            returned = self.function(**{name: value for name, value in arguments.items() if self.takes(name)})
            return list(returned) if isinstance(returned, Iterator) else returned

    def wrong(self, what: str) -> UserError:
        """An error about what the function returned, at the line where the function stands."""
        return UserError(
            f"the function {self.name!r} {what}",
            where=f"{self.source.file}:{self._line}" if self._line else self.source.file,
            remedy="Correct the function, and run the same command again.",
        )

    @property
    def _line(self) -> int | None:
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return code.co_firstlineno if code is not None and code.co_filename == self.source.file else None


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None


def plain_list(value: Any) -> Any:
    """A list as it is; a tensor or an array as a list."""
    return value.tolist() if hasattr(value, "tolist") else value


def with_fingerprint(values: dict[str, Any], keywords: Collection[str] | None = None) -> dict[str, Any]:
    """For a Config with `file`, `function` and `fingerprint`: the values with the digest of the file.

    The function is looked for in it. keywords: all that it will be called with. Raises UserError.
    """
    file, function = values.get("file"), values.get("function")
    if not isinstance(file, str) or not isinstance(function, str):
        return values  # the field's own check says what is wrong
    source = Source.read(file)
    source.check(function, keywords)
    return {**values, "fingerprint": source.digest}
