"""What the tables say of addresses that are not listed, where a customer wants something else than a refusal. Pure.

One member of smtpd_recipient_restrictions joins three texts of regular expressions (common/main_cf_params). `asked`
says which addresses are looked up at all, `unlisted_domains` has a word for each domain, and `unlisted_answers` says
what Postfix does by that word.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping

from common.settings import UNLISTED
from receiver.tables.customer_recipients import CustomerRecipients
from receiver.tables.table import Table, any_of

REFUSE, DEFER, ASK = UNLISTED
TEXTS = ("unlisted_answers", "unlisted_domains", "asked")
ANSWERS = {
    DEFER: b"DEFER_IF_REJECT 4.1.1 User unknown in relay recipient table",
    ASK: b"reject_unverified_recipient",
}
"""What Postfix does by a word. DEFER_IF_REJECT leaves it to its own lists, as aliases and other tables know more."""

_LONG = "long"  # Postfix's verify(8) dies of an address that is longer than its cache takes
_REFUSED = b"550 5.1.1 User unknown in relay recipient table"

_ASKED = rb"/^(.+@(%b))$/"
_DOMAINS = (
    rb'/^"\\".*@(%b)$/',  # its other form begins with a quote
    rb'/^[^"].*@(%b)$/',  # not a quoted one, which may be listed: Postfix asks for it in its other form as well
)


def find_words(parts: Iterable[CustomerRecipients], opened: Container[str]) -> dict[str, str]:
    """Return the word for each form of a closed domain where that is not `refuse`; `opened`: forms that are not."""
    words: dict[str, str] = {}
    for part in parts:
        tree = part.source.tree
        for form, domain in part.forms():
            word = REFUSE if domain in tree.closed_by else part.source.unlisted  # theirs answers as before
            words[form] = max(words.get(form, REFUSE), word, key=UNLISTED.index)
    return {form: word for form, word in sorted(words.items()) if word != REFUSE and form not in opened}


def compose_texts(words: Mapping[str, str]) -> list[Table]:
    """Return the tables of TEXTS."""
    answers = {b"/^%b$/" % word.encode(): answer for word, answer in {**ANSWERS, _LONG: _REFUSED}.items()}
    domains = {
        line: said.encode()
        for word in UNLISTED
        for some in any_of(form for form, each in words.items() if each == word)
        for line, said in _lines(some, word)
    }
    asked = {_ASKED % some: b"$1" for some in any_of(words)}
    texts = ({**answers, b"/./": b"DUNNO"}, domains, asked)
    return [Table(name, list(lines), lines, built=False) for name, lines in zip(TEXTS, texts)]


def _lines(domains: bytes, word: str) -> Iterator[tuple[bytes, str]]:
    if word == ASK:
        yield rb"/^.{255,}@(%b)$/" % domains, _LONG
    yield from ((line % domains, word) for line in _DOMAINS)
