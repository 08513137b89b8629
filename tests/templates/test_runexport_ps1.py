"""runexport.ps1 is read by a real parser of PowerShell, and held to what PowerShell 2 had, which cannot be run here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

from receiver.upload.formats import powershell

SCRIPT = (Path(__file__).parent.parent / "golden" / "exchange" / "powershell" / "runexport.ps1").read_bytes()

CMDLETS = {  # of PowerShell 2, with parameters they had then (Microsoft's reference for 2.0)
    "Add-PSSnapin": {"Name"},
    "Add-Type": {"AssemblyName"},
    "ForEach-Object": set[str](),
    "Get-Command": {"ErrorAction"},
    "Get-PSSnapin": {"Name", "Registered", "ErrorAction"},
    "Import-PSSession": {"Session", "AllowClobber", "DisableNameChecking"},
    "Join-Path": set[str](),
    "Move-Item": {"Path", "Destination", "Force"},
    "New-Object": set[str](),
    "New-PSSession": {"ConfigurationName", "ConnectionUri", "Authentication"},
    "Out-Null": set[str](),
    "Remove-Item": set[str](),
    "Remove-PSSession": {"Session"},
    "Split-Path": {"Parent"},
    "Test-Path": set[str](),
    "Where-Object": set[str](),
    "Write-Output": set[str](),
}
EXCHANGE = {"Set-ADServerSettings": {"ViewEntireForest"}}  # since 2010, called where it is there
SINCE_2007 = {
    *("Get-Mailbox", "Get-MailUser", "Get-MailContact", "Get-DistributionGroup", "Get-DynamicDistributionGroup"),
    "Get-MailPublicFolder",
}
OPERATORS = {"-eq", "-not", "-and", "-or", "-contains", "-match", "-replace", "-split", "-join", "-is"}
STATEMENTS = {
    *("if_statement", "elseif_clauses", "elseif_clause", "else_clause", "foreach_statement"),
    *("while_statement", "flow_control_statement"),
    *("try_statement", "catch_clauses", "catch_clause", "finally_clause", "function_statement"),
    *("function_parameter_declaration", "param_block"),
}
"""What was there in PowerShell 2: no class, enum, using, workflow, configuration, && or ?: as later ones have."""


def nodes(script: bytes) -> Iterator[Node]:
    waiting = [Parser(Language(tree_sitter_powershell.language())).parse(script).root_node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.children


def text(node: Node) -> str:
    return (node.text or b"").decode("ascii")


def faults(script: bytes) -> list[str]:
    return [text(node) for node in nodes(script) if node.is_error or node.is_missing]


def of_type(*types: str) -> list[Node]:
    return [node for node in nodes(SCRIPT) if node.type in types]


# ---- syntax


def test_the_script_is_powershell_from_its_first_letter_to_its_last() -> None:
    assert faults(SCRIPT) == []
    assert len(of_type("function_statement")) == 4


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (b"\r\ntry {", b"\r\ntry"),
        (b"foreach ($search in $searches) {", b"foreach ($search in) {"),
        (b"exit $code", b"exit $code }"),
        (b'"`t" + ($flags', b'"`t" + + ) ($flags'),
        (b"if ($rows -eq 1) {", b"if ($rows -eq) {"),
        (b"ErrorAction = ", b"ErrorAction "),
    ],
)
def test_a_script_with_a_slip_in_it_would_be_found(right: bytes, wrong: bytes) -> None:
    assert SCRIPT.count(right) == 1
    assert faults(SCRIPT.replace(right, wrong)) != []


# ---- nothing that came after PowerShell 2


def test_every_command_and_parameter_is_one_that_powershell_2_or_exchange_has() -> None:
    own = {text(node) for node in of_type("function_name")}
    for command in of_type("command"):
        name, *words = (child for child in command.named_children)
        if text(name) in own or text(command).startswith(("& $name ", "& $step")):
            continue
        known = {**CMDLETS, **EXCHANGE}[text(name)]
        given = {text(node).lstrip("-") for part in words for node in part.children if node.type == "command_parameter"}
        assert given <= known, text(command)


def test_every_statement_and_operator_is_one_that_powershell_2_had() -> None:
    types = {node.type for node in nodes(SCRIPT)}
    assert {kind for kind in types if re.search("statement|clause|block$|definition|declaration", kind)} <= {
        *STATEMENTS,
        *("statement_list", "statement_block", "script_block"),
    }
    assert not {"pipeline_chain_tail", "ternary_expression", "null_coalesce_expression", "redirections"} & types
    assert {text(node) for node in nodes(SCRIPT) if node.type.startswith("-") and len(node.type) > 1} <= OPERATORS
    assert {text(node).lower() for node in of_type("comparison_operator")} <= OPERATORS


def test_no_variable_type_or_member_is_used_that_powershell_2_did_not_know() -> None:
    script = SCRIPT.decode("ascii").lower()
    for later in ("$psscriptroot", "$pscommandpath", "$psitem", "$using:", "[ordered]", "[pscustomobject]", "::new("):
        assert later not in script
    members = {text(node).lower() for node in of_type("member_name")}
    assert not members & {"where", "foreach", "new", "isnullorwhitespace"}  # methods of collections since 4, of .NET 4
    assert not re.search(r"\$(switch|input|args|matches|host|error|this)\b", script)  # names PowerShell gives itself


def test_the_script_is_small_and_plain() -> None:
    lines = SCRIPT.decode("ascii").splitlines()
    assert len(lines) < 165
    assert max(map(len, lines)) <= 120


# ---- what it asks for, and what it writes


def searches() -> list[str]:
    assignment = re.search(rb"\$searches = ([^$]+)", SCRIPT)
    assert assignment is not None
    return re.findall(r'"([^"]+)"', assignment[1].decode())


def test_each_sort_of_recipient_is_asked_for_by_the_command_that_knows_who_gets_mail_from_inside_only() -> None:
    names = [search.partition(" ")[0] for search in searches()]
    assert set(names) == {*SINCE_2007, "Get-RemoteMailbox", "Get-Recipient"}
    assert names[-1] == "Get-Recipient", "the last word, for those whom no other command named"
    newer = re.findall(rb'\$newer \+?= @?\(?"([^"]+)"', SCRIPT)
    assert {name.decode() for name in newer} == set(names) - SINCE_2007


def test_no_search_stops_at_a_thousand_or_goes_on_after_an_error() -> None:
    (call,) = [text(node) for node in of_type("command") if text(node).startswith("& $name")]
    assert "@parameters" in call
    assert b'$parameters["WarningVariable"]' in SCRIPT, "a part of a list comes with a warning alone"
    parameters = re.search(rb"\$parameters = @\{([^}]+)\}", SCRIPT)
    assert parameters is not None
    given = dict(pair.split(" = ") for pair in parameters[1].decode().strip().split("; "))
    assert given["ResultSize"] == '"Unlimited"'
    assert given["ErrorAction"] == '"Stop"'
    assert SCRIPT.index(b'$ErrorActionPreference = "Stop"') < SCRIPT.index(b"Split-Path")


def test_the_whole_forest_is_asked() -> None:
    assert b"Set-ADServerSettings -ViewEntireForest $true" in SCRIPT
    assert b"$AdminSessionADSettings.ViewEntireForest = $true" in SCRIPT


def test_the_script_changes_nothing_in_exchange() -> None:
    names = {text(node) for node in of_type("command_name")}
    assert {name for name in names if re.match("(Add|Disable|Enable|New|Remove|Set|Update)-", name)} == {
        *("Add-PSSnapin", "Add-Type", "New-Object", "New-PSSession", "Remove-Item", "Remove-PSSession"),
        "Set-ADServerSettings",  # of this session alone
    }


def test_the_columns_and_flags_are_those_the_receiver_reads() -> None:
    assert b'WriteLine("' + "`t".join(powershell.COLUMNS).encode() + b'")' in SCRIPT
    assert re.findall(r'\$flags \+= "(\w+)"', SCRIPT.decode()) == list(powershell.FLAGS)


def test_a_failure_ends_with_1_and_leaves_neither_list_nor_mark() -> None:
    script = SCRIPT.decode()
    caught = script.index("\ncatch {")
    assert script.index("-Destination $mark ") < caught, "the mark is written last of all that can fail"
    assert script.index("Remove-Item $mark") < script.index("-Destination $list ") < script.index("-Destination $mark ")
    assert "$code = 1" in script[caught:]
    assert script.rstrip().endswith("exit $code")
    assert "Remove-Item $draft" in script[caught:]
