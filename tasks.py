"""The commands of `inv`: a function for each, whose docstring is its manual.

Imports invoke alone, so that `inv --list` answers at once; a task imports the command's own module when it runs.
completion.py reads this file as text.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import invoke
from invoke import Context, Exit, Task

_LETTERS = {"customer": "c", "dry_run": "n", "json": "j"}
"""The options that have a letter, the same in every command. None that removes or forces anything has one."""


class Command(Task[Callable[..., None]]):
    """A task whose letters are those above, and for which Invoke's `--dry` is `--dry-run`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task; after `inv --dry` as a dry run. Raises Exit where it has none: Invoke would run it in full."""
        if args[0].config.run.dry:
            if "dry_run" not in inspect.signature(self.body).parameters:
                raise Exit(f"inv: {self.name.strip('_').replace('_', '-')} has no dry run", 2)
            kwargs["dry_run"] = True
        return super().__call__(*args, **kwargs)

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:
        """Return the options of Invoke's argument for a parameter, with its letter."""
        made: dict[str, Any] = super().arg_opts(name, default, taken_names)
        return {**made, "names": (*made["names"], *_LETTERS.get(name, ""))}


task = functools.partial(invoke.task, klass=Command, auto_shortflags=False)
_CUSTOMER = "its id, which is its file's name in the inventory"
_CUSTOMERS = "its id, or several with commas between"
_RELAYS = "only this relay, or several with commas between"
_ALL = "every customer of the inventory"
_DRY = "show what would be done; change nothing"
_JSON = "print one JSON document instead of text"


@task(
    iterable=["domain", "relay"],
    help={
        "customer": "the new customer's id: small letters, digits and '-'; it can never change",
        "source": "exchange-5.5, csvde, powershell, ldap or exchange-online",
        "domain": "a mail domain of the customer; may be repeated",
        "relay": "a relay for the customer's mail; may be repeated; left out: all",
        "next_hop": "the server that gets the customer's mail, as 'relay:[203.0.113.25]:25', in quotes",
        "from_": "a CSV file with a customer in each row: the id and, where known, name, domains, relays, next_hop, "
        "source, server, basepoint, addresses, timezone; with blanks between several values",
        "json": _JSON,
    },
)
def init(
    _: Context,
    customer: str,
    source: str = "",
    domain: list[str] | None = None,
    relay: list[str] | None = None,
    next_hop: str = "",
    from_: str = "",
    json: bool = False,
) -> None:
    """Write a customer file to fill in, or one for each row of a table.

    It is customers/CUSTOMER.toml in the inventory, with a comment beside every key.

    Usage: inv init [CUSTOMER] [options]
    Example: inv init acme --source powershell --domain acme.example
    """
    from commands import run_command
    from commands.init import Draft
    from commands.init import init as story

    known = Draft(customer, "", tuple(domain or ()), tuple(relay or ()), next_hop, source)
    run_command(story, known, from_, json)


@task(help={"json": _JSON})
def check(_: Context, json: bool = False) -> None:
    """Check the whole inventory; touch nothing.

    Prints all faults of all files at once.

    Usage: inv check [options]
    Example: inv check
    """
    from commands import run_command
    from commands.check import check as story

    run_command(story, json)


@task(
    help={
        "kind": "customer (the default), relays or provider",
        "write": "write all to schema/ of the inventory instead",
    },
)
def schema(_: Context, kind: str, write: bool = False) -> None:
    """Print the JSON Schema of the inventory's files, for editors.

    With it an editor completes and checks the files. `inv init` writes `#:schema ../schema/customer.json` as the first
    line, by which editors with TOML support find it.

    Usage: inv schema [KIND] [options]
    Example: inv schema relays
    """
    from commands import run_command
    from commands.schema import schema as story

    run_command(story, kind, write)


@task(name="list", help={"json": _JSON})
def list_(_: Context, json: bool = False) -> None:
    """List the customers with their domains, relays and source.

    Usage: inv list [options]
    Example: inv list --json
    """
    from commands import run_command
    from commands.list import list_customers as story

    run_command(story, json)


