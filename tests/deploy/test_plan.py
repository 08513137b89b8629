"""A plan: what an operator reads before it happens, what it would lose, and that it looks again afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

import pytest

from deploy.items import Item, ProtectedLines, State, account, derived, file, package, tree
from deploy.kit import Kit
from deploy.plan import Blank, Busy, Change, HostError, Plan, ProofFailed


def text(item: Item, before: State | None = None) -> str:
    return Plan(Blank(), (item,), (Change(item, before),)).text()


def dedent_plan(expected: str) -> str:
    return dedent(expected).lstrip("\n")


def test_a_plan_against_nothing_shows_all_that_the_items_are() -> None:
    items = [
        package("postfix"),
        account("postern", home="/var/lib/postern", shell="/bin/sh"),
        file("/etc/cron.d/postern", "*/5 * * * * postern tick\n"),
        tree("/etc/postern/customers/acme", {"transport": "", "relay_domains": "acme.example OK\n"}),
        derived("tables", "/usr/local/sbin/rebuild-relay-recips"),
        Item("main.cf", "/etc/postfix", {"relay_domains": "$mydestination"}),
    ]
    assert Plan.of(Blank(), items).text() == dedent_plan("""
        install package postfix
        create account postern (home /var/lib/postern, shell /bin/sh, password *)
        mode of /etc/cron.d/postern: 0644
        --- /dev/null
        +++ /etc/cron.d/postern
        @@ -0,0 +1 @@
        +*/5 * * * * postern tick
        --- /dev/null
        +++ /etc/postern/customers/acme/relay_domains
        @@ -0,0 +1 @@
        +acme.example OK
        --- /dev/null
        +++ /etc/postern/customers/acme/transport
        build tables
        main.cf /etc/postfix
        + relay_domains = $mydestination
    """)


def test_a_plan_without_changes_is_no_text() -> None:
    assert Plan(Blank(), (package("make"),), ()).text() == ""


def test_a_changed_file_is_a_diff_of_the_lines_around_the_change() -> None:
    before = {"content": "a\nb\nc\n", "mode": "0644"}
    assert text(file("/f", "a\nB\nc\n", mode="0600"), before) == dedent_plan("""
        mode of /f: 0644 -> 0600
        --- /f
        +++ /f
        @@ -1,3 +1,3 @@
         a
        -b
        +B
         c
    """)


def test_a_file_that_goes_is_shown_line_by_line() -> None:
    assert text(file("/f", None), {"content": "a\n", "mode": "0644"}) == "--- /f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"


def test_a_missing_newline_at_the_end_is_seen() -> None:
    assert text(file("/f", "a\n"), {"content": "a", "mode": "0644"}) == dedent_plan(r"""
        --- /f
        +++ /f
        @@ -1 +1 @@
        -a
        \ No newline at end of file
        +a
    """)


def test_windows_line_ends_are_not_shown_unless_they_are_what_changes() -> None:
    assert text(file("/f", "a\r\nb\r\n"), {"content": "a\r\n", "mode": "0644"}).endswith("\n a\n+b\n")
    assert text(file("/f", "a\r\n"), {"content": "a\n", "mode": "0644"}).endswith("\n-a\n+a\\r\n")


def test_only_the_files_of_a_tree_that_differ_are_shown() -> None:
    before = {"files": {"a": "1\n", "b": "1\n", "gone": "x\n"}}
    assert text(tree("/t", {"a": "1\n", "b": "2\n"}), before) == dedent_plan("""
        --- /t/b
        +++ /t/b
        @@ -1 +1 @@
        -1
        +2
        --- /t/gone
        +++ /dev/null
        @@ -1 +0,0 @@
        -x
    """)


def test_what_is_wrong_with_the_thing_itself_is_named() -> None:
    before = {"content": "a\n", "mode": "0644", "odd": ["belongs to user 1000 and group 1000"]}
    assert text(file("/f", "a\n"), before) == "! /f belongs to user 1000 and group 1000\n"
    assert (
        text(tree("/t", {}), {"odd": ["is a symbolic link to /home/bob"]}) == "! /t is a symbolic link to /home/bob\n"
    )


def test_a_changed_account_names_what_changes() -> None:
    before = {"home": "/var/lib/postern", "shell": "/bin/bash", "password": "set"}
    item = account("postern", home="/var/lib/postern", shell="/bin/sh")
    assert text(item, before) == "change account postern: password set -> *, shell /bin/bash -> /bin/sh\n"


def test_what_is_to_be_built_says_why_in_one_line() -> None:
    item = derived("tables", "/bin/true")
    faults = ["a", "b", "c", "d", "e"]
    assert text(item, {"argv": ["/bin/true"], "faults": faults}) == "build tables (a; b; c; and 2 more)\n"


def test_a_kind_of_a_role_is_shown_by_the_keys_that_differ() -> None:
    before = {"same": "x", "changed": "old", "goes": "y", "list": ["a"]}
    wanted = {"same": "x", "changed": "new", "list": ["a", "b"], "comes": "z"}
    assert text(Item("main.cf", "/etc/postfix", wanted), before) == dedent_plan("""
        main.cf /etc/postfix
        - changed = old
        + changed = new
        + comes = z
        - goes = y
        - list = ["a"]
        + list = ["a", "b"]
    """)


def test_a_value_of_several_lines_is_shown_as_such() -> None:
    piece = {"content": "Match User x\n    PermitTTY no\n", "in force": True}
    assert text(Item("sshd", "/etc/ssh/x.conf", piece)) == dedent_plan("""
        sshd /etc/ssh/x.conf
        + content = Match User x
        +         PermitTTY no
        + in force = true
    """)


@pytest.mark.parametrize("content", ["\0abc", b"\xff\xfe".decode("utf-8", "surrogateescape")])
def test_binary_content_is_never_shown(content: str) -> None:
    shown_text = text(file("/f", "a\n"), {"content": content, "mode": "0644"})
    assert shown_text.startswith(f"binary /f: {len(content)} bytes, SHA-256 ")
    assert shown_text.isascii()
    assert shown_text.count("\n") == 1


def test_attack_a_file_that_rewrites_the_terminal_shows_as_escapes() -> None:
    evil = "\x1b[2J\x1b[1;1Hnothing to change\u202e\u2028\n"
    assert text(file("/f", None), {"content": evil, "mode": "0644"}).splitlines()[-1] == (
        r"-\x1b[2J\x1b[1;1Hnothing to change\u202e\u2028"
    )


def test_attack_a_link_target_with_a_newline_stays_on_its_line() -> None:
    assert text(tree("/t", {}), {"odd": ["is a symbolic link to x\n+++ y"]}).count("\n") == 1


KEYS = ProtectedLines("authorized_keys", "key", -1)
ROUTES = ProtectedLines("transport", "route", 0)


def lost(before: State | None, wanted: State | None, *keep: ProtectedLines) -> tuple[str, ...]:
    item = Item("tree", "/t", wanted, protected=keep)
    return Plan(Blank(), (item,), (Change(item, before),)).removals()


def test_a_line_that_goes_from_a_kept_file_is_a_loss_by_name() -> None:
    before = {"files": {"authorized_keys": "x AAAA acme k1\nx BBBB acme k2\n", "transport": "acme.example relay:[a]\n"}}
    wanted = {"files": {"authorized_keys": "x BBBB acme k2\n", "transport": ""}}
    assert lost(before, wanted, KEYS, ROUTES) == ("key:k1", "route:acme.example")


def test_a_line_whose_name_stays_is_a_change_and_no_loss() -> None:
    before = {"files": {"transport": "acme.example relay:[a]\n"}}
    assert lost(before, {"files": {"transport": "acme.example relay:[b]\n"}}, ROUTES) == ()


def test_a_line_that_is_another_one_under_an_old_name_is_a_loss() -> None:
    keys = KEYS._replace(same=-3)
    before = {"files": {"authorized_keys": "restrict ssh-ed25519 AAAA acme k1\n"}}
    for line, losses in {
        "from=x ssh-ed25519 AAAA acme k1": (),
        "restrict ssh-ed25519 BBBB acme k1": ("key:k1",),
    }.items():
        assert lost(before, {"files": {"authorized_keys": f"{line}\n"}}, keys) == losses


def test_a_word_that_goes_from_a_list_in_a_json_file_is_a_loss_by_name() -> None:
    keep = ProtectedLines("settings.json#partial", "partial", 0)
    texts = ('{"partial": ["a.example", "b.example"]}', '{"partial": ["b.example"]}', "{}", "no JSON", '{"partial": 1}')
    states: list[State] = [{"files": {"settings.json": text}} for text in texts]
    assert lost(states[0], states[1], keep) == ("partial:a.example",)
    assert lost(states[0], states[2], keep) == ("partial:a.example", "partial:b.example")
    assert [lost(before, states[2], keep) for before in states[2:]] == [(), (), ()]


def test_a_kept_file_that_vanishes_loses_all_its_lines() -> None:
    before = {"files": {"transport": "a.example x\nb.example x\n"}}
    assert lost(before, {"files": {}}, ROUTES) == ("route:a.example", "route:b.example")


def test_a_tree_that_goes_loses_all_its_kept_lines() -> None:
    assert lost({"files": {"transport": "a.example x\n"}}, None, ROUTES) == ("route:a.example",)


def test_a_tree_that_comes_loses_nothing() -> None:
    assert lost(None, {"files": {"transport": "a.example x\n"}}, ROUTES) == ()


def test_a_kept_line_too_short_for_its_name_is_named_whole() -> None:
    keep = ProtectedLines("transport", "route", 3)
    assert lost({"files": {"transport": "written by hand\n"}}, None, keep) == ("route:written by hand",)


def test_comments_and_empty_lines_of_a_kept_file_may_go_unnamed() -> None:
    assert lost({"files": {"transport": "# by bob\n\n  \n"}}, None, ROUTES) == ()


def test_files_that_are_not_kept_lose_nothing() -> None:
    assert lost({"files": {"settings.json": "a\nb\n"}}, None, KEYS, ROUTES) == ()


def test_applying_looks_again_and_says_nothing_when_all_is_as_wanted(tmp_path: Path) -> None:
    plan = Plan.of(Kit(tmp_path / "kit"), [file("a.txt", "a\r\n")])
    plan.apply()
    assert Plan.of(plan.host, plan.items).changes == ()


class Forgetful:
    """A machine that makes nothing of what it is told, as one does whose disk is a dream."""

    name = "forgetful"

    def read(self, items: Sequence[Item]) -> list[State | None]:
        return [None for _ in items]

    def make(self, changes: Sequence[Change]) -> None:
        self.told = len(changes)


def test_what_is_still_not_as_wanted_after_applying_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.plan.PAUSE", 0)
    host = Forgetful()
    with pytest.raises(HostError, match=r"(?s)still not as wanted.*/etc/x.*\+hello"):
        Plan.of(host, [file("/etc/x", "hello\n")]).apply()
    assert host.told == 1


def test_a_plan_without_changes_applies_nothing() -> None:
    Plan(Blank(), (package("make"),), ()).apply()


def test_nothing_can_be_made_on_nothing() -> None:
    with pytest.raises(HostError):
        Plan.of(Blank(), [package("make")]).apply()


def test_each_error_brings_its_exit_code() -> None:
    assert (HostError.code, Busy.code, ProofFailed.code) == (4, 75, 5)


def test_a_brief_text_counts_what_is_too_long_to_be_read() -> None:
    long = file("/etc/long", "".join(f"line {number}\n" for number in range(200)))
    many = tree("/usr/lib/many", {f"{number}.py": "x\n" for number in range(20)})
    short = file("/etc/short", "one\n")
    plan = Plan.of(Blank(), [long, many, short])
    assert "new file /etc/long: 200 lines come, 0 go\n" in plan.text(brief=True)
    assert "tree /usr/lib/many: 20 files come, 0 go, 0 change\n" in plan.text(brief=True)
    assert "+one\n" in plan.text(brief=True)
    assert "+line 199\n" in plan.text()
    assert "+++ /usr/lib/many/19.py\n" in plan.text()
