"""What the leading process of a group does by itself, while the others wait, and what it asks of them meanwhile.

The work is done in a thread. The main one alone exchanges with the others: it tells them in time that the work still
goes on, and what of the `Joint` tensors it wants next, which all then make together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from queue import Empty, SimpleQueue
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from accord.engine.group import agreed, current
from accord.store.tensors import Streamed

Item = TypeVar("Item")
Given = ParamSpec("Given")


class Joint(Streamed):
    """Tensors that all processes make together, when the leading one asks for them in a work that `lead` was told of
    them for.

    outlines: of all. here: those that each process has. make: called in all processes, it gives one in the leading one.
    """

    def __init__(
        self, outlines: Mapping[str, Tensor], here: Mapping[str, Tensor], make: Callable[[str], Tensor | None]
    ) -> None:
        self._outlines, self._here, self.make = outlines, here, make
        self.ask: Callable[[str], Tensor] | None = None  # while it leads

    @property
    def outlines(self) -> Mapping[str, Tensor]:
        return self._outlines

    def __getitem__(self, name: str) -> Tensor:
        if name in self._here:
            return self._here[name]
        if name not in self._outlines:
            raise KeyError(name)
        assert self.ask is not None, (
            f"{name} is asked for outside of `lead`, where the other processes do not know of it"
        )
        return self.ask(name)

    def __contains__(self, name: object) -> bool:
        return name in self._outlines

    def __iter__(self) -> Iterator[str]:
        return iter(self._outlines)

    def __len__(self) -> int:
        return len(self._outlines)


def lead(work: Callable[[], Item], *wanted: Mapping[str, Tensor]) -> Item | None:
    """Done by the leading process, while the others wait, however long it takes: that it still works is told in time.
    Returns what it gave; None in the others. wanted: those of these tensors that are `Joint` the work may ask for; it
    exchanges nothing else with the others."""
    group = current()
    if group.size == 1:
        return work()
    joint = [one for one in wanted if isinstance(one, Joint)]
    if group.rank > 0:
        while told := agreed(None):
            if told is not True:
                number, name = told
                joint[number].make(name)
        return None
    desk = _Desk(joint, group.patience)
    with ThreadPoolExecutor(1) as thread:
        doing = thread.submit(work)
        doing.add_done_callback(lambda _: desk.close())
        desk.serve()
    result = doing.result()  # raises what the work did, and whoever started the processes ends the others
    agreed(False)
    return result


class _Desk:
    """Where the thread that works asks the main one for tensors. patience: seconds without a question after which the
    others are told that the work goes on."""

    def __init__(self, joint: list[Joint], patience: float) -> None:
        self._joint, self._patience = joint, patience
        self._asked: SimpleQueue[tuple[int, str] | None] = SimpleQueue()
        self._given: SimpleQueue[Tensor | BaseException] = SimpleQueue()
        for number, one in enumerate(joint):
            one.ask = partial(self._ask, number)

    def close(self) -> None:
        """The work is done."""
        self._asked.put(None)

    def serve(self) -> None:
        """In the main thread, until the work is done. Raises what went wrong in an exchange; so does all that the work
        asks for from then on."""
        failed: BaseException | None = None
        while (asked := self._next()) is not None:
            if failed is None:
                try:
                    if asked:
                        self._given.put(self._made(*asked))
                    else:
                        agreed(True)
                    continue
                except BaseException as error:
                    failed = error
            if asked:
                self._given.put(failed)
        for one in self._joint:
            one.ask = None
        if failed is not None:
            raise failed

    def _next(self) -> tuple[int, str] | tuple[()] | None:
        """What is asked for; () where nothing is, and None at the end."""
        try:
            return self._asked.get(timeout=self._patience)
        except Empty:
            return ()

    def _made(self, number: int, name: str) -> Tensor:
        agreed([number, name])
        tensor = self._joint[number].make(name)
        assert tensor is not None, "the leading process has what is made"
        return tensor

    def _ask(self, number: int, name: str) -> Tensor:
        self._asked.put((number, name))
        given = self._given.get()
        if isinstance(given, BaseException):
            raise given
        return given


def once(compute: Callable[Given, Tensor]) -> Callable[Given, Tensor]:
    """A function [n], on the CPU, that the leading process alone calls, and all know what it gave: for what asks
    others, or may answer otherwise the next time."""

    @wraps(compute)
    def asked(*args: Given.args, **named: Given.kwargs) -> Tensor:
        if current().size == 1:
            return compute(*args, **named)
        found = lead(lambda: compute(*args, **named))
        return current().gather(torch.empty(0) if found is None else found.float())[0]

    return asked
