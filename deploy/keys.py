"""Private keys that cannot be shown by mistake, in the forms an Exchange server's client reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, SupportsIndex


class Secret:
    """Bytes that no print, log, traceback, copy or file gets to see; only `reveal()` gives them out."""

    __slots__ = ("_held",)

    def __init__(self, content: bytes) -> None:
        # Behind a function and not in an attribute: programs that show objects show attributes.
        self._held: Callable[[], bytes] = lambda: content

    def reveal(self) -> bytes:
        """Give the bytes out. Called where a key is placed and nowhere else."""
        return self._held()

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a secret is neither copied nor stored")
