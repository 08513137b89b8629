"""What a customer's server says while its export runs and uploads: printed line by line as it comes."""

from __future__ import annotations

from console import terminal


class ExportProgress:
    """The lines so far. `quiet`: they are kept, and not printed."""

    def __init__(self, name: str, quiet: bool) -> None:
        self.lines: list[str] = []
        self._name = name
        self._quiet = quiet
        self._rest = b""

    def take(self, chunk: bytes) -> None:
        """Take what has come."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        for line in whole:
            self._take_line(line.decode("utf-8", "replace"))

    def end(self) -> None:
        """Take what is left when it has ended."""
        self._take_line(self._rest.decode("utf-8", "replace"))

    def _take_line(self, line: str) -> None:
        if not line.strip():
            return
        self.lines.append(line.strip())
        if not self._quiet:
            terminal.answer([self._name], line.strip())
