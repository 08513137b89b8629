"""What differs between two hosts of one root, as files: name, address, Postfix' place, the way to the mirror."""

from __future__ import annotations

from pathlib import Path

from lab import mirror

NOWHERE = "127.77.255.53"
"""Nobody answers there, so a look-up fails at once and never leaves the machine."""


def files(root: Path, address: str, name: str) -> dict[str, tuple[int, str]]:
    """Return path, mode and text of each file that a host of this root has in addition."""
    texts = {
        "/etc/hostname": f"{name}\n",
        "/etc/mailname": f"{name}\n",
        "/etc/hosts": f"127.0.0.1 localhost\n{address} {name} {name.partition('.')[0]}\n",
        "/etc/resolv.conf": f"nameserver {NOWHERE}\noptions timeout:1 attempts:1\n",
        "/etc/apt/apt.conf.d/90lab": "",
        **_postfix(root, address, name),
    }
    if (root / "var/spool/postfix/etc").exists():  # what a chrooted smtpd knows
        texts |= {f"/var/spool/postfix{path}": texts[path] for path in ("/etc/hosts", "/etc/resolv.conf")}
    for path, text in mirror.way_there(root).items():
        texts[path] = texts.get(path, "") + text
    return {path: (0o644, text) for path, text in texts.items()}


def _postfix(root: Path, address: str, name: str) -> dict[str, str]:
    """Postfix at its own address only, and no way out for mail: from a loopback address nothing else is reached."""
    own = [
        f"myhostname = {name}",
        f"inet_interfaces = {address}",
        "inet_protocols = ipv4",
        f"mynetworks = 127.0.0.1/32 {address}/32",
        f"smtp_bind_address = {address}",
    ]
    main_cf = root / "etc/postfix/main.cf"
    if main_cf.exists():
        return {"/etc/postfix/main.cf": main_cf.read_text() + "\n".join([*own, ""])}
    # One that is installed in a bare host is held to the same before anybody can start it.
    words = " ".join(f"'{line}'" for line in own)
    hold = f"[ ! -e /etc/postfix/main.cf ] || postconf -e {words}"
    return {"/etc/apt/apt.conf.d/90lab": f'DPkg::Post-Invoke {{ "{hold}"; }};\n'}
