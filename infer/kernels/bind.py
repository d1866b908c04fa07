"""Bind plain functions to a target: each call among them stays on that target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any


def bind(
    modules: Sequence[ModuleType],
    wrap: Callable[[FunctionType], Any],
    instead: Mapping[str, Any],
) -> SimpleNamespace:
    """Every function of `modules`, wrapped, with `instead` in place of those of these names.

    Copies are wrapped, each with its module's names to look up, but for the functions among them:
    there it finds the wrapped ones. No two modules may define functions of one name.
    """
    scopes = {module.__name__: dict(vars(module)) for module in modules}
    bound: dict[FunctionType, Any] = {}
    for name, scope in scopes.items():
        for function in scope.values():
            if isinstance(function, FunctionType) and function.__module__ == name:
                known = instead.get(function.__name__)
                bound[function] = wrap(_copy(function, scope)) if known is None else known
    for scope in scopes.values():
        scope.update(
            {
                name: bound[value]
                for name, value in scope.items()
                if isinstance(value, FunctionType) and value in bound
            }
        )
    named = {function.__name__: wrapped for function, wrapped in bound.items()}
    assert len(named) == len(bound), "two functions have one name"
    return SimpleNamespace(**named)


def _copy(function: FunctionType, scope: dict[str, Any]) -> FunctionType:
    """The same code, looking its names up in `scope`."""
    copy = FunctionType(function.__code__, scope, function.__name__)
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy
