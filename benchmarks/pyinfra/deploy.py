"""A relay and one customer, as somebody writes it who knows pyinfra: its own operations, the rest only where needed."""

import json
from io import StringIO
from pathlib import Path

from pyinfra import host
from pyinfra.facts.server import Command
from pyinfra.operations import apt, files, server
from pyinfra.operations.util import any_changed

facts = json.loads(Path(host.data.facts).read_text("utf-8"))
templates = Path(facts["templates"])
library, rebuild = facts["library"], facts["rebuild"]
customer = f"/etc/postern/customers/{facts['customer']['id']}"

apt.packages(name="Programs", packages=["postfix", "make", "sudo", "cron", "passwd"], no_recommends=True)

for path in ("/var/lib/postern", library, "/etc/postern/tables", customer):
    files.directory(name=f"Directory {path}", path=path, mode="755")

server.user(
    name="Account",
    user="postern",
    home="/var/lib/postern",
    ensure_home=False,
    shell="/bin/sh",
    password="*",
    system=True,
)

# files.sync would be the word for it, and asks two questions a file: 2.5 times as long for all of this.
receiver = files.put(name="Receiver", src=facts["archive"], dest="/var/lib/postern/receiver.tar")
server.shell(
    name="Receiver unpacked",
    commands=[f"tar -C {library} -xf /var/lib/postern/receiver.tar"],
    _if=receiver.did_change,
)

for path, module in facts["launchers"].items():
    files.template(
        name=f"Launcher {path}",
        src=str(templates / "launcher.j2"),
        dest=path,
        mode="755",
        python=facts["python"],
        library=library,
        module=module,
    )

for template, path, mode in (
    ("Makefile.j2", "/etc/postern/tables/Makefile", "644"),
    ("sudoers.j2", "/etc/sudoers.d/postern", "440"),
    ("cron.j2", "/etc/cron.d/postern", "644"),
):
    files.template(name=path, src=str(templates / template), dest=path, mode=mode, rebuild=rebuild)

sources = [
    files.template(
        name=f"Customer's {name}",
        src=str(templates / f"{name}.j2"),
        dest=f"{customer}/{name}",
        mode="644",
        jinja_env_kwargs={"trim_blocks": True},
        customer=facts["customer"],
        names=facts["names"],
        routes=facts["routes"],
    )
    for name in ("exclude-users.txt", "relay_domains", "transport")
]
for path, content in (
    ("/etc/postern/relay.json", json.dumps(facts["relay"], indent=2, ensure_ascii=False)),
    (f"{customer}/settings.json", json.dumps(facts["settings"], indent=2, ensure_ascii=False)),
    (f"{customer}/authorized_keys", facts["key_line"]),
):
    sources.append(files.put(name=path, src=StringIO(f"{content}\n"), dest=path, mode="644"))

server.shell(name="Tables", commands=[rebuild], _if=any_changed(receiver, *sources))

main_cf = facts["main_cf"]
if host.get_fact(Command, f"postconf -h {' '.join(main_cf)}") != "\n".join(main_cf.values()):
    edits = " ".join(f"'{name} = {value}'" for name, value in main_cf.items())
    server.shell(name="main.cf", commands=[f"postconf -e {edits}", "postfix reload"])
