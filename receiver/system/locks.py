"""Locks by flock: tried for a while, then busy; gone with the process that held them, however it ended."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from common.paths import Places
from receiver.outcome import Busy

CUSTOMER = 5.0  # seconds that a customer's lock is tried
SETTINGS = 60.0  # as long as deploy tries for the same lock
SLOTS = 2  # exports parsed at once on a relay
UPLOADS = 2  # exports of one customer that may be on their way in at once; a server sends one
CALLS = 4  # of one customer, whatever they ask for: two uploads, and room to ask how they went
RELAY = 32  # calls of all customers
_WAIT = 5.0  # seconds that a call waits for one of its customer's places
_RELAY_WAIT = 30.0  # and for one of the relay's: uploads of many customers at once wait for one build together
_STEP = 0.05


@contextmanager
def hold_lock(descriptor: int, kind: int, seconds: float, busy: str) -> Iterator[None]:
    """Hold LOCK_SH or LOCK_EX on an open file. Raises Busy with text `busy` when it cannot be had in time."""
    _lock_one([descriptor], kind, seconds, busy)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextmanager
def hold_settings(places: Places) -> Iterator[None]:
    """Hold the lock that keeps deploy from replacing anything under /etc/postern. Raises Busy."""
    directory = os.open(places.etc, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with hold_lock(directory, fcntl.LOCK_SH, SETTINGS, "this relay is being provisioned; try again in a minute"):
            yield
    finally:
        os.close(directory)


@contextmanager
def hold_call_slot(places: Places, customer: str) -> Iterator[None]:
    """Hold one of a customer's slots, and one of the relay's, for a call through a key. Raises Busy.

    The customer's comes first: one key alone takes no more of the relay's than its customer may have.
    """
    busy = f"{CALLS} calls of this customer are being answered already; wait until they have ended"
    full = "this relay is answering as many calls as it can; try again in a minute"
    with (
        _one_of(CALLS, os.path.join(places.spool(customer), "call"), _WAIT, busy),
        _one_of(RELAY, os.path.join(places.run, "call"), _RELAY_WAIT, full),
    ):
        yield


@contextmanager
def hold_parsing_slot(places: Places, customer: str, seconds: float) -> Iterator[None]:
    """Hold one of the relay's slots for parsing, which bound memory and CPU however many call. Raises Busy.

    A customer waits for its own last export first, so that it never stands in the relay's queue twice.
    """
    busy = "this relay is reading other exports; try again in some minutes"
    until = time.monotonic() + seconds
    with (
        _one_of(1, os.path.join(places.spool(customer), "parse"), seconds, busy),
        _one_of(SLOTS, os.path.join(places.run, "slot"), max(0.0, until - time.monotonic()), busy),
    ):
        yield


@contextmanager
def hold_upload_slot(places: Places, customer: str) -> Iterator[None]:
    """Hold one of a customer's slots for incoming exports, so that one key cannot fill the disk. Raises Busy."""
    busy = f"{UPLOADS} uploads of this customer are running already; wait until they have ended"
    with _one_of(UPLOADS, os.path.join(places.spool(customer), "upload"), 0, busy):
        yield


@contextmanager
def _one_of(count: int, path: str, seconds: float, busy: str) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    slots = [os.open(f"{path}-{number}", flags, 0o600) for number in range(count)]
    try:
        _lock_one(slots, fcntl.LOCK_EX, seconds, busy)
        yield
    finally:
        for descriptor in slots:
            os.close(descriptor)


def _lock_one(descriptors: list[int], kind: int, seconds: float, busy: str) -> None:
    end = time.monotonic() + seconds
    while not any(_try_lock(descriptor, kind) for descriptor in descriptors):
        if time.monotonic() >= end:
            raise Busy(busy)
        time.sleep(_STEP)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
