"""What Postern can be told to do: a function per command, whose docstring is its manual.

Imports invoke alone, so that `inv --list` answers at once; a task imports its story when it runs.
"""

from __future__ import annotations

from invoke import Context, task

_CUSTOMER = "its id, which is its file's name in the inventory"
_ALL = "every customer of the inventory"
_DRY = "say what would be done; do nothing"
_JSON = "print one JSON document instead of text"


@task(help={"customer": "the new customer's id: small letters, digits and '-'; it can never change"})
def init(_: Context, customer: str) -> None:
    """Write a commented customer file to fill in: customers/CUSTOMER.toml in the inventory."""
    from commands import run_command
    from commands.init import init as story

    run_command(story, customer)


@task
def check(_: Context) -> None:
    """Check the whole inventory, every fault of every file at once; touch nothing."""
    from commands import run_command
    from commands.check import check as story

    run_command(story)


@task(name="list", help={"json": _JSON})
def list_(_: Context, json: bool = False) -> None:
    """List the customers with their domains, relays and source."""
    from commands import run_command
    from commands.list import list_customers as story

    run_command(story, json)


@task(
    help={"name": "a relay; or a customer whose server is reached over SSH", "yes": "record without asking"},
)
def trust(_: Context, name: str, yes: bool = False) -> None:
    r"""Show the host keys a machine offers and, when you say yes, pin them in the inventory's known_hosts.

    Compare the fingerprints with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says on the machine itself (on
    Windows `ssh-keygen -lf C:\ProgramData\ssh\ssh_host_ed25519_key.pub`): this is the only moment at which another
    machine could pass for it.
    """
    from commands import run_command
    from commands.trust import trust as story

    run_command(story, name, yes)


@task(
    iterable=["removing"],
    help={
        "customer": f"{_CUSTOMER}; or --all",
        "all_": _ALL,
        "dry_run": _DRY,
        "removing": "a name the plan would remove: key:NAME, domain:D, route:D, partial:D, include:A; may be repeated",
        "downgrade": "install this release although the relay has a newer one",
        "public_key": "take this public key (PuTTY's or OpenSSH's form), whose private half stays where it was made",
        "full": "print long files of the plan whole, instead of counting their lines",
        "kit_dir": "write the kit there instead of to kits/CUSTOMER beside the inventory",
    },
)
def provision(
    _: Context,
    customer: str,
    all_: bool = False,
    dry_run: bool = False,
    removing: list[str] | None = None,
    downgrade: bool = False,
    public_key: str = "",
    kit_dir: str = "",
    full: bool = False,
) -> None:
    """Set up both ends for a customer: its relays over SSH, its Exchange server by a kit or over SSH.

    Prints the plan as a diff, carries it out and looks again; a second run says "nothing to change". What a plan would
    remove (a key, a domain, a route) stops it until each is named with --removing. Relays are treated side by side,
    and one relay's failure does not stop the others: run it again once that relay is back.
    """
    from commands import run_command
    from commands.provision import provision as story
    from console.options import ProvisionOptions

    run_command(
        story, customer, all_, ProvisionOptions(dry_run, tuple(removing or ()), downgrade, public_key, kit_dir, full)
    )


@task(
    help={
        "customer": f"{_CUSTOMER}; or --all, or --due",
        "all_": _ALL,
        "due": "those whose key nears key_max_age_days (a month ahead), or whose rotation is open",
        "finish": "remove the old key, once every relay has seen the new one",
        "undo": "remove the new key again, while no relay has seen it",
        "force": "with --finish or --undo: past a relay that says no, after saying what that cuts off",
        "dry_run": _DRY,
        "public_key": "take this public key (PuTTY's or OpenSSH's form), whose private half stays where it was made",
        "kit_dir": "write the kit there instead of to kits/CUSTOMER beside the inventory",
        "full": "print long files of the plan whole, instead of counting their lines",
    },
)
def rotate_key(
    _: Context,
    customer: str,
    all_: bool = False,
    due: bool = False,
    finish: bool = False,
    undo: bool = False,
    force: bool = False,
    dry_run: bool = False,
    public_key: str = "",
    kit_dir: str = "",
    full: bool = False,
) -> None:
    """Give a customer a new key without closing the gate: beside the old one first, alone when it has been used.

    The new kit is written and both keys work, until --finish removes the old one; it refuses while a relay has not
    seen the new one used. Run without --finish it goes on with a rotation that was begun, and never begins a second.
    """
    from commands import run_command
    from commands.rotate_key import RotationOptions
    from commands.rotate_key import rotate_key as story
    from console.options import ProvisionOptions

    options = ProvisionOptions(dry_run, public_key=public_key, kit_dir=kit_dir, full=full)
    run_command(story, customer, all_, RotationOptions(due, finish, undo, force), options)


@task(
    help={
        "customer": _CUSTOMER,
        "export_file": "take this export through the relays' receiver, same limits and guard; end mark optional",
        "dry_run": "only look: who would come and who would go",
        "json": _JSON,
    }
)
def sync(_: Context, customer: str, export_file: str = "", dry_run: bool = False, json: bool = False) -> None:
    """Bring a customer's list up to date on all its relays now: from its server over SSH, or from an export file.

    Shows what the server says as it comes. Ends with the receiver's own exit code, the worst of all relays: 0 published
    or unchanged, 2 the export was refused, 3 held by the guard.
    """
    from commands import run_command
    from commands.sync import sync as story

    run_command(story, customer, export_file, dry_run, json)


