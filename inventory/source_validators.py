"""Types as in inventory.validators, for the values of `[exchange.ldap]` and `[exchange.online]` alone."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from inventory.validators import host_and_port, is_address, line


def ldap_server(text: str) -> str:
    """Return the URL of an LDAP server with TLS from the first byte on, as `ldaps://dc1.acme.example:3269`."""
    if text.startswith("ldap:"):
        raise ValueError("must be ldaps://, TLS from the first byte on: plain LDAP shows the password to the network")
    if not text.startswith("ldaps://") or text.count("/") != 2:
        raise ValueError("must read ldaps://HOST or ldaps://HOST:PORT, without a path")
    where = text.removeprefix("ldaps://")
    host_and_port(where)
    if is_address(where) and ":" in where:
        raise ValueError("must have brackets around an IPv6 address, as ldaps://[2001:db8::1]:636")
    return text


def directory_text(text: str) -> str:
    """Return a DN or another value that ldapsearch takes as one argument; it may be empty."""
    return line(text) if text else text


def directory_name(text: str) -> str:
    r"""Return who binds: a DN, NAME@DOMAIN or DOMAIN\NAME."""
    if not re.search(r"[=@\\]", line(text)):
        raise ValueError(r"must be a DN (cn=postern,dc=acme,dc=example), NAME@DOMAIN or DOMAIN\NAME, and no bare name")
    return text


def attribute(text: str) -> str:
    """Return the name of an attribute, without options."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", text):
        raise ValueError("must be the name of an attribute, as mail; options (;lang-de) are asked for with it")
    return text


def search_filter(text: str) -> str:
    """Return a search filter in brackets, as `(mail=*)`."""
    if not (line(text).startswith("(") and text.endswith(")") and text.count("(") == text.count(")")):
        raise ValueError("must be a filter whose brackets close, as (mail=*)")
    return text


def presences(text: str) -> set[str]:
    """Return the attributes, folded, of which a filter wants any to be there; nothing for a filter of another kind."""
    folded = re.sub(r"\s", "", text.casefold())
    each = re.fullmatch(r"\(\|((?:\([a-z][a-z0-9-]*=\*\))+)\)|(\([a-z][a-z0-9-]*=\*\))", folded)
    return set(re.findall(r"\(([a-z0-9-]+)=", each[1] or each[2])) if each else set()


def pin(text: str) -> str:
    """Return the SHA-256 of a public key as ldapsearch takes it."""
    if not re.fullmatch(r"sha256:[A-Za-z0-9+/]{43}=", text):
        raise ValueError("must be sha256: and the 44 letters of a base64 SHA-256 of the server's public key")
    return text


def organization(text: str) -> str:
    """Return the primary name of a tenant of Microsoft 365."""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,60}(\.[A-Za-z0-9-]{1,60})*\.onmicrosoft\.[a-z]{2,3}", text):
        raise ValueError("must be the tenant's first domain, as acme.onmicrosoft.com: no other is taken there")
    return text


def app_id(text: str) -> str:
    """Return the Application (client) ID of an app registration."""
    if not re.fullmatch(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", text):
        raise ValueError("must be the Application (client) ID, as 11111111-2222-3333-4444-555555555555")
    return text.lower()


def thumbprint(text: str) -> str:
    """Return the SHA-1 of a certificate as Windows names it."""
    if not re.fullmatch(r"[0-9A-Fa-f]{40}", text):
        raise ValueError("must be the certificate's thumbprint: 40 hexadecimal digits without blanks")
    return text.upper()


LdapServer = Annotated[str, AfterValidator(ldap_server)]
DirectoryText = Annotated[str, AfterValidator(directory_text)]
DirectoryName = Annotated[str, AfterValidator(directory_name)]
Attribute = Annotated[str, AfterValidator(attribute)]
SearchFilter = Annotated[str, AfterValidator(search_filter)]
Pin = Annotated[str, AfterValidator(pin)]
Organization = Annotated[str, AfterValidator(organization)]
AppId = Annotated[str, AfterValidator(app_id)]
Thumbprint = Annotated[str, AfterValidator(thumbprint)]
