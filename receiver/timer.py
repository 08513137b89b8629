"""What the timer does every five minutes: finishes what was begun, opens what is too old, counts, and warns."""

from __future__ import annotations

import fcntl
from collections.abc import Container
from contextlib import suppress
from typing import NamedTuple

from common.paths import Places
from common.settings import BadSettings, RelaySettings, Settings, list_customers, load_relay, load_settings
from common.spool_files import TIMER
from common.verifying_rules import VERIFYING
from receiver.formatting import escape
from receiver.lists import list_file, publishing
from receiver.lists.spool import Spool
from receiver.monitoring import adopted_maps, alarms, asking, metrics, next_hop, refusal_watch
from receiver.monitoring.alarms import Alarm
from receiver.monitoring.log_files import OpenedLogs
from receiver.monitoring.log_findings import Watch, describe_silence
from receiver.monitoring.refusal_check import RefusalCheck
from receiver.monitoring.status import Status
from receiver.outcome import Answer, Busy, Failed, Stopped
from receiver.store.relay_heads import forget_heads
from receiver.store.settings import uses_store
from receiver.store.upload_watch import find_watched_elsewhere
from receiver.system import atomic_files, locks
from receiver.tables_client import Tables
from receiver.upload import stream
from receiver.upload.pipeline import recover

_OF_UPLOADS = ("held", "pinned", "refused", alarms.STALE, "no additions")  # alarms that one relay of many raises
_ENDING = ("main.cf", "build", "repair", "repaired")  # alarms of mail that is refused or put off while they last
_OPENED = "opened.json"
_FULL = "its disk is full, so that lines are lost, and refusals in them are not watched"
_NO_LOG = "no mail log is found, nor a journal: refusals are not watched"


class CheckedCustomer(NamedTuple):
    """The result for one customer."""

    settings: Settings
    status: Status
    alarms: tuple[Alarm, ...]  # that its status gives rise to


def run_timer(places: Places, tables: Tables, now: int, logs: OpenedLogs | None = None) -> Answer:
    """Run all that is due, with the mail logs that root has opened.

    Raises Busy while another run is at it, BadSettings, OSError.
    """
    relay, busy = load_relay(places), "the timer's last run has not ended yet"
    with atomic_files.hold_directory(places.run) as run, locks.hold_lock(run, fcntl.LOCK_EX, 0, busy):
        return _run_all(places, tables, relay, run, now, logs)


def _run_all(
    places: Places, tables: Tables, relay: RelaySettings, run: int, now: int, logs: OpenedLogs | None
) -> Answer:
    looked = [_check_customer(places, tables, customer, now) for customer in list_customers(places)]
    seen = [each for each in looked if isinstance(each, CheckedCustomer)]
    found = [*_check_disk(places, run), *(each for each in looked if isinstance(each, Alarm))]
    adopted = _check_adopted_domains(tables, seen)
    found += _check_servers(places, seen, logs)
    found += _rebuild_if_due(tables, seen, run, [alarm.text for alarm in adopted])
    found += adopted
    found += [*_repair_tables(tables), *_check_main_cf(tables)] if looked else []
    every = (alarm for each in seen for alarm in each.alarms)
    others = find_watched_elsewhere(places, [each.settings.customer for each in seen], now)
    every = (alarm for alarm in every if not (alarm.customer in others and alarm.kind.startswith(_OF_UPLOADS)))
    of_lists = alarms.merge_outage(every, sum(1 for each in seen if each.status.heard))
    found += of_lists
    watch, of_refusals, blind = _watch_refusals(places, tables, run, seen, logs, now)
    found += of_refusals + blind + _watch_adopted(tables, seen, watch, logs, now)
    totals = {name: each.refusals.totals for name, each in watch.customers.items()} if watch else {}
    alarmed = [(alarm.customer, alarm.kind.partition(" ")[0]) for alarm in found]
    try:
        metrics.write(relay.metrics, [each.status for each in seen], totals, alarmed, now)
    except OSError as error:
        found.append(Alarm("", "metrics", f"metrics cannot be written: {error}"))
    told = alarms.raise_alarms(found, places, relay, now, _ENDING)
    of_spools = {*of_lists, *of_refusals}
    own = [alarm for alarm in found if alarm not in of_spools]
    _note_run(run, own, now)
    lines, new = ([alarm.line for alarm in some] for some in (found, told))
    return Answer.done([], customers=len(seen), alarms=lines, told=new)  # it prints nothing, as cron would mail it


