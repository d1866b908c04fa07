"""Bind the plain functions of `bodies` to a target: each call among them stays on that target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType, SimpleNamespace
from typing import Any

from infer.kernels import bodies


def bind(wrap: Callable[[FunctionType], Any], instead: Mapping[str, Any]) -> SimpleNamespace:
    """Every function of `bodies`, wrapped, with `instead` in place of those of these names.

    The copies share one namespace of their own, so a body finds the wrapped helpers.
    """
    scope = dict(vars(bodies))
    bound = {}
    for name, function in vars(bodies).items():
        if not isinstance(function, FunctionType) or function.__module__ != bodies.__name__:
            continue
        if name in instead:
            bound[name] = instead[name]
            continue
        copy = FunctionType(function.__code__, scope, name)
        copy.__module__, copy.__qualname__ = bodies.__name__, name
        bound[name] = wrap(copy)
    scope.update(bound)
    return SimpleNamespace(**bound)
