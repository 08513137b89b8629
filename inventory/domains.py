"""Mail domains in their one form, and what an internationalised one stands for.

IDNA 2008 without a mapping: Python's own idna codec is of 2003 and makes another domain of a name with an eszett.
"""

from __future__ import annotations

import re
import unicodedata

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")  # with _, which Postfix and Exchange take as well
_OCTETS = 255  # of a domain, RFC 5321 4.5.3.1.2
_LETTERS = ("Ll", "Lo", "Lm", "Mn", "Mc", "Nd")


def ascii_form(text: str) -> str:
    """Return the domain in lower case; an internationalised one, however it was written, as its A-label (xn--...)."""
    labels = unicodedata.normalize("NFC", text).lower().split(".")
    if len(labels) < 2:
        raise ValueError("is a single label; a mail domain has a dot")
    ascii_labels = [_ascii_label(label) for label in labels]
    if ascii_labels[-1].isdigit():
        raise ValueError("is not a domain: it ends in a number")
    if sum(map(len, ascii_labels)) + len(ascii_labels) > 254:
        raise ValueError("is longer than 253 characters")
    return ".".join(ascii_labels)


def _ascii_label(label: str) -> str:
    if not label.isascii():
        if not _is_unicode_label(label):
            raise ValueError(f"label {label!r} holds characters no domain has; if it is right, write it as xn--...")
        label = "xn--" + label.encode("punycode").decode("ascii")
    if not label:
        raise ValueError("has an empty label: a dot at an end, or two together")
    if not _LABEL.fullmatch(label):
        raise ValueError(f"label {label!r} must be up to 63 of a-z, 0-9, _ and -, with no - at its ends")
    if label.startswith("xn--"):
        _unicode_label(label)
    return label


def _is_unicode_label(label: str) -> bool:
    """Return whether IDNA 2008 may know this label: letters, marks and digits in the one form Unicode has for them."""
    usual = all(character == "-" or unicodedata.category(character) in _LETTERS for character in label)
    return usual and unicodedata.normalize("NFKC", label) == label and unicodedata.category(label[0])[0] != "M"


def _unicode_label(label: str) -> str:
    """Return the U-label of an A-label; other labels unchanged."""
    if not label.startswith("xn--"):
        return label
    try:
        written = label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        written = ""
    if written.isascii() or written.encode("punycode").decode("ascii") != label[4:]:
        raise ValueError(f"label {label!r} stands for nothing: not the punycode of any name")
    return written


def unicode_form(a_labels: str) -> str | None:
    """Return the U-labels of an internationalised domain, or None for a domain that has but one form.

    One whose U-labels take more octets than a domain may have has but the other: no mail can name it so, and as a key
    of more than 511 octets lmdb would take none of the table.
    """
    labels = [_unicode_label(label) for label in a_labels.split(".")]
    written = ".".join(labels)
    if written == a_labels or not all(_is_unicode_label(label) for label in labels):
        return None
    return written if len(written.encode()) <= _OCTETS else None


def table_form(a_labels: str) -> str | None:
    """Return the U-labels that Postfix may be asked for, or None where it folds them into those of another domain.

    It folds as Unicode has it, so that straße.example, were it listed, would stand for strasse.example.
    """
    written = unicode_form(a_labels)
    return written if written and written == written.casefold() else None
