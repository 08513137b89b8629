"""What an export is made from, and the sources asked over a network: `[exchange.ldap]`, `[exchange.online]`."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field, ValidationInfo, field_validator

from inventory import validators
from inventory.source_validators import (
    AppId,
    Attribute,
    DirectoryName,
    DirectoryText,
    LdapServer,
    Organization,
    Pin,
    SearchFilter,
    Thumbprint,
    presences,
)
from inventory.table import Table

# A word here is a folder of templates/windows or templates/posix, and a module of receiver/upload/formats, its - and .
# written _.
Source: TypeAlias = Literal["exchange-5.5", "csvde", "powershell", "ldap", "exchange-online"]
SERVERS = {"ldap": "ldap-host", "exchange-online": "exchange-online"}
"""What messages call the customer's end where the file names no server."""


class Ldap(Table):
    """How an LDAP directory is asked: `[exchange.ldap]`."""

    servers: tuple[LdapServer, ...] = Field(
        min_length=1,
        description="As `ldaps://dc1.acme.example:3269`, the first one that answers whole counts. Port left out: 636; "
        "3269 is the global catalog of Active Directory, the whole forest. Plain LDAP is refused.",
    )
    base: DirectoryText = Field(
        description="Below which entry people are, as DC=acme,DC=example; empty where the server takes it for all."
    )
    bind_dn: DirectoryName = Field(
        description="Who asks: a DN, or in Active Directory NAME@DOMAIN; with a keytab its principal. The password "
        "lies on the host that asks, in bind.password, and nowhere here."
    )
    attributes: tuple[Attribute, ...] = Field(
        ("proxyAddresses",),
        min_length=1,
        description="Those that hold addresses. A value without TYPE: in front is an internet address.",
    )
    filter: SearchFilter | None = Field(
        None, description="Which entries are asked for. Left out: all that have one of attributes."
    )
    page_size: int = Field(
        500, ge=0, le=10_000, description="Entries asked for at once; 0 for servers that know no paging."
    )
    ca: validators.UnixFile = Field(
        "ca.pem",
        description="File on that host with the CA of the servers' certificates, in PEM; a name: in directory.",
    )
    pins: tuple[Pin, ...] = Field(
        (),
        alias="pin",
        description="The key that a server must have besides, as `sha256:BASE64`, or several, one for each server.",
    )

    @field_validator("pins", mode="before")
    @classmethod
    def _one_or_several(cls, pins: object) -> object:
        return (pins,) if isinstance(pins, str) else pins

    @property
    def default_filter(self) -> str:
        """The filter that finds whoever has one of the attributes."""
        each = "".join(f"({name}=*)" for name in self.attributes)
        return each if len(self.attributes) == 1 else f"(|{each})"

    @property
    def finds_addresses_alone(self) -> bool:
        """Return whether only who has one of the attributes is asked for; written by hand it is the same filter."""
        return self.filter is None or presences(self.filter) == {name.casefold() for name in self.attributes}


class Online(Table):
    """How Exchange Online is asked: `[exchange.online]`."""

    organization: Organization = Field(description="The tenant's first domain, as acme.onmicrosoft.com.")
    app_id: AppId = Field(description="Application (client) ID of the app registration; docs/sources.md.")
    thumbprint: Thumbprint | None = Field(
        None, description="The certificate in the store of the Windows machine that asks."
    )
    certificate: validators.UnixFile | None = Field(
        None, description="On a Linux host instead: the certificate in PEM; a name: in directory."
    )
    key: validators.UnixFile | None = Field(
        None, validate_default=True, description="And its private key in PEM, without a password, 0600."
    )
    environment: Literal["O365Default", "O365China", "O365USGovGCCHigh", "O365USGovDoD", "O365GermanyCloud"] = Field(
        "O365Default", description="Which of Microsoft's clouds."
    )

    @field_validator("key")
    @classmethod
    def _windows_or_linux(cls, key: str | None, info: ValidationInfo) -> str | None:
        if {"thumbprint", "certificate"} <= info.data.keys():
            thumbprint, certificate = info.data["thumbprint"], info.data["certificate"]
            if (key is None) != (certificate is None) or (key is None) == (thumbprint is None):
                raise ValueError("must be given with certificate (Linux), or thumbprint alone (Windows)")
        return key
