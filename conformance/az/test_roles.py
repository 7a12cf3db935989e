"""`az role` and what it asks the directory; then what a principal may that holds one role in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conftest import Az, Server

READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"


@pytest.fixture
def principal(server: Server) -> Any:
    """One that was just made, without a role."""
    made = server.ask("POST", "/principals", {"displayName": "somebody"})
    yield made
    server.ask("DELETE", f"/principals/{made['clientId']}")


@pytest.mark.gate
def test_a_role_is_assigned_listed_and_taken_away(az: Az, server: Server, principal: Any) -> None:
    scope = f"/subscriptions/{server.subscription_id}"
    client, oid = principal["clientId"], principal["objectId"]
    made = az("role", "assignment", "create", "--assignee", client, "--role", "Reader", "--scope", scope)
    assert (made["principalId"], made["principalType"]) == (oid, "ServicePrincipal")
    assert made["roleDefinitionId"].endswith(READER)

    listed = az("role", "assignment", "list", "--assignee", client, "--all")
    assert [(one["principalName"], one["roleDefinitionName"]) for one in listed] == [(client, "Reader")]
    assert listed[0]["id"] == made["id"]

    az("role", "assignment", "delete", "--assignee", client, "--role", "Reader", "--scope", scope)
    assert az("role", "assignment", "list", "--assignee", client, "--all") == []


def test_an_assignment_by_object_id_needs_no_directory(az: Az, server: Server, principal: Any) -> None:
    oid = principal["objectId"]
    who = ["--assignee-object-id", oid, "--assignee-principal-type", "ServicePrincipal"]
    scope = ["--scope", f"{server.group_id}"]
    made = az("role", "assignment", "create", *who, "--role", READER, *scope)
    again = az("role", "assignment", "list", *scope, "--query", f"[?principalId=='{oid}'].name")
    assert again == [made["name"]]
    az("role", "assignment", "delete", "--ids", made["id"])


def test_principals_are_found_in_the_directory(az: Az, principal: Any) -> None:
    client, oid = principal["clientId"], principal["objectId"]
    for known in (client, oid):
        assert az("ad", "sp", "show", "--id", known)["displayName"] == "somebody"
    [found] = az("ad", "sp", "list", "--display-name", "some")
    assert found["id"] == oid
    assert oid in [one["id"] for one in az("ad", "sp", "list", "--all")]
    assert "gridpost principal" in az.refused("ad", "sp", "create-for-rbac", "--name", "x")


def test_nobody_found_in_the_directory_is_assigned_nothing(az: Az, server: Server) -> None:
    scope = f"/subscriptions/{server.subscription_id}"
    create = ["role", "assignment", "create", "--role", "Reader", "--scope", scope, "--assignee"]
    assert "Cannot find user or service principal" in az.refused(*create, "nobody@example.com")
    assert "Cannot find user or service principal" in az.refused(*create, "8b0b3d13-1a0d-4a93-b78b-74fd3c21b5a2")


def test_who_holds_a_role_in_one_place_is_refused_in_another(
    az: Az, server: Server, principal: Any, tmp_path: Path
) -> None:
    az("group", "create", "-n", "readable", "-l", "local")
    scope = f"/subscriptions/{server.subscription_id}/resourceGroups/readable"
    az("role", "assignment", "create", "--assignee", principal["clientId"], "--role", "Reader", "--scope", scope)
    reader = Az(tmp_path / "reader")
    secret = ["-u", principal["clientId"], "-p", principal["clientSecret"], "--tenant", server.tenant]
    reader("login", "--service-principal", *secret)
    assert reader("group", "show", "-n", "readable")["name"] == "readable"
    for refused in (["group", "show", "-n", server.group], ["group", "delete", "-n", "readable", "--yes"]):
        assert "AuthorizationFailed" in reader.refused(*refused)
    az("group", "delete", "-n", "readable", "--yes")
