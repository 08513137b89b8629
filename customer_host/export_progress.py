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

    def add(self, chunk: bytes) -> None:
        """Add a chunk of output, and show its whole lines."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        for line in whole:
            self._show_line(line.decode("utf-8", "replace"))

    def finish(self) -> None:
        """Show the last line, which may have no line end."""
        self._show_line(self._rest.decode("utf-8", "replace"))

    def _show_line(self, line: str) -> None:
        if not line.strip():
            return
        self.lines.append(line.strip())
        if not self._quiet:
            terminal.print_answer([self._name], line.strip())
