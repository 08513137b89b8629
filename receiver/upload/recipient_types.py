"""The kinds of recipients that a customer may leave out, and how Exchange since 2000 marks them.

A kind is also the reason that is counted. A recipient of no kind is one like any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

INTERNAL_ONLY = "internal only"  # Exchange itself refuses for it whatever comes from outside
SYSTEM = "system objects"
ARBITRATION = "arbitration mailboxes"
DISCOVERY = "discovery mailboxes"
HEALTH = "health mailboxes"
PLAN = "mailbox plans"
PUBLIC_FOLDERS = "public folder mailboxes"  # which hold the folders; a folder with its own address is of no kind
HIDDEN = "hidden"  # in no address list
DISABLED = "disabled"  # nobody can log in
CONTACT = "contacts"  # their mail goes on to somewhere else
KINDS = (
    *(SYSTEM, ARBITRATION, DISCOVERY, HEALTH, PLAN, PUBLIC_FOLDERS, CONTACT),
    *(INTERNAL_ONLY, HIDDEN, DISABLED),
)
"""All of them; of two that one recipient is, the first is the reason."""

_NO_KIND = ""
_DETAILS: Mapping[str, tuple[int, str]] = {  # RecipientTypeDetails: its bit in msExchRecipientTypeDetails, and the kind
    "UserMailbox": (0, _NO_KIND),
    "MailContact": (6, CONTACT),
    "MailUser": (7, _NO_KIND),
    "SystemAttendantMailbox": (13, SYSTEM),
    "SystemMailbox": (14, SYSTEM),
    "MailForestContact": (15, CONTACT),
    "User": (16, _NO_KIND),
    "DisabledUser": (21, _NO_KIND),
    "MicrosoftExchange": (22, SYSTEM),
    "ArbitrationMailbox": (23, ARBITRATION),
    "MailboxPlan": (24, PLAN),
    "DiscoveryMailbox": (29, DISCOVERY),
    "RoleGroup": (30, SYSTEM),
    "RemoteUserMailbox": (31, _NO_KIND),
    "PublicFolderMailbox": (36, PUBLIC_FOLDERS),
    "MonitoringMailbox": (39, HEALTH),
    "AuditLogMailbox": (42, SYSTEM),
}
_LOG_IN = ("", "UserMailbox", "MailUser", "User", "DisabledUser", "RemoteUserMailbox")
"""Types whose account a person logs in to: it is disabled when the person has left. The empty type is that of Exchange
2000 and 2003. Accounts of all other types are always disabled and still get mail: shared, room, equipment, linked,
scheduling, legacy and team mailboxes, and types that Exchange has added since.
"""
_NUMBERED: Mapping[str, str] = {str(1 << bit): name for name, (bit, _) in _DETAILS.items()}

OWNER = (
    *("objectClass", "msExchRecipientTypeDetails", "msExchRequireAuthToSendTo"),
    *("msExchHideFromAddressLists", "userAccountControl"),
)
"""What Active Directory is asked of whoever has the addresses. `targetAddress` is not: a contact's mail goes there."""

_CLASSES = {
    "contact": "MailContact",
    "msexchsystemmailbox": "SystemMailbox",
}  # for entries without the number of a type
_ACCOUNT_DISABLED = 2  # the bit of userAccountControl
_LONG = 12  # digits no number of Active Directory has: reading a million of them would take minutes

_GUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NAMES = (
    (rf"systemmailbox\{{{_GUID}\}}", SYSTEM),
    ("microsoftexchange[0-9a-f]{32}", SYSTEM),
    (rf"(?:federatedemail|migration)\.{_GUID}", ARBITRATION),
    (rf"discoverysearchmailbox\{{{_GUID}\}}", DISCOVERY),
    ("healthmailbox[0-9a-f]{7,32}", HEALTH),
)
_NAMED = tuple((re.compile(rf"(?:^|;)smtp:{name}@", re.IGNORECASE), kind) for name, kind in _NAMES)
_MAYBE_NAMED = ("mailbox{", "microsoftexchange", "federatedemail.", "migration.", "healthmailbox")


def details_of_number(number: str) -> str:
    """Return the RecipientTypeDetails for what Active Directory has, a number; the number where we do not know it."""
    return _NUMBERED.get(number, number)


def kinds_of_type(type_: str, *, internal_only: bool, hidden: bool, disabled: bool) -> tuple[str, ...]:
    """Return the kinds, in the order of KINDS, of a recipient with this RecipientTypeDetails; empty: not known."""
    _, kind = _DETAILS.get(type_, (0, _NO_KIND))
    said = (kind, kind != ""), (INTERNAL_ONLY, internal_only), (HIDDEN, hidden)
    return (*(name for name, true in said if true), *([DISABLED] if disabled and type_ in _LOG_IN else []))


@lru_cache(maxsize=4096)
def owner_kinds(class_: str, number: str, internal_only: str, hidden: str, account: str) -> tuple[str, ...]:
    """Return the kinds by what Active Directory says: the attributes of OWNER, as csvde writes them.

    Of several classes, with `;` between, the last one counts.
    """
    return kinds_of_type(
        details_of_number(number) or _CLASSES.get(class_.rpartition(";")[2].casefold(), ""),
        internal_only=internal_only.casefold() == "true",
        hidden=hidden.casefold() == "true",
        disabled=account.isdecimal() and len(account) < _LONG and bool(int(account) & _ACCOUNT_DISABLED),
    )


def may_tell_a_kind(text: str) -> bool:
    """Return quickly whether `kind_of_addresses` might find something in any part of a text."""
    lowered = text.lower()
    return any(part in lowered for part in _MAYBE_NAMED)


def kind_of_addresses(addresses: str) -> str:
    """Return the kind that an address tells which only Exchange itself makes; empty where there is none.

    It is used for recipients without RecipientTypeDetails. `addresses` is a list as directories
    write it, `SMTP:a@b;smtp:c@d`.
    """
    return next((kind for pattern, kind in _NAMED if pattern.search(addresses)), "")
