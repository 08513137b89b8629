"""A directory of 100,000 through runexport.sh, beside the bare ldapsearch that it runs."""

from __future__ import annotations

import json
from collections.abc import Mapping

from benchmarks.measuring import Spread, figure, quotients, rounds
from benchmarks.report import Answer, Plot, Table, Target
from lab import roots
from lab.host import LabHost
from tests.support.directories import BASE, FOLDER, READER, SERVER, Directory

PEOPLE = {10_000: 5, 100_000: 3}  # so many entries: so many rounds
QUICK = {1_000: 2}
SCRIPT, BARE = NAMES = ("`runexport.sh look`", "`ldapsearch`, its output to a file")
HOW = """\
One host with OpenLDAP, so many people in it with an address each, and both programs. The script asks the same question
as the bare `ldapsearch`, page by page over TLS; then it looks whether the answer is whole, counts, hashes, and sends it
over SSH to an account of the same host that only takes it. Memory is that of the largest process of each."""
_MEASURE = (
    "import json, resource, subprocess, sys, time; began = time.perf_counter(); "
    "code = subprocess.run(sys.argv[1:], stdout=open('/tmp/out', 'wb'), stderr=subprocess.DEVNULL).returncode; "
    "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss; "
    "print(json.dumps([time.perf_counter() - began, peak * 1024, code]))"
)


def measure(quick: bool) -> Answer:
    """Measure it."""
    found = {count: _found(count, repeats) for count, repeats in (QUICK if quick else PEOPLE).items()}
    most = found[max(found)]
    ratio = quotients([one[0] for one in most[SCRIPT]], [one[0] for one in most[BARE]])
    return Answer(
        title="A directory over LDAP",
        how=HOW,
        targets=(Target(says=f"{max(found):,} entries, beside bare ldapsearch", found=ratio, limit=2, unit="times"),),
        tables=(_table(found),),
        plot=Plot(
            title="A directory over LDAP",
            x="entries",
            y="seconds",
            lines={
                name: [(count, Spread.of(one[0] for one in runs[name])) for count, runs in found.items()]
                for name in NAMES
            },
            log="xy",
        ),
    )


def _table(found: Mapping[int, Mapping[str, list[tuple[float, int]]]]) -> Table:
    rows = [
        (
            f"{count:,}",
            name,
            Spread.of(one[0] for one in runs[name]).text("s"),
            f"{figure(max(one[1] for one in runs[name]) / 1e6)} MB",
        )
        for count, runs in found.items()
        for name in NAMES
    ]
    return Table(says="Seconds, and the largest process.", columns=("entries", "", "time", "memory"), rows=tuple(rows))


def _found(count: int, repeats: int) -> dict[str, list[tuple[float, int]]]:
    with LabHost("bookworm", bare=True, extra=roots.DIRECTORY, on_disk=True) as host:
        directory = Directory(host, people=count)
        directory.kit()
        search = (
            "-LLL",
            "-x",
            "-D",
            READER,
            "-y",
            f"{FOLDER}/bind.password",
            "-H",
            SERVER,
            "-b",
            BASE,
            "-o",
            "ldif-wrap=no",
        )
        asked = ("-o", f"tls_cacert={FOLDER}/ca.pem", "-E", "!pr=500/noprompt", "(mail=*)", "mail", "objectClass")
        return rounds(
            repeats,
            {
                SCRIPT: lambda: _run(host, "dash", f"{FOLDER}/runexport.sh", "look"),
                BARE: lambda: _run(host, "ldapsearch", *search, *asked),
            },
        )


def _run(host: LabHost, *argv: str) -> tuple[float, int]:
    seconds, peak, code = json.loads(host.run("python3", "-c", _MEASURE, *argv).stdout)
    if code:
        raise RuntimeError(f"{argv[0]} ended with {code}: {host.run('tail', '-5', '/tmp/out').stdout}")
    return seconds, peak
