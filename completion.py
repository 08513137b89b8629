"""What a shell offers after `inv`: commands, their options, customers, relays. Reads tasks.py and names of files alone.

Neither Invoke nor the inventory's checks are imported: together they cost a third of a second at each press of Tab.
"""

from __future__ import annotations

import ast
import os
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_HERE = Path(__file__).parent
_BASH = """\
_postern() {
    local IFS=$'\\n'
    COMPREPLY=($(INV --complete -- "${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null))
}
complete -o default -F _postern inv"""
_ZSH = """\
#compdef inv
_postern() {
    local -a offered
    offered=("${(@f)$(INV --complete -- "${(@)words[1,CURRENT]}" 2>/dev/null)}")
    if [[ -n "$offered" ]]; then compadd -a offered; else _files; fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _postern inv"""
_FISH = """\
function __postern
    set -l offered (INV --complete -- (commandline -opc) (commandline -ct) 2>/dev/null)
    if test -n "$offered"
        printf '%s\\n' $offered
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c inv -f -a '(__postern)'"""
SHELLS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
"""The script of each shell; INV stands for the path of `inv`."""


CHOICES = {
    "--source": ("exchange-5.5", "csvde", "powershell", "ldap", "exchange-online"),
    "--kind": ("customer", "relays", "provider"),
    "--print-completion-script": tuple(SHELLS),
}
"""The words that may follow an option; a command's name is completed as its option is."""


class Call(NamedTuple):
    """How a command is called."""

    positional: str  # the parameter that may be given without its flag; empty: none
    options: dict[str, bool]  # by flag: whether a value follows it


def script(shell: str, inv: Path) -> str:
    """Return what the shell has to read for completion, as its `source` or `eval` takes it."""
    quoted = "'" + str(inv).replace("'", "'\\''") + "'"
    return SHELLS[shell].replace("INV", quoted)


def candidates(words: Sequence[str]) -> list[str]:
    """Return what may stand for the last of the words, `inv` being the first; nothing where a file may stand.

    Of several names with commas between, the last is completed.
    """
    _, *before, typed = words if len(words) > 1 else ("inv", "")
    earlier, comma, last = typed.rpartition(",")
    return sorted(f"{earlier}{comma}{name}" for name in _offered(before, typed) if name.startswith(last))


def _offered(before: Sequence[str], typed: str) -> Iterator[str]:
    calls = _calls()
    if not before or before in (["help"], ["--help"]):
        yield from (*calls, *(("--help", "--list", "--version") if not before else ()))
        return
    if before[0] in CHOICES:
        yield from CHOICES[before[0]]
        return
    call = calls.get(before[0])
    if call is None:
        return
    flag = "--customer" if before[-1] == "-c" else before[-1]
    if call.options.get(flag):
        is_relay = (before[0], flag) == ("sync", "--from") or flag in ("--merge", "--forget")
        yield from CHOICES.get(flag) or (_relays() if is_relay else _names(flag.removeprefix("--")))
    elif typed.startswith("-"):
        yield from (*call.options, "--help")
    elif call.positional and not _is_given(call, before[1:]):
        yield from CHOICES.get(f"--{call.positional}") or _names(call.positional)


def _is_given(call: Call, words: Sequence[str]) -> bool:
    """Return whether one of the words is the command's name already, and neither a flag nor a flag's value."""
    if {"-c", f"--{call.positional}"} & {*words}:
        return True
    pairs = zip(("", *words), words, strict=False)
    return any(not word.startswith("-") and not call.options.get(previous) for previous, word in pairs)


# ---- what there is


def _calls() -> dict[str, Call]:
    tree = ast.parse((_HERE / "tasks.py").read_bytes())
    functions = [one for one in tree.body if isinstance(one, ast.FunctionDef)]
    return {_dashed(function.name): _call(function) for function in functions}


def _call(function: ast.FunctionDef) -> Call:
    parameters = function.args.args[1:]
    required = len(parameters) - len(function.args.defaults)
    options = {f"--{_dashed(one.arg)}": ast.unparse(one.annotation or one) != "bool" for one in parameters}
    return Call(_dashed(parameters[0].arg) if required else "", options)


def _dashed(name: str) -> str:
    return name.strip("_").replace("_", "-")


def _names(noun: str) -> Iterator[str]:
    if noun in ("customer", "name"):
        yield from _customers()
    if noun in ("relay", "name"):
        yield from _relays()


def _inventory() -> Path:
    """Return what inventory.inventory_path() does, without its imports."""
    return Path(os.environ.get("POSTERN_INVENTORY") or _HERE / "inventory")


def _customers() -> Iterator[str]:
    with suppress(OSError):
        yield from (path.stem for path in (_inventory() / "customers").iterdir() if path.suffix == ".toml")


def _relays() -> Iterator[str]:
    with suppress(OSError, ValueError):
        yield from tomllib.loads((_inventory() / "relays.toml").read_text("utf-8-sig"))
