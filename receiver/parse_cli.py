"""parse-exchange-users: an Exchange 5.5 export on stdin, the source text of a table on stdout.

It reads no settings and adds nothing, so that it can be used by itself, as in the recipe it comes from.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from common.exit_codes import DONE, FAILED, REFUSED
from common.settings import Settings
from receiver.addresses import table_key
from receiver.formatting import count, name_left_out, sort_by_count
from receiver.outcome import records
from receiver.upload.formats import BadExport, exchange_55
from receiver.upload.recipient_filter import Tally, iterate_recipients
from receiver.upload.stream import strip_end_mark

ABOUT = """\
Reads on stdin what Exchange 5.5's ADMIN.EXE exported: the columns Obj-Class, E-mail addresses and
Secondary-Proxy-Addresses, with or without an end mark. Writes `address OK` lines to stdout, sorted, and
to stderr how many they are and what was left out. When anything is wrong, or no address is left, it
writes nothing to stdout and exits 2."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a filter."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # so that `| head` ends it quietly
    asked = _parser().parse_args(arguments)
    tally = Tally()
    try:
        values = exchange_55.values(strip_end_mark(sys.stdin.buffer.read(), required=False))
        alike = _group_keys(iterate_recipients(values, _settings(asked.domain, asked.exclude), tally))
    except BadExport as error:
        return _end(str(error), REFUSED)
    if not alike:
        return _end(
            f"no recipient is in it ({_counts(tally.left_out)}): with such a table all mail is rejected", REFUSED
        )
    try:
        counts = f"{count(_write(alike), 'recipient')}; {_counts(tally.left_out)}"
        return _end("\n".join([counts, *name_left_out(records(tally.named))]), DONE)
    except OSError as error:
        return _end(f"stdout: {error.strerror}; the table is not whole", FAILED)


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


def _settings(domains: Iterable[tuple[str, str]], exclude: tuple[str, ...]) -> Settings:
    return Settings(
        customer="",
        format="exchange-5.5",
        domains=tuple(a_label for a_label, _ in domains),
        unicode={a_label: u_label for a_label, u_label in domains if a_label != u_label},
        exclude=exclude,
    )


def _domain(text: str) -> tuple[str, str]:
    """Return a domain's A-label and U-label, which are the same for most."""
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


def _group_keys(recipients: Iterable[str]) -> dict[str, list[str]]:
    """Return the keys of recipients, grouped by their first letters.

    A group fits the processor's cache and is sorted twice as fast.
    """
    alike = defaultdict(list)
    for recipient in recipients:
        alike[recipient[:3]].append(recipient)
    others = [table_key(one) for beginning in alike.copy() if beginning[0] == "#" for one in alike.pop(beginning)]
    for key in others:  # a call for each of a million would take longer than to read them
        alike[key[:3]].append(key)
    return alike


def _write(alike: dict[str, list[str]]) -> int:
    """Write the table in order; return how many recipients it has."""
    total = 0
    with open(sys.stdout.fileno(), "wb", closefd=False) as table:
        for beginning in sorted(alike):
            recipients = sorted(set(alike.pop(beginning)))
            table.write((" OK\n".join(recipients) + " OK\n").encode())
            total += len(recipients)
    return total


def _counts(left_out: Mapping[str, int]) -> str:
    each = ", ".join(f"{count} {reason}" for reason, count in sort_by_count(left_out))
    return f"left out {sum(left_out.values())}: {each}" if each else "nothing left out"


def _end(said: str, code: int) -> int:
    sys.stderr.write(f"parse-exchange-users: {said}\n")
    return code
