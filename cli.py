"""Invoke's own program with Postern's habits.

A CUSTOMER may be left out, `TASK --help` is help, near names are suggested, `--dry` means `--dry-run`, and a wrong
call ends with exit code 2. Plain `inv TASK CUSTOMER` works from the same tasks.py without any of this.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

from invoke import Collection, Exit, Program
from invoke.exceptions import ParseError
from invoke.parser import Parser, ParserContext

import tasks
from common.release import RELEASE

MANY = ("--log",)  # options that take all names up to the next option


class Postern(Program):
    """The `inv` of this repository."""

    _parser: Parser | None = None

    def parse_core(self, argv: list[str] | None) -> None:
        """Read the core flags. Invoke switches bytecode off, which costs every later call 67 ms."""
        super().parse_core(argv)
        sys.dont_write_bytecode = False

    def _make_parser(self) -> Parser:
        """Make it once: a task's help texts go into the first parser that is made, and are gone from the next."""
        if self._parser is None:
            self._parser = super()._make_parser()
        return self._parser

    def parse_tasks(self) -> None:
        """Read the task's own words, after bringing them into the one order Invoke's parser understands."""
        words = self.core.unparsed
        if words:
            self.core.unparsed = self._understood(words[0], words[1:])
        try:
            super().parse_tasks()
        except ParseError as error:
            wrong(str(error))

    def _understood(self, name: str, words: Sequence[str]) -> list[str]:
        contexts = self._make_parser().contexts
        if name not in contexts:
            wrong(f"no task '{name}'{near(name, contexts)}; `inv --list` shows all")
        if {"--help", "-h"} & set(words):
            self.core[0].args["help"].value = name
            return []
        context = contexts[name]
        words = _one_by_one("--dry-run" if word in ("--dry", "-R") else word for word in words)
        if self.args["dry"].value:  # Invoke's own, said before the task's name, would let us do it all
            words = [*words, "--dry-run"]
        positional = self._positional(context, words)
        room = len(context.positional_args)
        if positional > room:
            wrong(
                f"{name}: {'one name' if room else 'no name'} was expected, and {positional} came; `inv {name} --help`"
            )
        return [name, *[""] * (room - positional), *words]

    def _positional(self, context: ParserContext, words: Sequence[str]) -> int:
        """Count the words that are neither flags nor their values; end the call at a flag nobody knows."""
        known = {**dict(self.initial_context.flags), **dict(context.flags)}
        known.update({alias: known[target] for alias, target in context.flags.aliases.items() if target in known})
        count, rest = 0, iter(words)
        for word in rest:
            flag, has_value = word.partition("=")[::2]
            if not word.startswith("-"):
                count += 1
            elif flag not in known:
                wrong(f"{context.name}: no option '{flag}'{near(flag, context.flags)}; `inv {context.name} --help`")
            elif known[flag].takes_value and not has_value and next(rest, None) is None:
                wrong(f"{context.name}: {flag} needs a value; `inv {context.name} --help`")
        return count


def _one_by_one(words: Iterable[str]) -> list[str]:
    """Name an option of MANY before each of its values: Invoke takes one value at a time."""
    found: list[str] = []
    for word in words:
        is_another = len(found) > 1 and found[-2] in MANY and not word.startswith("-")
        found += [found[-2], word] if is_another else [word]
    return found


def near(word: str, choices: Iterable[str | None]) -> str:
    """Suggest the nearest of the choices. Only a wrong call pays for the import."""
    from inventory.validators import near

    return near(word, [choice for choice in choices if choice])


def wrong(text: str) -> NoReturn:
    """End a call that cannot be carried out as it stands."""
    raise Exit(f"inv: {text}", 2)


if __name__ == "__main__":
    try:
        Postern(name="Postern", binary="inv", version=RELEASE, namespace=Collection.from_module(tasks)).run()
        sys.stdout.flush()
    except BrokenPipeError:  # `inv ... | head`: who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
