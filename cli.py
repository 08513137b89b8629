"""Invoke's own program with Postern's habits.

A CUSTOMER may be left out or be named by --customer, `TASK --help` is help, near names are suggested, shells complete
what is typed, and a wrong call ends with exit code 2. Plain `inv TASK CUSTOMER` works from the same tasks.py without
any of this.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Ctrl-C before there is anything to put in order ends it without a word
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import errno
import inspect
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from completion import SHELLS, candidates, script

if __name__ == "__main__" and sys.argv[1:3] == ["--complete", "--"]:  # a shell waits, and Invoke takes its time
    print("\n".join(candidates(sys.argv[3:])))
    sys.exit()

from invoke import Collection, Exit, Program
from invoke.exceptions import ParseError
from invoke.parser import Argument, Parser, ParserContext
from invoke.parser.context import to_flag

import tasks
from common.release import RELEASE

_WIDEST = 100  # columns of help
_COLUMN = 29  # where an option's text begins
_VALUES = {
    "--customer": "CUSTOMER",
    "--relay": "RELAY",
    "--name": "NAME",
    "--kit-dir": "DIR",
    "--out": "DIR",
    "--list": "HASH",
    **dict.fromkeys(("--file", "--from", "--export-file", "--public-key"), "FILE"),
    **dict.fromkeys(("--to", "--diff", "--adding", "--first", "sync --removing", "store --removing"), "N"),
    **dict.fromkeys(("sync --from", "--merge", "--forget"), "RELAY"),
}
"""What help calls an option's value, or that of one command's option."""
GROUPS = {
    "Set up": ("init", "check", "trust", "provision", "adopt", "kits", "rotate-key", "retire"),
    "Lists": ("sync", "parse", "review", "accept", "history", "rollback", "resume", "rehearse"),
    "Look": ("status", "list", "verify", "explain", "find", "refusals", "report"),
    "Rarely": ("open", "store", "schema"),
    "On this machine": ("demo", "test", "bench"),
}
"""The commands as they are listed, in the order in which a person needs them."""
_WHOLE = {"check": ", it looks at every file", "list": ", it shows every customer"}
MANY = {"refusals": "--log", "adopt": "--from"}
"""By command, the option that takes all names up to the next option."""


class Postern(Program):
    """The `inv` of this repository."""

    _parser: Parser | None = None

    def parse_core(self, argv: list[str] | None) -> None:
        """Read the core flags. Invoke switches bytecode off, which costs every later call 67 ms."""
        super().parse_core(argv)
        sys.dont_write_bytecode = False

    def parse_core_args(self) -> None:
        """Read the core flags; a completion script is our own, as Invoke's knows neither customers nor relays."""
        if self.argv[-1:] == ["--print-completion-script"]:
            wrong(f"--print-completion-script needs a value: {', '.join(SHELLS)}")
        super().parse_core_args()
        if shell := self.args["print-completion-script"].value:
            if shell not in SHELLS:
                wrong(f"no completion for '{shell}'; there is one for {', '.join(SHELLS)}")
            print(script(shell, Path(__file__).with_name("inv")))
            raise Exit

    def _make_parser(self) -> Parser:
        """Make it once: a task's help texts go into the first parser that is made, and are gone from the next."""
        if self._parser is None:
            self._parser = super()._make_parser()
        return self._parser

    def parse_tasks(self) -> None:
        """Read the task's own words, after bringing them into the one order Invoke's parser understands."""
        words = self.core.unparsed
        if words[:1] == ["help"]:
            words = [*words[1:2], "--help"] if words[1:] else []
            self.core.unparsed = []
        if words:
            self.core.unparsed = self._understood(words[0], words[1:])
        try:
            super().parse_tasks()
        except ParseError as error:
            wrong(str(error))

    def _understood(self, name: str, words: Sequence[str]) -> list[str]:
        contexts = self._make_parser().contexts
        if name not in contexts:
            wrong(f"no command '{name}'{near(name, contexts)}; `inv --list` shows all")
        if {"--help", "-h"} & set(words):
            self.core[0].args["help"].value = name
            return []
        context = contexts[name]
        words = _one_by_one(words, MANY.get(name, ""))
        flags, positional = self._flags(context, words)
        unnamed = [each for each in context.positional_args if not flags & _spellings(each)]
        if positional > len(unnamed):
            expected = "one name" if unnamed else "no other name"
            expected += ", several without blanks," * any("," in word for word in words)
            if not context.positional_args:
                wrong(f"{name} takes no name{_WHOLE.get(name, '')}; `inv {name} --help`")
            wrong(f"{name}: {expected} was expected, and {positional} came; `inv {name} --help`")
        return [name, *[""] * (len(unnamed) - positional), *words]

    def _flags(self, context: ParserContext, words: Sequence[str]) -> tuple[set[str], int]:
        """Return the flags among the words, and how many words are neither flags nor their values.

        A flag nobody knows ends the call.
        """
        known = {"--dry": self.args["dry"], **dict(context.flags)}
        known.update({alias: known[target] for alias, target in context.flags.aliases.items()})
        flags, count, rest = set(), 0, iter(words)
        for word in rest:
            flag, has_value = word.partition("=")[::2]
            if not word.startswith("-"):
                count += 1
            elif flag not in known:
                meant = near(flag, context.flags) if flag != "--all" else ""  # which is like --log
                wrong(f"{context.name}: no option '{flag}'{meant}; `inv {context.name} --help`")
            elif known[flag].takes_value and not has_value and next(rest, None) is None:
                wrong(f"{context.name}: {flag} needs a value; `inv {context.name} --help`")
            flags.add(flag)
        return flags, count

    def execute(self) -> None:
        """Run the task. Ctrl-C ends it with 130 and a sentence; its own clean-up has run then."""
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            super().execute()
        except KeyboardInterrupt:
            raise Exit("inv: stopped", 130) from None

    # ---- help

    def print_help(self) -> None:
        """Print what can be done, without Invoke's forty options."""
        print("Usage: inv COMMAND [NAME] [options]\n\n`inv COMMAND --help` explains one, with an example.\n")
        self.list_tasks()
        print("\n`inv --version` says which release this is; for completion in your shell:\n")
        print(f"  inv --print-completion-script {'|'.join(SHELLS)}")

    def list_tasks(self) -> None:
        """Print the commands with the first line of each manual, those for one purpose together."""
        for title, names in GROUPS.items():
            print(f"{title}:")
            for name in names:
                print(f"  {name:<10}  {(inspect.getdoc(self.collection[name]) or '').splitlines()[0]}")

    def print_task_help(self, name: str) -> None:
        """Print a task's manual: how it is called, what it does, its options, an example."""
        manual = inspect.getdoc(self.collection[name]) or ""
        text, _, called = manual.rpartition("\n\n")
        usage, example = called.splitlines()
        options = [_describe(name, each) for each in self._make_parser().contexts[name].args.values()]
        print(usage, "", _fill(text), "", "Options:", *options, "  -h, --help", "", example, sep="\n")