@task(
    positional=["file"], help={"file": "an export, with or without its end mark", "customer": _CUSTOMER, "json": _JSON}
)
def parse(_: Context, file: str, customer: str = "", json: bool = False) -> None:
    """Do the parsing step by itself, on this machine: `address OK` lines to stdout, counts and reasons to stderr.

    Names what was left out in the customer's own domains though nobody wished it, as it was exported.
    """
    from commands import run_command
    from commands.parse import parse as story

    run_command(story, file, customer, json)


@task(help={"customer": _CUSTOMER, "json": _JSON})
def review(_: Context, customer: str, json: bool = False) -> None:
    """Show what the guard holds, name by name, and which of those that would go have had mail lately.

    Ends with the exact `inv accept` command that would take it.
    """
    from commands import run_command
    from commands.review import review as story

    run_command(story, customer, json)


@task(
    help={
        "customer": _CUSTOMER,
        "removing": "how many recipients the held list would remove, as `inv review` says",
        "adding": "how many it would add, where growth is held",
        "first": "how many it has in domains without an accepted list",
        "list_": "the list's hash, as the command that `inv review` prints has it; no other list is taken",
    }
)
def accept(_: Context, customer: str, removing: str = "", adding: str = "", first: str = "", list_: str = "") -> None:
    """Take the whole held list on every relay of the customer, naming it and its number, as `inv review` prints them.

    A wrong number, another list or one that nobody has reviewed takes nothing.
    """
    from commands import run_command
    from commands.accept import accept as story

    run_command(story, customer, {"removing": removing, "adding": adding, "first": first}, list_)


@task(
    help={
        "customer": _CUSTOMER,
        "to": "how many lists back, as `inv history` numbers them; the previous one unless said",
    }
)
def rollback(_: Context, customer: str, to: str = "") -> None:
    """Put an earlier list back on every relay of the customer, and pin it there.

    Later exports are checked and kept but not published until `inv resume`; status and the uploads' reports say so.
    """
    from commands import run_command
    from commands.rollback import rollback as story

    run_command(story, customer, to)


@task(help={"customer": _CUSTOMER, "json": _JSON})
def resume(_: Context, customer: str, json: bool = False) -> None:
    """Let a customer's uploads take effect again; the one that waits goes through the guard at once."""
    from commands import run_command
    from commands.resume import resume as story

    run_command(story, customer, json)


@task(help={"customer": _CUSTOMER, "diff": "name who came and who went with this number of it", "json": _JSON})
def history(_: Context, customer: str, diff: str = "", json: bool = False) -> None:
    """List the kept lists with date, key, client address, how many came and went, and who accepted what."""
    from commands import run_command
    from commands.history import history as story

    run_command(story, customer, diff, json)


@task(
    help={
        "customer": _CUSTOMER,
        "relay": "from this relay only; the customer's file no longer names it",
        "force": "although mail for its domains waits in a relay's queue",
        "yes": "do not ask",
        "dry_run": _DRY,
    }
)
def retire(
    _: Context, customer: str, relay: str = "", force: bool = False, yes: bool = False, dry_run: bool = False
) -> None:
    """Let a customer go: its keys, list, domains and routes from every relay, its kit, its public keys.

    Says what will go, and asks. Other customers and what was written by hand stay as they are; with the last customer
    main.cf is as it was before the first. Its file is kept in customers/retired, its lists on the relays for 30 days.
    What was cut short, or a relay that was down, the next run completes.
    """
    from commands import run_command
    from commands.retire import RetireOptions
    from commands.retire import retire as story

    run_command(story, customer, RetireOptions(yes, force, relay, dry_run))


@task(help={"customer": "its id; left out: all", "json": _JSON})
def status(_: Context, customer: str, json: bool = False) -> None:
    """Show, per customer and relay, how fresh the list is, what is held, and what has drifted.

    Exit code 1 when anything needs a person.
    """
    from commands import run_command
    from commands.status import status as story

    run_command(story, customer, json)


@task(help={"customer": _CUSTOMER})
def verify(_: Context, customer: str) -> None:
    """Ask every relay over SMTP: listed addresses must get 250, an unlisted one 550 (or 450); mail is never sent."""
    from commands import run_command
    from commands.verify import verify as story

    run_command(story, customer)


@task(help={"keep": "leave the relay running and say how to reach it"})
def demo(_: Context, keep: bool = False) -> None:
    """Show the whole thing on this machine: a real relay in a private root, a customer, a list, and SMTP's answers.

    Needs root on Debian; installs what it needs.
    """
    from commands import run_command
    from lab.demo import demo as story

    run_command(story, keep)


@task(
    iterable=["only"],
    help={"only": "one question; repeat it for more", "quick": "few runs, small numbers: to see that it works"},
)
def bench(_: Context, only: list[str] | None = None, quick: bool = False) -> None:
    """Measure Postern beside its peers and its limits, and write docs/performance.md; half an hour on a quiet machine.

    Questions: provisioning customers receiving parsing building fleet startup. Needs root on Debian; Ansible, pyinfra
    and what draws the plots go into .venv-bench. Exit code 1 when a goal is missed.
    """
    from benchmarks.bench import bench as story
    from commands import run_command

    run_command(story, tuple(only or ()), quick)


@task(
    help={
        "fast": "only those that need no lab host and take no seconds",
        "long": "only those that a usual run leaves out: the other Debian releases, big inputs, more made-up inputs",
        "words": "handed to pytest, e.g. --words='-k guard'",
    }
)
def test(_: Context, fast: bool = False, long: bool = False, words: str = "") -> None:
    """Install what the tests need and run them: on Debian 12, in a few minutes; the rest is in --long.

    Ends with pytest's exit code.
    """
    from commands import run_command
    from lab.checks import run as story

    run_command(story, fast, long, words)
