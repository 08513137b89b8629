"""parse-exchange-users: an Exchange 5.5 export on stdin, the source text of a table on stdout.

It reads no settings and adds nothing, so that it can be used by itself, as in the recipe it comes from.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from receiver.choice import Choice, choose
from receiver.formats import BadExport, exchange_55
from receiver.intake import ended
from receiver.report import DONE, REFUSED, most_first
from receiver.settings import Settings

ABOUT = """\
Reads on stdin what Exchange 5.5's ADMIN.EXE exported: the columns Obj-Class, E-mail addresses and
Secondary-Proxy-Addresses, with or without an end mark. Writes `address OK` lines to stdout, sorted, and
to stderr how many they are and what was left out. When anything is wrong, or no address is left, it
writes nothing to stdout and exits 2."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a filter."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # in front of `head` it ends without a word
    parser = _parser()
    asked = parser.parse_args(arguments)
    try:
        choice = _chosen(asked.domain, asked.exclude)
    except BadExport as error:
        return _refused(str(error))
    if not choice.recipients:
        return _refused(f"no recipient is in it ({_left_out(choice)}): with such a table all mail is rejected")
    sys.stderr.write(f"parse-exchange-users: {len(choice.recipients)} recipients; {_left_out(choice)}\n")
    for lines in _sorted_lines(choice.recipients):
        sys.stdout.buffer.write(lines.encode())
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("parse-exchange-users", description=ABOUT, allow_abbrev=False)
    parser.add_argument(
        "--domain",
        action="append",
        default=[],
        type=_domain,
        metavar="D",
        help="take addresses in this domain only; may be given several times (without it: in any domain)",
    )
    parser.add_argument(
        "--exclude",
        default=(),
        type=_exclusions,
        metavar="FILE",
        help="leave out what a line of this file names: a local part in any domain, or a shell pattern for the "
        "whole address; # begins a comment line",
    )
    return parser


def _chosen(domains: Iterable[tuple[str, str]], exclude: tuple[str, ...]) -> Choice:
    settings = Settings(
        customer="",
        format="exchange-5.5",
        domains=tuple(a_label for a_label, _ in domains),
        unicode={a_label: u_label for a_label, u_label in domains if a_label != u_label},
        exclude=exclude,
    )
    return choose(exchange_55.values(ended(sys.stdin.buffer.read(), required=False)), settings)


def _domain(text: str) -> tuple[str, str]:
    """Give a domain's A-label and U-label, which are the same for most."""
    labels = text.lower().split(".")
    if not all(labels) or set(text) & set("@*? \t"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a domain; give it without @")
    return ".".join(map(_a_label, labels)), ".".join(map(_u_label, labels))


def _a_label(label: str) -> str:
    return label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")


def _u_label(label: str) -> str:
    try:
        return label[4:].encode("ascii").decode("punycode") if label.startswith("xn--") else label
    except UnicodeError:
        return label


def _exclusions(path: str) -> tuple[str, ...]:
    try:
        with open(path, encoding="utf-8-sig") as lines:
            return tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"{path} cannot be read: {error}") from error


def _sorted_lines(recipients: Iterable[str]) -> Iterator[str]:
    """Give the table's lines in order, a text for all that begin alike: a million sort in a third less time so."""
    alike = defaultdict(list)
    for recipient in recipients:
        alike[recipient[:3]].append(recipient)
    for beginning in sorted(alike):
        yield " OK\n".join(sorted(alike.pop(beginning))) + " OK\n"


def _left_out(choice: Choice) -> str:
    each = ", ".join(f"{count} {reason}" for reason, count in most_first(choice.left_out))
    return f"left out {sum(choice.left_out.values())}: {each}" if each else "nothing left out"


def _refused(why: str) -> int:
    sys.stderr.write(f"parse-exchange-users: {why}\n")
    return REFUSED
