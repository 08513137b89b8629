"""What docs/monitoring gives an operator: rules over metrics that we write, programs that bring an alarm somewhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from receiver.monitoring import metrics
from receiver.monitoring.status import Status
from tests.support.small_relay import SmallRelay, people

MONITORING = Path(__file__).parent.parent / "docs" / "monitoring"
ALARM = 'Postern on mx1:\nacme: held since 2026-11-28; see `inv review acme`\nbolt: a "quoted" \\ word\n'
EXPRESSION = re.compile(r"^ +expr: (.*)$", re.MULTILINE)


def written(tmp_path: Path) -> dict[str, set[str]]:
    """Return the metrics that a relay writes with a list, a held one, an upload and refusals, each with its labels."""
    relay = SmallRelay(tmp_path)
    relay.offer(people(40))
    relay.accept("first", 40)
    relay.offer([*people(2), "x@elsewhere.example"])
    with relay.spool() as spool:
        spool.note_key("k1", 1_790_000_000)
        status = Status.of(spool, relay.settings, 1_790_000_000)
    text = metrics.compose_text([status], {"acme": {"unlisted": 3}}, [("acme", "held")], 1_790_000_000)
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? \d+$", text, re.MULTILINE):
        found[name] = set(re.findall(r'(\w+)="', labels))
    assert found.keys() == set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    return found


def test_the_rules_ask_for_metrics_and_labels_that_a_relay_writes(tmp_path: Path) -> None:
    known = written(tmp_path)
    expressions = EXPRESSION.findall((MONITORING / "alerts.yml").read_text())
    assert len(expressions) > 5
    for expression in expressions:
        names = set(re.findall(r"\bpostern_\w+", expression))
        assert names
        assert names <= known.keys(), expression
        for name, labels in re.findall(r"\b(postern_\w+)\{(.*?)\}", expression):
            assert set(re.findall(r"(\w+)[=!~]", labels)) <= known[name]


def test_the_page_names_every_metric_with_its_labels(tmp_path: Path) -> None:
    page = (MONITORING / "README.md").read_text()
    rows = re.findall(r"^\| `(postern_\w+)` \| (.*?) ?\|", page, re.MULTILINE)
    assert {name: set(labels.split(", ")) - {""} for name, labels in rows} == written(tmp_path)


def test_the_tests_of_the_rules_are_about_alerts_that_there_are() -> None:
    alerts = set(re.findall(r"alert: (\w+)", (MONITORING / "alerts.yml").read_text()))
    assert set(re.findall(r"alertname: (\w+)", (MONITORING / "alerts-test.yml").read_text())) <= alerts


@pytest.fixture(scope="module")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Prometheus' own checker: as installed, or out of Debian's package without installing what would start."""
    if found := shutil.which("promtool"):
        return found
    folder = tmp_path_factory.mktemp("prometheus")
    steps = ("apt-get download -q prometheus", "dpkg-deb -x prometheus_*.deb .")
    for step in steps:
        if subprocess.run(["sh", "-c", step], cwd=folder, capture_output=True).returncode:
            pytest.skip("no promtool here, and apt-get has no package prometheus")
    return str(folder / "usr/bin/promtool")


@pytest.mark.long
@pytest.mark.parametrize("words", ["check rules alerts.yml", "test rules alerts-test.yml"])
def test_promtool_takes_the_rules_and_they_fire_when_they_should(promtool: str, words: str) -> None:
    ran = subprocess.run([promtool, *words.split()], cwd=MONITORING, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "SUCCESS" in ran.stdout


class Service(NamedTuple):
    """A web service on this machine, and what it was sent: path, body."""

    url: str
    taken: list[tuple[str, str]]


@pytest.fixture
def service() -> Iterator[Service]:
    taken: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # http.server's own name
            taken.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield Service(f"http://127.0.0.1:{server.server_port}/hook", taken)
        server.shutdown()


def call(script: str, *arguments: str, **environment: str) -> int:
    argv = ["sh", str(MONITORING / script), *arguments]
    paths = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    return subprocess.run(argv, input=ALARM.encode(), env={**paths, **environment}).returncode


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")


@needs_curl
def test_the_chat_gets_the_alarm_as_one_json_text(service: Service, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{service.url}\n")
    assert call("alarm-chat.sh", str(tmp_path / "url")) == 0
    ((path, body),) = service.taken
    assert path == "/hook"
    assert json.loads(body) == {"text": ALARM.rstrip("\n")}


@needs_curl
def test_the_ping_service_is_told_of_a_failure(service: Service, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{service.url}\n")
    assert call("alarm-ping.sh", str(tmp_path / "url")) == 0
    assert service.taken == [("/hook/fail", ALARM)]


@needs_curl
def test_a_service_that_is_down_makes_the_program_fail_so_that_the_alarm_is_told_again(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("http://127.0.0.1:9/hook\n")
    assert call("alarm-chat.sh", str(tmp_path / "url")) != 0
    assert call("alarm-ping.sh", str(tmp_path / "url")) != 0
    assert call("alarm-ping.sh", str(tmp_path / "no-such-file")) != 0


def test_the_mail_has_a_head_and_the_alarm(tmp_path: Path) -> None:
    sendmail = tmp_path / "sendmail"
    sendmail.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\ncat > {tmp_path}/mail\n')
    sendmail.chmod(0o755)
    assert call("alarm-mail.sh", "ops@provider.example", SENDMAIL=str(sendmail)) == 0
    head, _, body = (tmp_path / "mail").read_text().partition("\n\n")
    assert head.startswith("To: ops@provider.example\nSubject: Postern: ")
    assert (body, (tmp_path / "arguments").read_text()) == (ALARM, "-i ops@provider.example\n")
