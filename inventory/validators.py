"""Types named after the format a value must fit, so that nothing a customer file says can become a command elsewhere.

Each function takes what the file says and returns it in its one form, or raises ValueError with the reason alone: the
caller knows the file, the key and the value.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import unicodedata
import zoneinfo
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from common.addresses import LOCAL_CHARACTERS, listed_local_part
from common.names import CUSTOMER
from inventory import domains

DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
BY_MX = "mx"  # the one word in `next_hop`: where DNS says
ANYWHERE = "any"  # the one word in `addresses` that leaves from= out of a key line

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_ROUTE = re.compile(r"(?P<transport>[a-z][a-z0-9_-]*):(?P<host>\[[^\[\]]+\]|[^:\[\]]+)(:(?P<port>[0-9]{1,5}))?")
_MAIL_EATERS = ("discard", "error", "retry")  # transports of Postfix that never deliver
_PATH = re.compile(r"[A-Za-z]:(\\[A-Za-z0-9 ._~$()+@-]+)+\\?")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?", re.IGNORECASE)


def near(word: str, choices: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the choice most like the word, or nothing when none is."""
    found = difflib.get_close_matches(word, list(choices), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def line(text: str) -> str:
    """Return text of one line that can be shown anywhere: no control characters, no other line ends Unicode knows."""
    if not text.strip():
        raise ValueError("must not be empty")
    if text.startswith("<") and text.endswith(">"):
        raise ValueError("is still what `inv init` wrote there")
    for character in text:
        if unicodedata.category(character)[0] == "C" or unicodedata.category(character) in ("Zl", "Zp"):
            help_ = (
                r"; TOML reads \ in double quotes as an escape: use single quotes" if character in "\b\t\n\f\r" else ""
            )
            raise ValueError(f"holds the control character U+{ord(character):04X}{help_}")
    return text


def ascii_line(text: str) -> str:
    """Return text of one line in ASCII: Notepad of an NT and a code page of Windows agree on nothing else."""
    if not line(text).isascii():
        raise ValueError("must be plain ASCII: it stands in files for machines that know no other letters")
    return text


def name(text: str) -> str:
    """Return the name of a customer or a relay, which stands in paths, key lines and metric labels."""
    if not CUSTOMER.fullmatch(text):
        raise ValueError("must be a letter a-z, then up to 30 of a-z, 0-9 and -")
    return text


def recipient(text: str) -> str:
    """Return an address as a list has it: folded as Postfix folds it, quoted where it must be, with A-labels."""
    local, at, host = text.rpartition("@")
    if not at:
        raise ValueError("is not an address: local-part@domain")
    listed = listed_local_part(line(local).casefold()) if local else None
    if listed in (None, "*", '""'):
        raise ValueError("has a local part that no address has: '*', nothing, or one of \"<>@ outside of quotes")
    if len(local) > LOCAL_CHARACTERS:
        raise ValueError(f"has a local part of more than {LOCAL_CHARACTERS} characters, which Exchange allows at most")
    return f"{listed}@{domains.ascii_form(host)}"


def pattern(text: str) -> str:
    """Return a line of exclude-users.txt: a local part in any domain, or a shell pattern on the folded address."""
    if text != line(text).strip():
        raise ValueError("has blanks at an end")
    if text.startswith("#"):
        raise ValueError("begins with #, which makes its line in exclude-users.txt a comment")
    if not text.strip("*?@."):
        raise ValueError("would leave nobody")
    return text.casefold()


def is_address(text: str) -> bool:
    """Return whether the text is an IP address as every program here writes one (no zone)."""
    try:
        return "%" not in text and bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def host(text: str) -> str:
    """Return a name or address to connect to, or a name that ~/.ssh/config knows."""
    if not is_address(text) and not _HOST.fullmatch(text):
        raise ValueError("must be a host name or an IP address; a port has its own key")
    return text


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError(f"port {text!r} must be 1 to 65535")
    return int(text)


def host_and_port(text: str) -> tuple[str, int | None]:
    """Split `host`, `host:port`, `2001:db8::1` or `[2001:db8::1]:port`."""
    if is_address(text):
        return text, None
    if text.startswith("["):
        inner, closed, rest = text[1:].partition("]")
        if not closed or not is_address(inner) or (rest and not rest.startswith(":")):
            raise ValueError("must be written [2001:db8::1] or [2001:db8::1]:22")
        return inner, _port(rest[1:]) if rest else None
    head, colon, port = text.partition(":")
    return host(head), _port(port) if colon else None


def host_port(text: str) -> str:
    """Check what host_and_port() splits: it stands in the batch file as two arguments of the client."""
    where, _ = host_and_port(text)
    if not is_address(where) and "." not in where:
        raise ValueError("must be the full name or the address: the customers' servers do not know our short names")
    return text


def next_hop(text: str) -> str:
    """Return the right side of a transport(5) line, as `relay:[203.0.113.25]:25`, or the word for what DNS says."""
    if text == BY_MX:
        return text
    parts = _ROUTE.fullmatch(text)
    if parts is None:
        raise ValueError(
            "must read relay:[203.0.113.25]:25: a transport, a host ([...]: no MX is asked), and a port or none; "
            f'or "{BY_MX}": mail goes where the MX records of each domain say'
        )
    if parts["transport"] in _MAIL_EATERS:
        raise ValueError(f"transport {parts['transport']!r} delivers nothing")
    inner = parts["host"].strip("[]")
    if not is_address(inner.removeprefix("ipv6:")):
        host(inner)
    if parts["port"]:
        _port(parts["port"])
    return text


def key_from(text: str) -> str:
    """Return a member of from= in a key line, or `any`. sshd refuses the key when one member is malformed."""
    if text == ANYWHERE:
        return text
    if text.startswith("!"):
        raise ValueError("must not be negated: say where the server is, not where it is not")
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"must be an address or a network as 198.51.100.0/24, or {ANYWHERE!r} ({error})") from None
    if network.prefixlen == 0:
        raise ValueError(f"is the whole world: say {ANYWHERE!r} if you mean it")
    if "%" in text or (network.version == 6 and network.network_address.ipv4_mapped):
        raise ValueError("must be the address sshd sees: no zone, no IPv4 in IPv6")
    return str(network) if "/" in text else str(network.network_address)


