"""Times in what `--json` prints."""

from __future__ import annotations

from console.documents import with_iso_times


def test_epoch_seconds_become_iso_times_with_their_zone() -> None:
    assert with_iso_times({"mx1": {"when": 1795914935, "log": [{"since": 1795914935}]}}) == {
        "mx1": {"when": "2026-11-29T01:15:35Z", "log": [{"since": "2026-11-29T01:15:35Z"}]}
    }
    assert with_iso_times({"accepted": {"acme.example": 1795914935}}) == {
        "accepted": {"acme.example": "2026-11-29T01:15:35Z"}
    }


def test_a_time_that_is_never_is_null() -> None:
    assert with_iso_times({"good": 0, "accepted_when": 0}) == {"good": None, "accepted_when": None}


def test_a_count_a_list_or_a_record_under_the_name_of_a_time_stays() -> None:
    document = {"first": 12, "last": {"did": "published"}, "since": None, "changed": True}
    assert with_iso_times(document) == document
    assert with_iso_times({"first": ("bob@acme.example",)}) == {"first": ["bob@acme.example"]}


def test_attack_a_time_beyond_the_calendar_does_not_end_the_command() -> None:
    assert with_iso_times({"when": 10**30}) == {"when": str(10**30)}
