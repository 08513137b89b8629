"""A server that speaks slowly, without end or not at all cannot hold a probe."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from common import next_hop_probe
from common.next_hop_probe import Sender, Server

WHO = Sender("relay.example")
HELLO = [b"220 here\r\n", b"250 hello\r\n", b"250 sender\r\n"]


@contextmanager
def served(pieces: Iterable[bytes], pause: float = 0.0) -> Iterator[Server]:
    """Yield a server that sends these pieces, whatever it receives, and hangs up."""
    listening = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        taken, _ = listening.accept()
        with taken:
            try:
                for piece in pieces:
                    taken.sendall(piece)
                    if ended.wait(pause):
                        return
                taken.shutdown(socket.SHUT_WR)
                while taken.recv(4_096):
                    pass
            except OSError:  # it was hung up on
                return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield Server("127.0.0.1", listening.getsockname()[1])
    finally:
        ended.set()
        thread.join(10)
        listening.close()


def test_octets_that_drip_do_not_outlast_the_time_for_all() -> None:
    drops = (b"2" for _ in range(10_000))
    with served(drops, pause=0.02) as server:
        began = time.monotonic()
        answers = next_hop_probe.ask(server, WHO, ["a@acme.example"], seconds=0.5)
        assert time.monotonic() - began < 10, "it would take 200 s"
    assert answers.problem.endswith(("it takes too long", "timed out"))


@pytest.mark.parametrize(
    ("pieces", "problem"),
    [
        ([b"220-" * 5_000], "its line does not end"),
        ([b"220-more\r\n"] * 100, "its reply does not end"),
        ([b"220 he"], "it hangs up"),
        ([], "it hangs up"),
    ],
)
def test_a_greeting_that_is_none_is_said(pieces: list[bytes], problem: str) -> None:
    with served(pieces) as server:
        assert next_hop_probe.ask(server, WHO, ["a@acme.example"]).problem.endswith(problem)


def test_replies_that_come_together_or_in_pieces_are_told_apart() -> None:
    replies = [b"550-no\r", b"\n550 such user\r\n250 ", b"ok\r\n"]
    with served([*HELLO, *replies], pause=0.01) as server:
        answers = next_hop_probe.ask(server, WHO, ["a@acme.example", "b@acme.example"])
    assert answers.replies["a@acme.example"] == (550, "no such user")
    assert answers.replies["b@acme.example"].is_taken