def _spellings(argument: Argument) -> set[str]:
    return {to_flag(name) for name in argument.names}


def _describe(task: str, argument: Argument) -> str:
    """Return help on one option: its letter, its name, its value, and beside them what it does."""
    long = to_flag(argument.names[0])
    value = f" {_VALUES.get(f'{task} {long}') or _VALUES.get(long, 'VALUE')}" if argument.takes_value else ""
    forms = "".join(f"{to_flag(name)}, " for name in argument.nicknames) + long + value
    lines = textwrap.wrap(argument.help or "", _width() - _COLUMN)
    return textwrap.indent("\n".join(lines), " " * _COLUMN).replace(" " * _COLUMN, f"  {forms:<{_COLUMN - 4}}  ", 1)


def _fill(text: str) -> str:
    return "\n\n".join(textwrap.fill(paragraph, _width()) for paragraph in text.split("\n\n"))


def _width() -> int:
    return min(shutil.get_terminal_size().columns, _WIDEST)


def _one_by_one(words: Iterable[str], option: str) -> list[str]:
    """Return the arguments with an option before each of its values: Invoke takes one value at a time."""
    found: list[str] = []
    for word in words:
        is_another = len(found) > 1 and found[-2] == option and not word.startswith("-")
        found += [found[-2], word] if is_another else [word]
    return found


def near(word: str, choices: Iterable[str | None]) -> str:
    """Return a suggestion with the nearest of the choices. Only a wrong call pays for the import."""
    from inventory.validators import near

    return near(word, [choice for choice in choices if choice])


def wrong(text: str) -> NoReturn:
    """Raise Exit with a text on a wrong call; exit code 2."""
    raise Exit(f"inv: {text}", 2)


def main() -> int:
    """Run the program; return 0. Ends with SystemExit where a command has another exit code."""
    try:
        try:
            Postern(name="Postern", binary="inv", version=RELEASE, namespace=Collection.from_module(tasks)).run()
        finally:  # before Python does, which has no sentence for a full disk
            if sys.stdout:
                sys.stdout.flush()
    except BrokenPipeError:  # `inv ... | head`: who reads has seen enough
        _drop_output()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG) or error.filename:
            raise
        _drop_output()
        print(f"inv: what was to be printed could not be written: {error.strerror}", file=sys.stderr)
        return 4
    return 0


def _drop_output() -> None:
    """Send what is still to be printed to nowhere: Python would try to print it again as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
