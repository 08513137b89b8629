"""Runs here and on the relay: the parameters of main.cf that we edit, what is ours in each, and how lists are split."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from common.paths import PLACES

TABLES = PLACES.tables
RELOCATED = "relocated_maps"
DOMAINS, ROUTES, RECIPIENTS = "relay_domains", "transport_maps", "relay_recipient_maps"
TABLE_OF = {DOMAINS: "relay_domains", ROUTES: "transport", RECIPIENTS: "exchange_recipients"}
OTHERS = f"regexp:{TABLES}/others"
REJECT, SOFT = "unknown_relay_recipient_reject_code", "450"
RESTRICTIONS = "smtpd_recipient_restrictions"
LISTS = (*TABLE_OF, RESTRICTIONS)
"""The parameters that are lists, in which others have members too."""
ASKING = {
    "unverified_recipient_reject_code": "550",
    "unverified_recipient_reject_reason": "the recipient's mail server does not confirm this address",
    "address_verify_negative_refresh_time": "15m",
}
"""Parameters of a relay that asks customers' servers. Without the reason Postfix would pass on the server's words."""
PARAMETERS = (*LISTS, REJECT, *ASKING)
_UNLISTED = re.compile(rf"check_recipient_access[,\s]+(?=pipemap:\{{\s*regexp:{TABLES}/asked\b)")
FIRST = (ROUTES, RECIPIENTS)  # where our table stands first: behind one that cannot be read it is never asked


class Setting(NamedTuple):
    """A parameter of main.cf: whether it is set there, and the value in force, `$` names and all."""

    is_set: bool
    value: str


def members(value: str) -> list[str]:
    """Return the members of a list, cut at commas and blanks.

    Braces keep words together, as in relay_domains' default.
    """
    found, word, depth = [], "", 0
    for char in value + " ":
        if depth == 0 and char in ", \t\r\n":
            found += [word] if word else []
            word = ""
        else:
            word += char
            depth = max(0, depth + (char == "{") - (char == "}"))
    return found + ([word.rstrip()] if word.strip() else [])


def our_member(parameter: str, table_type: str) -> str:
    """Return our table as a member of a list.

    In relay_domains Postfix takes an entry for its subdomains as well (parent_domain_matches_subdomains): it would
    relay mail for names that are not ours. A union is looked up as its first table is, and a regexp table by the whole
    name alone; an empty one adds nothing else.
    """
    table = f"{table_type}:{TABLES}/{TABLE_OF[parameter]}"
    return f"unionmap:{{regexp:/dev/null, {table}}}" if parameter == DOMAINS else table


def our_members(parameter: str, table_type: str) -> list[str]:
    """Return our table, and the two pipes that look it up by another key than the address, as members of a list.

    `odd` turns #sales@... into "#sales"@..., as no line of a table may begin with #. `plus` turns user+tag@ into user@;
    it is always there, because any export may be the first that wants it.
    """
    table = our_member(parameter, table_type)
    if parameter != RECIPIENTS:
        return [table]
    return [table, *(f"pipemap:{{regexp:{TABLES}/{name}, {table}}}" for name in ("odd", "plus"))]


def unlisted_member(table_type: str) -> str:
    """Return what has unlisted addresses deferred or asked about, as members of smtpd_recipient_restrictions.

    `asked` passes on only the domains where that is wanted, so a fault in the tables behind it affects no other domain.
    A union whose first table is a regexp is looked up by the whole address alone, never by the domain, which would
    match its subdomains as well.
    """
    table = our_member(RECIPIENTS, table_type)
    ways = ", ".join(f"pipemap:{{regexp:{TABLES}/{name}, {table}}}" for name in ("plus", "odd"))
    listed = f"unionmap:{{regexp:{TABLES}/unlisted_domains, {table}, {ways}}}"
    return f"check_recipient_access pipemap:{{regexp:{TABLES}/asked, {listed}, regexp:{TABLES}/unlisted_answers}}"


def with_unlisted(value: str, table_type: str) -> str:
    """Return a list of restrictions with our member first; behind one that permits it would not be reached."""
    ours, rest = unlisted_member(table_type), without_unlisted(value)
    wanted = f"{ours}, {rest}" if rest else ours
    return value if members(value) == members(wanted) else wanted


def without_unlisted(value: str) -> str:
    """Return a list of restrictions without our member, its other text as it stands."""
    while found := _UNLISTED.search(value):
        end, depth = found.end(), 0
        while end < len(value) and not (value[end] == "}" and depth == 1):
            depth += (value[end] == "{") - (value[end] == "}")
            end += 1
        value = value[: found.start()] + value[end + 1 :].lstrip(", \t\r\n")
    return value.rstrip(", \t\r\n")


def is_ours(parameter: str, member: str) -> bool:
    """Return, by the path, whether a member is our table, whatever its type. A union that has more in it is not.

    Nor is a pipe that begins with a table of others.
    """
    table = rf"(proxy:)?[^\s:,{{}}]+:{re.escape(f'{TABLES}/{TABLE_OF[parameter]}')}"
    first = rf"unionmap:\{{\s*regexp:/dev/null|pipemap:\{{\s*regexp:{TABLES}/[a-z_]+"
    return bool(re.fullmatch(rf"{table}|(?:{first})[,\s]+{table}\s*\}}", member))


def is_first(parameter: str, value: str) -> bool:
    """Return whether our table stands before all others of a list that has it."""
    return is_ours(parameter, (members(value) or [""])[0])


def is_others(member: str) -> bool:
    """Return whether a member is the table that lets domains pass that are not ours."""
    return bool(re.fullmatch(rf"[^\s:,{{}}]+:{TABLES}/others", member))


def without_ours_members(parameter: str, value: str) -> list[str]:
    """Return the members that are not ours."""
    if parameter == RESTRICTIONS:
        return members(without_unlisted(value))
    return [one for one in members(value) if not is_ours(parameter, one) and not is_others(one)]


def with_ours(parameter: str, value: str, table_type: str, others: bool = False) -> str:
    """Return the list with our members in it once: first in the lists of FIRST, elsewhere where they stand or last.

    `others`: with the table that lets other domains pass as well. A list that is right already keeps its very text.
    """
    now = members(value)
    ours = our_members(parameter, table_type)
    wanted: list[str] = [*ours] if parameter in FIRST else []
    for one in now:
        if is_ours(parameter, one):
            wanted += [] if ours[0] in wanted else ours
        elif not is_others(one):
            wanted.append(one)
        elif others and OTHERS not in wanted:
            wanted.append(OTHERS)
    wanted += [] if ours[0] in wanted else ours
    wanted += [OTHERS] if others and OTHERS not in wanted else []
    return value if wanted == now else ", ".join(wanted)


def without_ours(parameter: str, now: Setting, record: Setting | None) -> Setting:
    """Return the list for a relay without customers: as recorded if its other members are the same."""
    rest = without_ours_members(parameter, now.value)
    if rest == members(now.value):
        return now
    if record and rest == members(record.value):
        return record
    if parameter == RESTRICTIONS:  # its words belong together in pairs, so the text of the rest stays as it is
        return Setting(bool(rest), without_unlisted(now.value))
    return Setting(True, ", ".join(rest))


def format_setting(settings: Mapping[str, Setting]) -> dict[str, str]:
    """Return the parameters that are set, as a state of main.cf has them."""
    return {name: setting.value for name, setting in settings.items() if setting.is_set}
