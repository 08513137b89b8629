"""Relays that could not be asked while a change was made on the others."""

from __future__ import annotations

from console import terminal
from deploy.plan import HostError
from fleet.relay_answers import Answers


def print_left_behind(answers: Answers, later: str) -> None:
    """Print the relays that gave no answer, with what to do once they are back; nothing where all answered."""
    if names := [name for name, said in answers.items() if isinstance(said, HostError)]:
        terminal.note(f"{', '.join(names)}: not known to be done there; {later}")