def _check_disk(places: Places, run: int) -> list[Alarm]:
    """Find that nothing can be written, or that the disk has no room for an upload.

    For that, what the last run noted is written once more.
    """
    try:
        atomic_files.store_json(run, TIMER, atomic_files.load_json(run, TIMER) or {})
        stream.check_free_space(places.run)
    except Failed as error:
        return [Alarm("", "disk", str(error))]
    except OSError as error:
        why = f"{places.run} cannot be written: {error.strerror}"
        return [Alarm("", "disk", f"{why}; no upload is taken, and each run of the timer raises its alarms again")]
    return []


def _note_run(run: int, own: list[Alarm], now: int) -> None:
    """Write that the timer ran, for `inv status` and for other relays, with what status cannot see in the spools."""
    lines = [(alarm.kind.partition(" ")[0], alarm.line) for alarm in own]
    with suppress(OSError):  # _check_disk finds it
        atomic_files.store_json(run, TIMER, {"ran": now, "told": alarms.are_told(run), "alarms": lines})


def _check_customer(places: Places, tables: Tables, customer: str, now: int) -> CheckedCustomer | Alarm:
    """Finish one customer's interrupted runs, and check it; a broken spool does not keep the other customers from it.

    An attacker who has the account may have written the files, so every error counts as a fault of this customer's.
    """
    try:
        settings = load_settings(places, customer)
        with Spool(places, customer) as spool:
            if not uses_store(places):
                with suppress(OSError):  # as in _forget_accepted
                    forget_heads(spool)
            if publishing.read_unfinished(spool):
                recover(spool, tables)
            status = Status.of(spool, settings, now)
            closing = frozenset() if status.opened else frozenset(settings.domains)
            if status.in_force.accepted.domains.keys() - closing:
                _forget_accepted(spool, closing)
            return CheckedCustomer(settings, status, tuple(alarms.find_alarms(status, settings, now)))
    except (Stopped, BadSettings, OSError) as error:
        return Alarm(customer, "broken", str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the other customers are looked at
        return Alarm(customer, "broken", _describe(error))


def _describe(error: Exception) -> str:
    return f"its files cannot be read: {type(error).__name__}: {escape(str(error))}"


def _forget_accepted(spool: Spool, closing: Container[str]) -> None:
    """Remove the accepted dates of all other domains than these.

    A domain that left the customer and comes back is then open, as a new one is; a domain that a person opened stays
    open until a list of it is accepted. Where nothing can be written, which _check_disk finds, the next run does it.
    """
    with suppress(Busy, OSError), spool.hold_lock(0):
        accepted = spool.read_accepted()
        staying = {name: when for name, when in accepted.domains.items() if name in closing}
        spool.store_accepted(accepted._replace(domains=staying))


def _check_adopted_domains(tables: Tables, seen: list[CheckedCustomer]) -> list[Alarm]:
    """Return alarms for domains being adopted whose closing tables Postfix no longer asks."""
    if not any(each.settings.closed_by for each in seen):
        return []
    try:
        lines = [line.partition(": ") for line in tables.find_left_open()]
    except Failed as error:
        return [
            Alarm("", "adopted", f"it is not known whether domains that are being adopted are still closed: {error}")
        ]
    return [Alarm(name, f"adopted {list_file.digest(text.encode())[:8]}", escape(text, 500)) for name, _, text in lines]


def _rebuild_if_due(tables: Tables, seen: list[CheckedCustomer], run: int, adopted: list[str]) -> list[Alarm]:
    """Rebuild the tables where no upload does: return an alarm for each customer whose files could not be used.

    That is so when a domain has opened by its age or a corrected clock has closed it, when a server begins or ceases to
    refuse being asked, when somebody has changed or removed the tables, when they were built by another clock, by which
    others are open, and as long as some customer's files could not be used. What the tables were built for is recorded
    after the build, so that a failed one is tried again. `adopted`: what was found of domains that other tables close.
    """
    opens = {each.status.customer: list(each.status.opens) for each in seen}
    opens.update({"": adopted} if adopted else {})
    wanted = {"open": opens, "put_off": asking.find_put_off(tables.places, [each.settings for each in seen])}
    before = {"open": {}, "put_off": [], **(atomic_files.load_json(run, _OPENED) or {})}
    faulty: dict[str, str] = {}
    if wanted != before or tables.is_in_doubt():
        try:
            faulty = tables.build()
        except Failed as error:
            return [Alarm("", "build", f"the tables are out of date, and cannot be built: {error}")]
        with suppress(OSError):  # _check_disk finds it, and the next run builds again
            atomic_files.store_json(run, _OPENED, wanted)
    return [Alarm(name, "left-out", f"left out of the tables: {escape(why)}") for name, why in faulty.items()]


def _repair_tables(tables: Tables) -> list[Alarm]:
    """Rebuild tables in which Postfix could not look a key up: it defers all mail that it asks them about."""
    try:
        broken = tables.repair()
    except Failed as error:
        return [Alarm("", "repair", f"it is not known whether Postfix can read our tables: {error}")]
    if not broken:
        return []
    text = "; ".join(f"{escape(name)}: {escape(why)}" for name, why in broken.items())
    return [Alarm("", "repaired", f"tables that Postfix could not read were built anew: {text}")]


def _watch_refusals(
    places: Places, tables: Tables, run: int, seen: list[CheckedCustomer], logs: OpenedLogs | None, now: int
) -> tuple[Watch | None, list[Alarm], list[Alarm]]:
    """Read what is new in the mail logs and ask about what looks wrong; return the alarms, and why some may be missing.

    A failure here stops nothing else.
    """
    customers = [each.settings for each in seen]
    try:
        if logs is None:
            return refusal_watch.load(places, run, customers), [], []
        blind = [] if logs.logs or logs.journal else [Alarm("", "mail log", _NO_LOG)]
        blind += [Alarm("", "mail log", f"{path}: {_FULL}") for path in logs.on_full_disks()]
        watch = refusal_watch.update(places, run, customers, logs, now)
        silence = "" if blind else describe_silence(watch.state, now)
        blind += [Alarm("", "mail log silent", f"{silence}, so refusals are not watched")] if silence else []
        routes = next_hop.read_routes(places, watch.customers)
        check = RefusalCheck(tables, routes, logs.postfix, now)
        found = check.raise_alarms(watch)
        refusal_watch.save(places, watch)
        unwatched = "its refusals are not watched, as its files cannot be used"
        found += [Alarm(name, "unwatched", f"{unwatched}: {why}") for name, why in watch.broken.items()]
        return watch, found, blind
    except (Stopped, OSError) as error:
        return None, [], [Alarm("", "mail log", f"the mail log cannot be read: {escape(str(error))}")]
    except Exception as error:  # noqa: BLE001 - what one customer's files hold keeps no other alarm from being raised
        return None, [], [Alarm("", "mail log", f"refusals are not watched: {_describe(error)}")]


def _watch_adopted(
    tables: Tables, seen: list[CheckedCustomer], watch: Watch | None, logs: OpenedLogs | None, now: int
) -> list[Alarm]:
    """Return alarms where another list, which alone closes a domain that is being adopted, stops accepting its people.

    It needs no mail log.
    """
    adopted = [each.settings for each in seen if each.settings.closed_by and logs]
    check = RefusalCheck(tables, {}, logs.postfix if logs else {}, now)
    found: list[Alarm] = []
    for settings in adopted:
        customer = settings.customer
        watched = watch.customers.get(customer) if watch else None
        try:
            with Spool(tables.places, customer) as spool:
                had_mail = [*watched.refusals.had_mail] if watched else []
                found += adopted_maps.check_sample(spool, settings, had_mail, check.ask_relay)
        except (Stopped, OSError) as error:
            found.append(Alarm(customer, "adopted maps", f"its people cannot be asked about: {escape(str(error))}"))
        except Exception as error:  # noqa: BLE001 - as in _check_customer
            found.append(Alarm(customer, "adopted maps", f"its people cannot be asked about: {_describe(error)}"))
    return found


def _check_servers(places: Places, seen: list[CheckedCustomer], logs: OpenedLogs | None) -> list[Alarm]:
    """Return alarms for servers that have the last word about unlisted addresses and cannot be asked."""
    if logs is None:
        return []
    try:
        return asking.check_servers(places, [each.settings for each in seen], logs.postfix)
    except (Stopped, OSError) as error:
        return [Alarm("", "asking", f"customers' servers cannot be asked: {escape(str(error))}")]


def _check_main_cf(tables: Tables) -> list[Alarm]:
    """Return an alarm where Postfix no longer asks our tables: somebody, or a program, has put main.cf back.

    Also one where others have recipients verified on a relay that asks a customer's server.
    """
    try:
        found = tables.find_unnamed()
    except Failed as error:
        return [Alarm("", "main.cf", f"it is not known whether Postfix still asks our tables: {error}")]
    begin = f"{VERIFYING}: "
    others = [escape(line[len(begin) :], 300) for line in found if line.startswith(begin)]
    why = (
        'with unlisted = "ask" of a customer this relay answers otherwise about recipients that it verifies for others'
    )
    verifying = [Alarm("", VERIFYING, f"{why}: {'; '.join(others)}")] if others else []
    text = "; ".join(escape(line) for line in found if not line.startswith(begin))
    if not text:
        return verifying
    cure = "`inv provision CUSTOMER` of any customer here mends it; whatever writes main.cf must keep our members"
    kind = f"main.cf {list_file.digest(text.encode())[:8]}"  # another member that goes is another alarm
    return [*verifying, Alarm("", kind, f"POSTFIX DOES NOT ASK OUR TABLES as it should: {text}; {cure}")]
