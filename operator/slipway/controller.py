"""What a kind gives the engine: three plain functions."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from slipway.cache import View
from slipway.decision import Decision, Key

World = TypeVar("World")
"""A frozen dataclass of the kind's decide.py, with everything parsed."""
Resource = TypeVar("Resource")
"""The kind's pydantic model in slipway.api."""


@dataclass(frozen=True)
class Controller(Generic[World, Resource]):
    """kinds/<kind>/__init__.py: CONTROLLER = Controller("Dataset", observe, decide, references)."""

    kind: str
    observe: Callable[[View, Key], World | None]
    """Reads the View only; None: the object is gone."""
    decide: Callable[[World], Decision]
    """Pure and total."""
    references: Callable[[Resource], Iterable[Key]]
    """Objects of ours, there or not, whose events must wake this one. Children and ModelVersions made by it
    wake it anyhow."""


AnyController = Controller[Any, Any]