def windows_path(text: str) -> str:
    r"""Return an absolute path of a drive, as `C:\Program Files\Exchsrvr`, that batch files take in double quotes."""
    if "/" in line(text):
        raise ValueError(r"must be written with \ and not /")
    if not _PATH.fullmatch(text):
        raise ValueError(
            r"must be a drive and folders as D:\exchsrvr, of letters, digits, blanks and ._~$()+@- (no %, &, ^, quotes)"
        )
    folders = text.rstrip("\\").split("\\")[1:]
    for folder in folders:
        if folder != folder.strip(" ").rstrip(".") or _DEVICE.fullmatch(folder):
            raise ValueError(f"holds {folder!r}, which Windows takes for something else")
    return text.rstrip("\\")


def plain_windows_path(text: str) -> str:
    """Return a Windows path without blanks: NT 4's `at` cannot run what lies below a folder with one in its name."""
    if " " in windows_path(text):
        raise ValueError("must have no blanks: NT 4's at cannot run what lies there")
    if re.search(r"[()]", text):
        raise ValueError("must have no brackets: cmd.exe takes them for its own")
    return windows_path(text)


def options_file_text(text: str) -> str:
    """Return a value of ADMIN's options file, which is ASCII, takes `;` for a comment and `"` for a quote."""
    if not line(text).isascii():
        raise ValueError("must be ASCII: ADMIN's options file knows no other letters")
    if re.search(r"[;\"%]", text) or text != text.strip():
        raise ValueError('must hold no ; " % and no blanks at its ends: it is a line of an options file')
    return text


def base_point(text: str) -> str:
    """Return the directory object an export starts from, its parts named and separated as ADMIN has them."""
    if not options_file_text(text).startswith("/o="):
        raise ValueError("must start with /o= and the organisation's name, letter by letter as Exchange shows it")
    return text


