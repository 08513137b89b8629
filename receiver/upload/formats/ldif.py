"""The LDIF that `ldapsearch -LLL` writes: responses with an empty line before each but the first of a page.

Other forms are refused: their comments hold names of entries unescaped, so that somebody who may name an entry could
add lines. The format is RFC 2849 without what only changes have.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

from receiver.upload.formats.decode import Text
from receiver.upload.formats.values import BadExport

_LONGEST = 8 << 20  # bytes of an entry; 1,500 addresses, the most that Active Directory gives, are 0.4 MB
_CONTENT = re.compile(rb"[^\n]")
_COMMENT_END = rb"[^\S\n]*(?:\n|\Z)"
_PAGES = re.compile(rb"(?:# pagedresults:(?: estimate=[0-9]+)? cookie=([A-Za-z0-9+/=]*)" + _COMMENT_END + rb")+")
_REFERENCES = re.compile(rb"(?:# ref(?:: *)?ldap[si]?://[^\n]*" + _COMMENT_END + rb")+", re.IGNORECASE)
_NAME = re.compile(rb"dn:(?!<)[^\n]*", re.IGNORECASE)
_FAULT = re.compile(
    rb"\n(?:(?![A-Za-z0-9][A-Za-z0-9_.-]*(?:;[^:\n]*)?:)|dn:|changetype:|control:|[^:\n]*;range=)", re.IGNORECASE
)
"""The beginning of a line that a whole answer never has in an entry."""

_NOT_LLL = "this is not what ldapsearch -LLL writes"
_MORE = "not whole: the last page's cookie is not empty, so the server had more to give"
_RANGE = "somebody has more addresses than the server gives at once, and the rest is not in it (;range=)"


class Entry(NamedTuple):
    """An object of the directory that the search found."""

    line: int  # the first line of it in the export, counted from 1
    attributes: bytes  # a line each, unfolded, with a line end before each


class Reference(NamedTuple):
    """A part of the tree that another server holds."""

    url: str


def responses(export: bytes, paged: bool) -> Iterator[Entry | Reference]:
    """Yield what a search found, in the order of the export. Raises BadExport for what is not a whole answer.

    `paged`: the server was asked for pages, so the answer ends with the comment of the last one.
    """
    text = Text.of(export)
    text.check_whole()
    if text.start or text.encoding.startswith("utf-16"):
        raise BadExport(1, f"{_NOT_LLL}: it begins with a byte order mark")
    body = export.replace(b"\r\n", b"\n")
    cookie: bytes | None = None
    rest, line, counted = b"", 1, 0
    for start, end in _pieces(body):
        line, counted = line + body.count(b"\n", counted, start), start
        cookie, rest = _without_pages(_unfold(body[start:end], line), cookie)
        if rest:
            yield from _response(line, rest)
    _check_end(cookie, behind=bool(rest), paged=paged)


def value(line: int, mark: bytes, written: bytes) -> str:
    """Return what stands behind an attribute's name; `mark` is what follows the colon. Raises BadExport."""
    if mark == b"<":
        raise BadExport(line, "an address lies in another file (:<), which was not sent")
    try:
        return (base64.b64decode(written, validate=True) if mark else written).decode("utf-8", "replace")
    except binascii.Error:
        raise BadExport(line, "a value is not the base64 that it says it is: something of it is lost") from None


def _pieces(body: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the text between empty lines begins and ends. Empty lines cost next to nothing."""
    at = 0
    while found := _CONTENT.search(body, at):
        end = body.find(b"\n\n", found.start())
        at = len(body) if end < 0 else end
        yield found.start(), at


def _unfold(piece: bytes, line: int) -> bytes:
    if piece.startswith(b" "):
        raise BadExport(line, f"a line that belongs to no entry: {_NOT_LLL}")
    if len(piece) > _LONGEST:
        raise BadExport(line, f"an entry of more than {_LONGEST >> 20} MB begins here: nobody has so many addresses")
    return piece.rstrip(b"\n").replace(b"\n ", b"")


def _without_pages(piece: bytes, cookie: bytes | None) -> tuple[bytes | None, bytes]:
    """Return the cookie of the last page so far, and a piece without the comments that end pages."""
    pages = _PAGES.match(piece)
    return (pages[1], piece[pages.end() :]) if pages else (cookie, piece)


def _response(line: int, piece: bytes) -> Iterator[Entry | Reference]:
    if _REFERENCES.fullmatch(piece):
        yield from (Reference(url[5:].decode("utf-8", "replace").strip(": ")) for url in piece.splitlines())
        return
    name = _NAME.match(piece)
    if name is None:
        what = "a comment" if piece.startswith(b"#") else "a line that belongs to no entry"
        raise BadExport(line, f"{what}: {_NOT_LLL}")
    fault = _FAULT.search(piece, name.end())
    if fault:
        raise BadExport(
            line, f"in the entry that begins here: {_describe_fault(fault[0].lower(), piece[fault.end() :])}"
        )
    yield Entry(line, piece[name.end() :])


def _describe_fault(begins: bytes, follows: bytes) -> str:
    if begins.endswith(b";range="):
        return _RANGE
    if begins == b"\ndn:":
        return "not whole: another entry begins before it ends, so something between them is lost"
    if begins in (b"\nchangetype:", b"\ncontrol:"):
        return "it is a change and no entry: this is LDIF for ldapmodify, not what a search found"
    what = "a comment" if follows.startswith(b"#") else "a line that is no attribute, and belongs to no entry"
    return f"{what}: {_NOT_LLL}, or something is lost"


def _check_end(cookie: bytes | None, *, behind: bool, paged: bool) -> None:
    if cookie:
        raise BadExport(None, _MORE)
    if paged and cookie is None:
        why = "the last page does not say that it is the last (# pagedresults:)"
        raise BadExport(None, f"not whole: {why}; if the server knows no paging, say page_size = 0")
    if paged and behind:
        raise BadExport(None, "not whole: there is more behind the last page, which does not say that it is the last")