@task(
    help={
        "name": "a relay; or a customer whose server is reached over SSH",
        "yes": "record without asking",
        "spare": "pin the relay's future host keys in this file (ssh-keygen's .pub) beside those it has now",
        "json": f"{_JSON}, and ask no question: without --yes nothing is recorded",
    },
)
def trust(_: Context, name: str, yes: bool = False, spare: str = "", json: bool = False) -> None:
    r"""Show a machine's host keys and, when you say yes, pin them.

    They are written to the inventory's known_hosts. Compare the fingerprints with those that `ssh-keygen -lf
    /etc/ssh/ssh_host_ed25519_key.pub` prints on the machine itself (on Windows `ssh-keygen -lf
    C:\ProgramData\ssh\ssh_host_ed25519_key.pub`): only now could another machine pretend to be this one. A spare key
    is in every kit from then on, so that no upload fails when the relay begins to use it.

    Usage: inv trust NAME [options]
    Example: inv trust mx1
    """
    from commands import run_command
    from commands.trust import trust as story

    run_command(story, name, yes, spare, json)


@task(
    iterable=["removing"],
    help={
        "customer": f"{_CUSTOMERS}; or --all",
        "all_": _ALL,
        "dry_run": _DRY,
        "removing": "a name the plan would remove: key:NAME, domain:D, route:D, partial:D, include:A, plus, "
        "unlisted:defer, unlisted:ask; repeatable",
        "downgrade": "install this release although the relay has a newer one",
        "public_key": "use this public key (PuTTY's or OpenSSH's form); its private half stays where it was made",
        "diff": "print the plan's diffs below its summary",
        "full": "print them with long files whole, instead of counting their lines",
        "kit_dir": "write the kit there instead of to kits/CUSTOMER beside the inventory",
        "json": _JSON,
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
    diff: bool = False,
    full: bool = False,
    json: bool = False,
) -> None:
    """Set up both ends for a customer: its relays and its server.

    Relays are set up over SSH, the Exchange server by a kit or over SSH. Prints the plan in a few lines (--diff: all of
    it), applies it and checks the result; a second run prints "nothing to change". A plan that would remove something
    (a key, a domain, a route) stops until each is named with --removing. Relays are changed side by side, and one
    relay's failure does not stop the others: run the command again once that relay is back. A dry run that would change
    something ends with 6.

    Usage: inv provision [CUSTOMER] [options]
    Example: inv provision acme --dry-run
    """
    from commands import run_command
    from commands.provision import provision as story
    from console.options import ProvisionOptions

    run_command(
        story,
        customer,
        all_,
        ProvisionOptions(dry_run, tuple(removing or ()), downgrade, public_key, kit_dir, diff, full),
        json,
    )


@task(
    help={
        "customer": f"{_CUSTOMERS}; or --all, or --due",
        "all_": _ALL,
        "due": "customers whose key reaches key_max_age_days within a month, or whose rotation is open",
        "finish": "remove the old key, once every relay has seen the new one",
        "undo": "remove the new key again, while no relay has seen it",
        "force": "with --finish or --undo: although a relay has not seen the other key used; prints which uploads stop",
        "dry_run": _DRY,
        "public_key": "use this public key (PuTTY's or OpenSSH's form); its private half stays where it was made",
        "kit_dir": "write the kit there instead of to kits/CUSTOMER beside the inventory",
        "diff": "print the plan's diffs below its summary",
        "full": "print them with long files whole, instead of counting their lines",
        "json": _JSON,
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
    diff: bool = False,
    full: bool = False,
    json: bool = False,
) -> None:
    """Replace a customer's key, in steps without a failed upload.

    The first run writes a new kit, and both keys work until --finish removes the old one; --finish refuses while a
    relay has not seen the new one used. Without --finish a run continues a rotation that was begun, and never begins a
    second.

    Usage: inv rotate-key [CUSTOMER] [options]
    Example: inv rotate-key acme
    """
    from commands import run_command
    from commands.rotate_key import RotationOptions
    from commands.rotate_key import rotate_key as story
    from console.options import ProvisionOptions

    options = ProvisionOptions(dry_run, public_key=public_key, kit_dir=kit_dir, diff=diff, full=full)
    run_command(story, customer, all_, RotationOptions(due, finish, undo, force), options, json)


@task(
    help={
        "customer": _CUSTOMER,
        "export_file": "judge this export on the relays, with the same limits and guard; end mark optional",
        "from_": "add this relay's recipients to the customer's lists on its other relays",
        "exact": "with --from: remove from the others the recipients that this relay does not list",
        "removing": "with --exact: how many are removed",
        "dry_run": "show who would be added and removed; change nothing",
        "json": _JSON,
    }
)
def sync(
    _: Context,
    customer: str,
    export_file: str = "",
    from_: str = "",
    exact: bool = False,
    removing: str = "",
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Bring a customer's list up to date on all its relays.

    The list comes from the customer's server over SSH, an export file, or one relay. Prints the server's output as it
    comes. Ends with the worst exit code of all relays: 0 published or unchanged, 2 the export was refused, 3 held by
    the guard; 6 for a dry run that would publish changes. With --from nobody is removed without --exact.

    Usage: inv sync CUSTOMER [options]
    Example: inv sync acme --export-file export.txt --dry-run
    """
    from commands import run_command
    from commands.sync import SyncOptions
    from commands.sync import sync as story

    run_command(story, customer, SyncOptions(export_file, from_, exact, removing, dry_run, json))


@task(
    positional=["file"], help={"file": "an export, with or without its end mark", "customer": _CUSTOMER, "json": _JSON}
)
def parse(_: Context, file: str, customer: str = "", json: bool = False) -> None:
    """Parse an export on this machine; print whom a relay would list.

    `address OK` lines go to stdout, counts and reasons to stderr. Addresses of the customer's own domains that
    no option leaves out are named with the reason.

    Usage: inv parse FILE --customer CUSTOMER
    Example: inv parse export.txt --customer acme
    """
    from commands import run_command
    from commands.parse import parse as story

    run_command(story, file, customer, json)


@task(help={"customer": f"{_CUSTOMERS}; or --all", "all_": _ALL, "json": _JSON})
def review(_: Context, customer: str, all_: bool = False, json: bool = False) -> None:
    """Show what is held, name by name, beside who has had mail lately.

    Ends with the exact `inv accept` command for the held list, with every number that is not zero. Names relays that
    could not be asked, and mail logs with gaps.

    Usage: inv review [CUSTOMER] [options]
    Example: inv review acme
    """
    from commands import run_command
    from commands.review import review as story

    run_command(story, customer, all_, json)


@task(
    help={
        "customer": _CUSTOMER,
        "first": "how many it has in domains without an accepted list",
        "adding": "how many it would add, where growth is held",
        "removing": "how many recipients the held list would remove, as `inv review` says",
        "although_mail": "how many of the recipients that it refuses had mail lately",
        "log_incomplete": "although the relays could not see all mail",
        "list_": "the hash of the reviewed list, as in the command that `inv review` prints",
        "dry_run": _DRY,
        "json": _JSON,
    }
)
def accept(
    _: Context,
    customer: str,
    first: str = "",
    adding: str = "",
    removing: str = "",
    although_mail: str = "",
    log_incomplete: bool = False,
    list_: str = "",
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Accept the list that is held, by all that `inv review` printed.

    It is accepted as a whole on every relay of the customer. If the held list was replaced since the review, the review
    must have shown everybody whom it removes and every domain that it closes.

    Usage: inv accept CUSTOMER [options]
    Example: inv accept acme --removing 10 --although-mail 2 --list HASH
    """
    from commands import run_command
    from commands.accept import AcceptOptions
    from commands.accept import accept as story

    numbers = {"first": first, "adding": adding, "removing": removing, "although-mail": although_mail}
    run_command(story, customer, AcceptOptions(numbers, list_, log_incomplete, dry_run, json))


@task(
    help={
        "customer": _CUSTOMER,
        "to": "how many lists back, as `inv history` numbers them; the previous one unless said",
        "removing": "how many recipients it removes, as a run without this option prints",
        "list_": "the list's hash, as in the command that it prints; refused when it is another by now",
        "entry": "list again whom this entry of `inv history` removed; nothing is frozen",
        "dry_run": _DRY,
        "json": _JSON,
    }
)
def rollback(
    _: Context,
    customer: str,
    to: str = "",
    removing: str = "",
    list_: str = "",
    entry: str = "",
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Put an earlier list back, or bring back whom one upload removed.

    The list is put back on every relay of the customer, and frozen there. Prints first whom it would remove, and needs
    their number. Later exports are checked and kept but not published until `inv resume`; status and the uploads'
    reports say so. With --entry nothing is frozen: whom that entry removed stays listed until somebody accepts the
    removal.

    Usage: inv rollback CUSTOMER [options]
    Example: inv rollback acme --to 2 --removing 3
    """
    from commands import run_command
    from commands.rollback import RollbackOptions
    from commands.rollback import roll_back_or_bring_back as story

    run_command(story, customer, RollbackOptions(to, entry, removing, list_, dry_run, json))


@task(
    iterable=["from_"],
    help={
        "customer": _CUSTOMER,
        "from_": "files with further addresses, such as relay_recipients; one or several names",
        "dry_run": "show the relays' lists; hold nothing",
        "json": _JSON,
    },
)
def adopt(_: Context, customer: str, from_: list[str] | None = None, dry_run: bool = False, json: bool = False) -> None:
    """Hold the relays' present recipients as a customer's first list.

    Installs Postern's account, programs and timer on each relay that lacks them, and the customer's files; writes
    nothing into main.cf, and no route. The relays' answers stay the same. Ends with 3 where a list is held, for `inv
    review` and `inv accept`, and with 2 where none can be, with the reason: a table that cannot be listed, a domain
    that is open today. The relays' own tables stay as they are.

    Usage: inv adopt CUSTOMER [options]
    Example: inv adopt acme
    """
    from commands import run_command
    from commands.adopt import adopt as story

    run_command(story, customer, from_ or [], dry_run, json)


@task(
    iterable=["guard"],
    help={
        "customer": _CUSTOMER,
        "guard": "a limit to try, KEY=VALUE as in [guard]; may be repeated",
        "json": _JSON,
    },
)
def rehearse(_: Context, customer: str, guard: list[str] | None = None, json: bool = False) -> None:
    """Show which of the logged uploads other limits would have held.

    Each upload is judged by itself.

    Usage: inv rehearse CUSTOMER --guard KEY=VALUE
    Example: inv rehearse acme --guard shrink_percent=5
    """
    from commands import run_command
    from commands.rehearse import rehearse as story

    run_command(story, customer, guard or [], json)


@task(help={"customer": _CUSTOMERS, "dry_run": _DRY, "json": _JSON})
def resume(_: Context, customer: str, dry_run: bool = False, json: bool = False) -> None:
    """Resume a customer's uploads after a rollback.

    The upload that waits is judged by the guard at once.

    Usage: inv resume CUSTOMER [options]
    Example: inv resume acme
    """
    from commands import run_command
    from commands.resume import resume as story

    run_command(story, customer, dry_run, json)


@task(
    name="open",
    help={
        "customer": _CUSTOMER,
        "end": "remove the markers again; no domain closes by that",
        "dry_run": _DRY,
        "json": _JSON,
    },
)
def open_(_: Context, customer: str, end: bool = False, dry_run: bool = False, json: bool = False) -> None:
    """Accept every address in all of a customer's domains.

    On every relay, whatever lists and dates say. For an emergency: relays refuse mail that they should accept. It
    lasts until --end, and status shows it. After --end each domain stays open until a list of it is reviewed and
    accepted, as a first one.

    Usage: inv open CUSTOMER [options]
    Example: inv open acme
    """
    from commands import run_command
    from commands.open import OpenOptions
    from commands.open import open_customer as story

    run_command(story, customer, OpenOptions(end, dry_run, json))


@task(
    help={
        "customer": "its id; left out: all",
        "merge": "merge this relay's lists into those of an upload relay",
        "forget": "remove from this relay what the store does not know; prints whom that removes",
        "removing": "with --forget: how many are removed",
        "init": "write the recorded id into an empty database",
        "json": _JSON,
    }
)
def store(
    _: Context,
    customer: str,
    merge: str = "",
    forget: str = "",
    removing: str = "",
    init: bool = False,
    json: bool = False,
) -> None:
    """Show the store's lists beside those of each relay.

    Ends with 1 where they differ or the store is not reached. Relays and store agree without help. --merge and --forget
    are for a list that only a follower has, after the upload relays were lost.

    Usage: inv store [CUSTOMER] [options]
    Example: inv store acme
    """
    from commands import run_command
    from commands.store import StoreOptions
    from commands.store import store as story

    run_command(story, customer, StoreOptions(merge, forget, removing, init, json))


@task(
    help={
        "customer": f"{_CUSTOMERS}; or --all",
        "all_": _ALL,
        "relay": _RELAYS,
        "diff": "name whom the list of this number added and removed",
        "json": _JSON,
    }
)
def history(_: Context, customer: str, all_: bool = False, relay: str = "", diff: str = "", json: bool = False) -> None:
    """List the kept lists: when, by whom, how many added and removed.

    Usage: inv history [CUSTOMER] [options]
    Example: inv history acme --diff 1
    """
    from commands import run_command
    from commands.history import history as story

    run_command(story, customer, all_, relay, diff, json)


@task(
    help={
        "customer": _CUSTOMER,
        "relay": "from this relay only, which the customer's file no longer names",
        "force": "even while mail for its domains waits in a relay's queue",
        "yes": "do not ask",
        "dry_run": _DRY,
        "diff": "print the plan's diffs below its summary",
        "json": _JSON,
    }
)
def retire(
    _: Context,
    customer: str,
    relay: str = "",
    force: bool = False,
    yes: bool = False,
    dry_run: bool = False,
    diff: bool = False,
    json: bool = False,
) -> None:
    """Remove a customer from every relay, with its kit and its keys.

    Removes its keys first, then its list, domains and routes. Prints what it will remove, and asks. Other customers and
    what was written by hand stay as they are; with the last customer main.cf becomes what it was before the first. The
    customer's file is kept in customers/retired, its lists on the relays for 30 days. The next run completes what was
    interrupted, also on a relay that was down.

    Usage: inv retire CUSTOMER [options]
    Example: inv retire acme --dry-run
    """
    from commands import run_command
    from commands.retire import RetireOptions
    from commands.retire import retire as story

    run_command(story, customer, RetireOptions(yes, force, relay, dry_run, diff), json)


@task(
    iterable=["log"],
    help={
        "customer": _CUSTOMER,
        "log": "read these log files on this machine instead: plain, gz, xz, zst or bz2, one or several names",
        "now": "when the log files were last written, where they do not say it: as 2026-11-28T12:00:00",
        "json": _JSON,
    },
)
def refusals(_: Context, customer: str, log: list[str] | None = None, now: str = "", json: bool = False) -> None:
    """Show whom the relays refused lately, as their mail logs say.

    Recipients that were once listed come first; then those that had mail, and those whose mail waits. Kinds: `unlisted`
    (550) and `deferred` (450) because no list has the address, `asked` (the server itself said no), `unanswered` (the
    server could not be asked). Cut or damaged lines are not counted.

    Usage: inv refusals [CUSTOMER] [options]
    Example: inv refusals acme
    """
    from commands import run_command
    from commands.refusals import refusals as story

    run_command(story, customer, log or [], now, json)


@task(
    help={
        "customer": "its id, or several with commas between; left out: all",
        "json": _JSON,
        "problems": "only the lists with a problem or a notice",
        "relay": _RELAYS,
        "nagios": "as a monitoring plugin: one line with performance data, and a plugin's own exit codes",
    }
)
def status(
    _: Context, customer: str, json: bool = False, problems: bool = False, relay: str = "", nagios: bool = False
) -> None:
    """Show how each list stands on each relay, problems first.

    Shows how fresh each list is, what is held, and what has drifted. A problem needs a person, comes first and makes
    the exit code 1; a notice (a rotation that goes as it should) does not.

    Usage: inv status [CUSTOMER] [options]
    Example: inv status acme --problems
    """
    from commands import run_command
    from commands.status import StatusOptions
    from commands.status import status as story

    run_command(story, customer, StatusOptions(json, problems, relay, nagios))


@task(help={"address": "a whole address, as anna@acme.example", "json": _JSON})
def explain(_: Context, address: str, json: bool = False) -> None:
    """Show all that is known of an address, and what to do about it.

    Shows whether it is listed, since when and by whom, and what relays answer. When a relay is down, the others are
    asked all the same, and the exit code is 4.

    Usage: inv explain ADDRESS [options]
    Example: inv explain anna@acme.example
    """
    from commands import run_command
    from commands.explain import explain as story

    run_command(story, address, json)


@task(help={"pattern": "a part of an address, or a whole one with * and ?", "json": _JSON})
def find(_: Context, pattern: str, json: bool = False) -> None:
    """Find listed addresses of all customers.

    Names the relays where not all of them list an address.

    Usage: inv find PATTERN [options]
    Example: inv find anna@
    """
    from commands import run_command
    from commands.find import find as story

    run_command(story, pattern, json)


@task(help={"out": "the folder to write it into; left out: report/ beside the inventory"})
def report(_: Context, out: str = "") -> None:
    """Write an HTML report: what needs a person, fleet, charts.

    It has a chart of each customer's last 90 days. It is one file, report.html, that loads nothing from anywhere and
    needs no script. It names customers and relays: only its owner may open it. Relays that are down are marked.

    Usage: inv report [options]
    Example: inv report --out /srv/postern
    """
    from commands import run_command
    from commands.report import report as story

    run_command(story, out)


@task(help={"customer": f"{_CUSTOMERS}; left out: all", "json": _JSON})
def kits(_: Context, customer: str, json: bool = False) -> None:
    """Show which kit each server uses, and which must be carried.

    Prints why. Ends with 1 where uploads of the kit in use fail at a relay.

    Usage: inv kits [CUSTOMER] [options]
    Example: inv kits acme,bolt
    """
    from commands import run_command
    from commands.kits import kits as story

    run_command(story, customer, json)


@task(help={"customer": f"{_CUSTOMERS}; or --all", "all_": _ALL, "relay": _RELAYS, "json": _JSON})
def verify(_: Context, customer: str, all_: bool = False, relay: str = "", json: bool = False) -> None:
    """Ask every relay over SMTP whom it accepts; no mail is sent.

    Listed addresses must get 250, an unlisted one 550 (or 450).

    Usage: inv verify [CUSTOMER] [options]
    Example: inv verify acme
    """
    from commands import run_command
    from commands.verify import verify as story

    run_command(story, customer, all_, relay, json)


@task(help={"keep": "leave the relay running and print how to reach it"})
def demo(_: Context, keep: bool = False) -> None:
    """Show Postern at work on this machine, with a real relay.

    A relay in a private root, a customer, a list, and SMTP's answers. Needs root on Debian; installs what it needs.

    Usage: inv demo [options]
    Example: inv demo --keep
    """
    from commands import run_command
    from lab.demo import demo as story

    run_command(story, keep)


@task(
    iterable=["only"],
    help={
        "only": "one question; may be repeated",
        "quick": "few runs with small numbers, to test the benchmark itself",
    },
)
def bench(_: Context, only: list[str] | None = None, quick: bool = False) -> None:
    """Measure Postern beside its peers and its limits.

    Writes docs/performance.md; an hour on a quiet machine. Questions: provisioning customers receiving parsing
    building fleet growth startup waiting directory reporting soak store. Needs root on Debian; Ansible, pyinfra and
    what draws the plots go into .venv-bench. Exit code 1 when a goal is missed.

    Usage: inv bench [options]
    Example: inv bench --only startup --quick
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
    """Run the tests, after installing what they need.

    On Debian 12, in a few minutes; the rest is in --long. Ends with pytest's exit code.

    Usage: inv test [options]
    Example: inv test --words='-k guard'
    """
    from commands import run_command
    from lab.checks import run as story

    run_command(story, fast, long, words)
