"""Real adapters behind the seams of a fault script, which the fakes have by themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headwater.testing import FaultScript


class Guarded:
    """Passes every call on. Those named in `seams` pass the seam of that name before and after."""

    def __init__(self, inner: Any, faults: FaultScript, seams: Mapping[str, str]) -> None:
        self._inner, self._faults, self._seams = inner, faults, seams

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        seam = self._seams.get(name)
        return found if seam is None else self._announced(seam, found)

    def _announced(self, seam: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            with self._faults.around(seam):
                return act(*arguments, **named)

        return call
