"""What Postern can be told to do: a function per command, whose docstring is its manual.

Imports invoke alone, so that `inv --list` answers at once; a task imports its story when it runs. completion.py reads
this file as text.
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
        """Carry it out; after `inv --dry` as a dry run. Raises Exit where there is none: Invoke would do it all."""
        if args[0].config.run.dry:
            if "dry_run" not in inspect.signature(self.body).parameters:
                raise Exit(f"inv: {self.name.strip('_').replace('_', '-')} has no dry run", 2)
            kwargs["dry_run"] = True
        return super().__call__(*args, **kwargs)

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:
        """Return what makes an argument of a parameter."""
        made: dict[str, Any] = super().arg_opts(name, default, taken_names)
        return {**made, "names": (*made["names"], *_LETTERS.get(name, ""))}


task = functools.partial(invoke.task, klass=Command, auto_shortflags=False)
_CUSTOMER = "its id, which is its file's name in the inventory"
_CUSTOMERS = "its id, or several with commas between"
_RELAYS = "only this relay, or several with commas between"
_ALL = "every customer of the inventory"
_DRY = "say what would be done; do nothing"
_JSON = "print one JSON document instead of text"


@task(
    iterable=["domain", "relay"],
    help={
        "customer": "the new customer's id: small letters, digits and '-'; it can never change",
        "source": "exchange-5.5, csvde, powershell, ldap or exchange-online",
        "domain": "a mail domain of theirs; may be repeated",
        "relay": "a relay that takes their mail; may be repeated; left out: all",
        "next_hop": "where their mail goes on, as 'relay:[203.0.113.25]:25', in quotes",
        "from_": "a CSV file with a customer in each row: id and, as far as known, name, domains, relays, next_hop, "
        "source, server, basepoint, addresses, timezone; blanks between several",
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

    Says every fault of every file at once.

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

    An editor completes and checks the files by it. `#:schema ../schema/customer.json`, the first line of what `inv
    init` writes, names it to editors that know TOML.

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
        "json": f"{_JSON}, and ask nobody: without --yes it only looks",
    },
)
def trust(_: Context, name: str, yes: bool = False, spare: str = "", json: bool = False) -> None:
    r"""Show a machine's host keys and, when you say yes, pin them.

    They are written to the inventory's known_hosts. Compare the fingerprints with what `ssh-keygen -lf
    /etc/ssh/ssh_host_ed25519_key.pub` says on the machine itself (on Windows `ssh-keygen -lf
    C:\ProgramData\ssh\ssh_host_ed25519_key.pub`): this is the only moment at which another machine could pass for it. A
    spare key is in every kit from then on, so that no upload fails when it comes into use.

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
        "public_key": "take this public key (PuTTY's or OpenSSH's form), whose private half stays where it was made",
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
    it), carries it out and looks again; a second run says "nothing to change". What a plan would remove (a key, a
    domain, a route) stops it until each is named with --removing. Relays are treated side by side, and one relay's
    failure does not stop the others: run it again once that relay is back. A dry run that would change something ends
    with 6.

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
        "due": "those whose key nears key_max_age_days (a month ahead), or whose rotation is open",
        "finish": "remove the old key, once every relay has seen the new one",
        "undo": "remove the new key again, while no relay has seen it",
        "force": "with --finish or --undo: past a relay that says no, after saying what that cuts off",
        "dry_run": _DRY,
        "public_key": "take this public key (PuTTY's or OpenSSH's form), whose private half stays where it was made",
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
    """Give a customer a new key, while the old one works on.

    The new kit is written and both keys work, until --finish removes the old one; it refuses while a relay has not
    seen the new one used. Run without --finish it goes on with a rotation that was begun, and never begins a second.

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
        "export_file": "take this export through the relays' receiver, same limits and guard; end mark optional",
        "from_": "bring this relay's list to the customer's others: whom it lists is listed there too",
        "exact": "with --from: whom that relay does not list goes from the others",
        "removing": "with --exact: how many go",
        "dry_run": "only look: who would come and who would go",
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

    It comes from its server over SSH, an export file, or one relay. Shows what the server says as it comes. Ends with
    the receiver's own exit code, the worst of all relays: 0 published or unchanged, 2 the export was refused, 3 held by
    the guard; 6 of a dry run that would publish changes. From a relay nobody goes without --exact.

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
    """Parse an export on this machine and say whom a relay would list.

    `address OK` lines go to stdout, counts and reasons to stderr. Names what was left out in the customer's own domains
    though no option asks for it, as it was exported.

    Usage: inv parse FILE --customer CUSTOMER
    Example: inv parse export.txt --customer acme
    """
    from commands import run_command
    from commands.parse import parse as story

    run_command(story, file, customer, json)


@task(help={"customer": f"{_CUSTOMER}; or --all", "all_": _ALL, "json": _JSON})
def review(_: Context, customer: str, all_: bool = False, json: bool = False) -> None:
    """Show what is held, name by name, beside who has had mail lately.

    Ends with the exact `inv accept` command that would take it, with every number that is not zero. Relays that could
    not be asked, and mail logs with gaps, are named. Several customers have commas between.

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
        "although_mail": "how many that it refuses have had mail lately",
        "log_incomplete": "although more may have had mail than the relays could see",
        "list_": "the list's hash, as the command that `inv review` prints has it: the review that is meant",
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

    It is taken as a whole on every relay of the customer. What is held may have been replaced since; who goes by it and
    what it closes must have been shown.

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
        "removing": "how many recipients go by it, as it says when that is left out",
        "list_": "the list's hash, as the command that it prints has it: refused where it would be another by now",
        "entry": "bring back whom this entry of `inv history` removed; nothing is frozen",
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

    The list is put back on every relay of the customer, and frozen there. Says first who would go by it, and wants
    their number. Later exports are checked and kept but not published until `inv resume`; status and the uploads'
    reports say so. With --entry nothing is frozen: whom that entry removed stays listed until somebody accepts that
    they go.

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
        "from_": "files of people whom no relay takes yet, such as relay_recipients; one or several names",
        "dry_run": "show what is there and hold nothing",
        "json": _JSON,
    },
)
def adopt(_: Context, customer: str, from_: list[str] | None = None, dry_run: bool = False, json: bool = False) -> None:
    """Hold as a first list whom relays take today by others' lists.

    Puts Postern's account, programs and timer on each relay that lacks them, and the customer's files; nothing into
    main.cf, and no route. Nothing that the relays answer changes. Ends with 3 where a list is held, for `inv review`
    and `inv accept`, and with 2 where none is brought, with the reason: a table that cannot be listed, a domain that is
    open today. Their tables stay as they are.

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
        "guard": "a limit to judge by, KEY=VALUE as in [guard]; may be given several times",
        "json": _JSON,
    },
)
def rehearse(_: Context, customer: str, guard: list[str] | None = None, json: bool = False) -> None:
    """Show which of the logged uploads other limits would have held.

    Each is judged alone.

    Usage: inv rehearse CUSTOMER --guard KEY=VALUE
    Example: inv rehearse acme --guard shrink_percent=5
    """
    from commands import run_command
    from commands.rehearse import rehearse as story

    run_command(story, customer, guard or [], json)


@task(help={"customer": _CUSTOMERS, "dry_run": _DRY, "json": _JSON})
def resume(_: Context, customer: str, dry_run: bool = False, json: bool = False) -> None:
    """Let a customer's uploads take effect again after a rollback.

    The one that waits goes through the guard at once.

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
        "end": "take the markers away again; nothing closes by it",
        "dry_run": _DRY,
        "json": _JSON,
    },
)
def open_(_: Context, customer: str, end: bool = False, dry_run: bool = False, json: bool = False) -> None:
    """Let everybody be written to in all of a customer's domains.

    On every relay, whatever lists and dates say. For an emergency: mail is refused that should not be. It stays so
    until --end, and status says it every day. After --end each domain stays open until a list of it is reviewed and
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
        "merge": "have an upload relay take what this relay has among its own lists",
        "forget": "have this relay give up what the store does not know; says who goes by that",
        "removing": "with --forget: how many go",
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

    Ends with 1 where they differ or it is not reached. Relays and store agree by themselves. --merge and --forget are
    for a list that only a follower has, after the upload relays were lost.

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
        "diff": "name who came and who went with this number of it",
        "json": _JSON,
    }
)
def history(_: Context, customer: str, all_: bool = False, relay: str = "", diff: str = "", json: bool = False) -> None:
    """List the kept lists: when, by whom, how many came and went.

    Usage: inv history [CUSTOMER] [options]
    Example: inv history acme --diff 1
    """
    from commands import run_command
    from commands.history import history as story

    run_command(story, customer, all_, relay, diff, json)


@task(
    help={
        "customer": _CUSTOMER,
        "relay": "from this relay only; the customer's file no longer names it",
        "force": "although mail for its domains waits in a relay's queue",
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
    """Let a customer go, from every relay, with its kit and its keys.

    Its keys go first, then its list, domains and routes. Says what will go, and asks. Other customers and what was
    written by hand stay as they are; with the last customer main.cf is as it was before the first. Its file is kept in
    customers/retired, its lists on the relays for 30 days. What was cut short, or a relay that was down, the next run
    completes.

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
        "now": "for log files that do not say when they were written: a time as 2026-11-28T12:00:00",
        "json": _JSON,
    },
)
def refusals(_: Context, customer: str, log: list[str] | None = None, now: str = "", json: bool = False) -> None:
    """Show whom the relays refused lately, as their mail logs say.

    Those who were ever listed come first; then who had mail, and whose mail waits. Kinds: `unlisted` (550) and
    `deferred` (450) because no list has the address, `asked` (the server itself said no), `unanswered` (the server
    could not be asked). Lines that were cut or damaged are not counted.

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
        "problems": "only the lists that need somebody, or have a notice",
        "relay": _RELAYS,
        "nagios": "as a monitoring plugin: one line with performance data, and a plugin's own exit codes",
    }
)
def status(
    _: Context, customer: str, json: bool = False, problems: bool = False, relay: str = "", nagios: bool = False
) -> None:
    """Show how each list stands on each relay, problems first.

    How fresh it is, what is held, and what has drifted. What needs a person comes first and makes the exit code 1; a
    notice (a rotation that goes as it should) does not.

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

    Listed or not, since when and by whom, what relays answer. Works when a relay is down: the others are asked all the
    same, and the exit code is 4.

    Usage: inv explain ADDRESS [options]
    Example: inv explain anna@acme.example
    """
    from commands import run_command
    from commands.explain import explain as story

    run_command(story, address, json)


@task(help={"pattern": "a part of an address, or a whole one with * and ?", "json": _JSON})
def find(_: Context, pattern: str, json: bool = False) -> None:
    """Find listed addresses of all customers.

    Says which relays list them where not all do.

    Usage: inv find PATTERN [options]
    Example: inv find anna@
    """
    from commands import run_command
    from commands.find import find as story

    run_command(story, pattern, json)


@task(help={"out": "the folder to write it into; left out: report/ beside the inventory"})
def report(_: Context, out: str = "") -> None:
    """Write a page to look at: what needs a person, fleet, charts.

    It has a chart of each customer's last 90 days. One file, report.html, that loads nothing from anywhere and needs no
    script to be read. It names customers and relays: only its owner may open it. A relay that is down is said on it.

    Usage: inv report [options]
    Example: inv report --out /srv/postern
    """
    from commands import run_command
    from commands.report import report as story

    run_command(story, out)


@task(help={"customer": f"{_CUSTOMERS}; left out: all", "json": _JSON})
def kits(_: Context, customer: str, json: bool = False) -> None:
    """Show which kit each server uses, and which must be carried.

    Says why, too.

    Ends with 1 where uploads of the kit in use fail at a relay.

    Usage: inv kits [CUSTOMER] [options]
    Example: inv kits acme,bolt
    """
    from commands import run_command
    from commands.kits import kits as story

    run_command(story, customer, json)


@task(help={"customer": f"{_CUSTOMERS}; or --all", "all_": _ALL, "relay": _RELAYS, "json": _JSON})
def verify(_: Context, customer: str, all_: bool = False, relay: str = "", json: bool = False) -> None:
    """Ask every relay over SMTP whom it takes; no mail is sent.

    Listed addresses must get 250, an unlisted one 550 (or 450).

    Usage: inv verify [CUSTOMER] [options]
    Example: inv verify acme
    """
    from commands import run_command
    from commands.verify import verify as story

    run_command(story, customer, all_, relay, json)


@task(help={"keep": "leave the relay running and say how to reach it"})
def demo(_: Context, keep: bool = False) -> None:
    """Show the whole thing on this machine, with a real relay.

    A relay in a private root, a customer, a list, and SMTP's answers. Needs root on Debian; installs what it needs.

    Usage: inv demo [options]
    Example: inv demo --keep
    """
    from commands import run_command
    from lab.demo import demo as story

    run_command(story, keep)


@task(
    iterable=["only"],
    help={"only": "one question; repeat it for more", "quick": "few runs, small numbers: to see that it works"},
)
def bench(_: Context, only: list[str] | None = None, quick: bool = False) -> None:
    """Measure Postern beside its peers and its limits.

    Writes docs/performance.md; an hour on a quiet machine. Questions: provisioning customers receiving parsing
    building fleet startup waiting directory reporting soak. Needs root on Debian; Ansible, pyinfra and what draws the
    plots go into .venv-bench. Exit code 1 when a goal is missed.

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
