"""The first screen of a plan: which domains open, which close, and who answers."""

from __future__ import annotations

from fleet.domain_screen import NOBODY, OURS, DomainChange, DomainState, join_moves, screen_lines

OPEN, CLOSED = DomainState(is_open=True, answers=NOBODY), DomainState(is_open=False, answers=OURS)
THEIRS = DomainState(is_open=False, answers="relay_recipient_maps (hash:/r)")
ACCESS = DomainState(is_open=False, answers="smtpd_recipient_restrictions (hash:/a)")


def test_domains_that_close_come_first_then_those_that_open() -> None:
    lines = screen_lines(
        [
            DomainChange("a.example", CLOSED, OPEN),
            DomainChange("b.example", OPEN, CLOSED),
            DomainChange("c.example", None, OPEN),
            DomainChange("d.example", OPEN, OPEN),
        ]
    )
    assert lines == [
        "b.example: open to closed; who answers: today nobody is refused, then our list",
        "a.example: closed to open; who answers: today our list, then nobody is refused",
        "c.example: new on this relay, open: nobody is refused",
    ]


def test_a_domain_that_goes_to_another_customer_neither_leaves_nor_is_new() -> None:
    gained, lost = DomainChange("a.example", None, OPEN, "bolt"), DomainChange("a.example", CLOSED, None, "acme")
    stays = DomainChange("b.example", CLOSED, None, "acme")
    for changes in ([gained, lost, stays], [lost, gained, stays]):
        assert screen_lines([*join_moves(changes)]) == [
            "a.example: goes from acme to bolt, closed to open; who answers: today our list, then nobody is refused",
            "b.example: leaves this relay",
        ]
    still_open = [gained, lost._replace(before=OPEN)]
    assert screen_lines([*join_moves(still_open)])[0].startswith("a.example: goes from acme to bolt, stays open")


def test_many_new_domains_are_one_line_and_of_those_that_close_all_are_named() -> None:
    names = [f"d{number:03}.example" for number in range(150)]
    assert screen_lines([DomainChange(name, None, OPEN) for name in names]) == [
        "d000.example, d001.example, d002.example and 147 more: new on this relay, open: nobody is refused"
    ]
    (line,) = screen_lines([DomainChange(name, OPEN, CLOSED) for name in names])
    assert all(name in line for name in names)


def test_a_domain_that_stays_closed_names_who_answers_before_and_after() -> None:
    (line,) = screen_lines([DomainChange("a.example", THEIRS, CLOSED)])
    assert line.startswith("a.example: stays closed; who answers: today relay_recipient_maps (hash:/r), then our list")
    assert "goes on taking whom it lists" in line


def test_a_last_reject_is_said_to_refuse_new_people() -> None:
    (line,) = screen_lines([DomainChange("a.example", ACCESS, CLOSED)])
    assert "new people will get its refusal (554) until the table is taken out of smtpd_recipient_restrictions" in line
