"""The synchronous form of async methods and functions: same parameters, same documentation, same errors.

``append = Call(SessionLog.append)`` in a class body is a method that runs the async one on the portal. Type checkers
carry the parameters over (PEP 612), so that the two cannot drift apart.
"""

import functools
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from ..errors import StoreFailed
from .portal import portal
from .streams import stream

P = ParamSpec("P")
AsyncT = TypeVar("AsyncT")
ResultT = TypeVar("ResultT")


class Face(Generic[AsyncT]):
    """An async object as synchronous code sees it, from any thread."""

    def __init__(self, asynchronous: AsyncT, make_anew: Callable[[], AsyncT] | None = None) -> None:
        """Stand before ``asynchronous``; ``make_anew`` makes the one of a forked child, if there can be one."""
        self._asynchronous = asynchronous
        self._make_anew = make_anew
        self._pid = os.getpid()

    @property
    def asynchronous(self) -> AsyncT:
        """The async object behind this one, for functions that :func:`run` is to run.

        In a process that was forked since, it is another one; where there can be none, this raises
        :class:`StoreFailed`.
        """
        if self._pid != os.getpid():
            if self._make_anew is None:
                raise StoreFailed(f"{self._asynchronous!r} was opened by the parent process: open one of your own")
            self._asynchronous, self._pid = self._make_anew(), os.getpid()
        return self._asynchronous

    def __repr__(self) -> str:
        """Show the async object."""
        return f"blocking {self._asynchronous!r}"


class Call(Generic[AsyncT, P, ResultT]):
    """A method that runs an async one on the portal and waits for its result."""

    def __init__(self, method: Callable[Concatenate[AsyncT, P], Coroutine[Any, Any, ResultT]]) -> None:
        """Be the synchronous form of ``method``."""
        name = _name(method)

        @functools.wraps(method)
        def call(face: Face[AsyncT], /, *args: P.args, **kwargs: P.kwargs) -> ResultT:
            bound: Callable[P, Coroutine[Any, Any, ResultT]] = getattr(face.asynchronous, name)
            return portal().run(bound, *args, **kwargs)

        self._call = call
        self.__wrapped__ = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, face: None, owner: type) -> Self: ...
    @overload
    def __get__(self, face: Face[AsyncT], owner: type) -> Callable[P, ResultT]: ...
    def __get__(self, face: Face[AsyncT] | None, owner: type) -> Self | Callable[P, ResultT]:
        """Return the bound method."""
        return self if face is None else MethodType(self._call, face)


class Stream(Generic[AsyncT, P, ResultT]):
    """A method that iterates over what an async one yields, in bounded memory."""

    def __init__(self, method: Callable[Concatenate[AsyncT, P], AsyncGenerator[ResultT, None]]) -> None:
        """Be the synchronous form of ``method``."""
        name = _name(method)

        @functools.wraps(method)
        def call(face: Face[AsyncT], /, *args: P.args, **kwargs: P.kwargs) -> Generator[ResultT, None, None]:
            return stream(functools.partial(getattr(face.asynchronous, name), *args, **kwargs))

        self._call = call
        self.__wrapped__ = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, face: None, owner: type) -> Self: ...
    @overload
    def __get__(self, face: Face[AsyncT], owner: type) -> Callable[P, Generator[ResultT, None, None]]: ...
    def __get__(self, face: Face[AsyncT] | None, owner: type) -> Self | Callable[P, Generator[ResultT, None, None]]:
        """Return the bound method."""
        return self if face is None else MethodType(self._call, face)


def _name(method: Callable[..., Any]) -> str:
    name: str = method.__name__
    return name