def domain_root(text: str) -> str:
    """Return the distinguished name of a whole domain of Active Directory, below which all its recipients are."""
    if not re.fullmatch(r"DC=[A-Za-z0-9-]+(,DC=[A-Za-z0-9-]+)*", text, re.IGNORECASE | re.ASCII):
        raise ValueError("must be the root of a domain as DC=acme,DC=example: public folders lie outside any OU")
    return text


def unix_file(text: str) -> str:
    """Return an absolute path, or the name of a file in `directory`."""
    return text if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]*", text) else unix_path(text)


def server_name(text: str) -> str:
    """Return the name of a Windows server: a NetBIOS or DNS name."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", text):
        raise ValueError("must be the server's name: letters, digits, - and _ (NTSERVER)")
    return text


def unix_path(text: str) -> str:
    """Return an absolute path of a relay that a shell, a crontab and main.cf take without quotes."""
    if not re.fullmatch(r"(/[A-Za-z0-9._+-]+)+", text) or ".." in text.split("/"):
        raise ValueError("must be an absolute path of letters, digits and ._+- without ..")
    return text


def user(text: str) -> str:
    """Return a login name."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9._-]{0,31}", text):
        raise ValueError("must be a login name")
    return text


def windows_user(text: str) -> str:
    r"""Return a login name of Windows: `bob`, `ACME\bob` or `bob@acme.example`."""
    if not re.fullmatch(r"([A-Za-z0-9._-]+\\)?[A-Za-z0-9_][A-Za-z0-9._-]{0,63}(@[A-Za-z0-9.-]+)?", text):
        raise ValueError(r"must be a login name: bob, ACME\bob or bob@acme.example")
    return text


def clock(text: str) -> str:
    """Return a time of day, as `07:00`."""
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise ValueError("must be a time from 00:00 to 23:59, two digits each")
    return text


def days(value: object) -> tuple[str, ...]:
    """Return days in the week's order, from `MON-FRI`, `MON,WED,SAT` or a list of such."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts or not all(isinstance(part, str) for part in parts):
        raise ValueError('must be days: "MON-FRI", "MON,WED" or a list of them')
    chosen: set[str] = set()
    for part in parts:
        first, dash, last = part.strip().upper().partition("-")
        start, end = _day(first), _day(last if dash else first)
        chosen.update(DAYS[(start + step) % 7] for step in range((end - start) % 7 + 1))
    return tuple(day for day in DAYS if day in chosen)


def _day(text: str) -> int:
    if text not in DAYS:
        raise ValueError(f"{text!r} is no day: {', '.join(DAYS)}{near(text, DAYS)}")
    return DAYS.index(text)


def time_zone(text: str) -> str:
    """Return a zone of the IANA database, as `Europe/Berlin`."""
    try:
        return zoneinfo.ZoneInfo(text).key
    except (KeyError, ValueError, OSError):  # not there; a path; a directory of the database
        known = zoneinfo.available_timezones()  # 9 ms: for a wrong name only
        raise ValueError(f"is no time zone this machine knows, as Europe/Berlin{near(text, known)}") from None


Line = Annotated[str, AfterValidator(line)]
AsciiLine = Annotated[str, AfterValidator(ascii_line)]
CustomerId = Annotated[str, AfterValidator(name)]
RelayName = Annotated[str, AfterValidator(name)]
Domain = Annotated[str, AfterValidator(domains.ascii_form)]
Recipient = Annotated[str, AfterValidator(recipient)]
Pattern = Annotated[str, AfterValidator(pattern)]
Host = Annotated[str, AfterValidator(host)]
HostPort = Annotated[str, AfterValidator(host_port)]
NextHop = Annotated[str, AfterValidator(next_hop)]
KeyFrom = Annotated[str, AfterValidator(key_from)]
WindowsPath = Annotated[str, AfterValidator(windows_path)]
ServerName = Annotated[str, AfterValidator(server_name)]
UnixFile = Annotated[str, AfterValidator(unix_file)]
UnixPath = Annotated[str, AfterValidator(unix_path)]
User = Annotated[str, AfterValidator(user)]
WindowsUser = Annotated[str, AfterValidator(windows_user)]
Clock = Annotated[str, AfterValidator(clock)]
Days = Annotated[tuple[str, ...], BeforeValidator(days)]
TimeZone = Annotated[str, AfterValidator(time_zone)]
