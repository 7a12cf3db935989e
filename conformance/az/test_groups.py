"""Accounts, locations, resource groups, providers; resources of any type; calls by hand."""

from __future__ import annotations

import json

import pytest

from conftest import Az, Server

TYPE = "Microsoft.Communication/communicationServices"


@pytest.mark.gate
def test_the_account_is_shown(az: Az, server: Server) -> None:
    account = az("account", "show")
    assert (account["id"], account["state"]) == (server.subscription_id, "Enabled")
    assert account["user"] == {"name": server.client_id, "type": "servicePrincipal"}
    token = az("account", "get-access-token")
    assert (token["tokenType"], token["subscription"]) == ("Bearer", server.subscription_id)
    assert token["accessToken"].count(".") == 2


def test_locations_and_subscriptions_are_listed(az: Az, server: Server) -> None:
    assert [place["name"] for place in az("account", "list-locations")] == ["local"]
    assert [each["id"] for each in az("account", "list")] == [server.subscription_id]


@pytest.mark.gate
def test_a_group_lives_and_takes_what_is_in_it_along(az: Az, server: Server) -> None:
    made = az("group", "create", "-n", "Shop", "-l", "local", "--tags", "team=shop")
    assert made["id"] == f"/subscriptions/{server.subscription_id}/resourceGroups/Shop"
    assert (made["properties"]["provisioningState"], made["tags"]) == ("Succeeded", {"team": "shop"})
    assert az("group", "exists", "-n", "shop") is True
    az("eventgrid", "topic", "create", "-g", "shop", "-n", "in-the-shop", "-l", "local")
    az("group", "delete", "-n", "shop", "--yes")
    assert az("group", "exists", "-n", "shop") is False
    assert "in-the-shop" not in [topic["name"] for topic in az("eventgrid", "topic", "list")]


def test_groups_are_shown_listed_and_changed(az: Az) -> None:
    az("group", "create", "-n", "seen", "-l", "local")
    assert az("group", "show", "-n", "SEEN")["name"] == "seen"
    assert {"gridpost", "seen"} <= {group["name"] for group in az("group", "list")}
    assert az("group", "update", "-n", "seen", "--set", "tags.a=b")["tags"] == {"a": "b"}
    [found] = az("group", "list", "--tag", "a=b")
    assert found["name"] == "seen"
    az("group", "delete", "-n", "seen", "--yes", "--no-wait")
    assert "ResourceGroupNotFound" in az.refused("group", "show", "-n", "seen", code=3)
    assert "ResourceGroupNotFound" in az.refused("group", "delete", "-n", "seen", "--yes", code=3)
    assert "invalid characters" in az.refused("group", "create", "-n", "ends.", "-l", "local")


@pytest.mark.gate
def test_a_communication_resource_lives_as_a_resource_of_any_type(az: Az, server: Server) -> None:
    place = ["-g", server.group, "-n", "by-az", "--resource-type", TYPE]
    properties = json.dumps({"dataLocation": "Europe"})
    made = az("resource", "create", *place, "--location", "global", "--properties", properties)
    assert made["properties"]["provisioningState"] == "Succeeded"
    assert made["properties"]["dataLocation"] == "Europe"
    assert az("resource", "show", *place)["id"] == made["id"]
    listed = az("resource", "list", "--resource-type", TYPE)
    assert made["id"] in [each["id"] for each in listed]
    keys = az("rest", "--method", "post", "--url", f"{made['id']}/listKeys?api-version=2025-09-01")
    assert keys["primaryConnectionString"].startswith(f"endpoint={server.url}/;accesskey=")
    az("resource", "delete", "--ids", made["id"])
    assert "ResourceNotFound" in az.refused("resource", "show", "--ids", made["id"], code=3)


def test_resources_are_listed_tagged_and_acted_on(az: Az, server: Server) -> None:
    place = ["-g", server.group, "-n", "tagged", "--resource-type", TYPE]
    whole = json.dumps({"location": "global", "properties": {"dataLocation": "Europe"}, "tags": {"a": "b"}})
    made = az("resource", "create", *place, "--is-full-object", "--properties", whole)
    by = {
        "group": ["-g", server.group],
        "tag": ["--tag", "a=b"],
        "name": ["-n", "tagged"],
        "location": ["-l", "global"],
    }
    for how, words in by.items():
        listed = [each["id"] for each in az("resource", "list", *words)]
        assert made["id"] in listed, how
    assert az("resource", "list", "--tag", "a=other") == []
    changed = az("resource", "tag", "--ids", made["id"], "--tags", "c=d")
    assert changed["tags"] == {"c": "d"}
    changed = az("resource", "update", "--ids", made["id"], "--set", "tags.e=f")
    assert changed["tags"] == {"c": "d", "e": "f"}
    # az reads the answer as that of a long-running operation, and prints nothing of it.
    az("resource", "invoke-action", "--action", "listKeys", "--ids", made["id"])
    az("resource", "delete", "--ids", made["id"])
    az("resource", "wait", "--ids", made["id"], "--deleted", "--interval", "1")


def test_providers_are_listed_and_registered(az: Az) -> None:
    known = {each["namespace"] for each in az("provider", "list")}
    assert {"Microsoft.Communication", "Microsoft.EventGrid", "Microsoft.Resources"} <= known
    shown = az("provider", "show", "-n", "Microsoft.EventGrid")
    assert shown["registrationState"] == "Registered"
    assert "topics" in [each["resourceType"] for each in shown["resourceTypes"]]
    az("provider", "register", "-n", "Microsoft.EventGrid", "--wait")


def test_calls_by_hand_take_paths_and_whole_addresses(az: Az, server: Server) -> None:
    query = "?api-version=2022-12-01"
    by_path = az("rest", "--method", "get", "--url", f"/subscriptions{query}")
    whole = az("rest", "--method", "get", "--url", f"{server.url}/subscriptions{query}")
    assert by_path == whole
    assert [each["subscriptionId"] for each in whole["value"]] == [server.subscription_id]
    assert "MissingApiVersionParameter" in az.refused("rest", "--method", "get", "--url", "/subscriptions")


def test_what_does_not_exist_yet_is_refused_by_name(az: Az, server: Server) -> None:
    url = f"{server.group_id}/providers/Microsoft.EventGrid/namespaces/ns1?api-version=2025-02-15"
    body = json.dumps({"location": "local", "sku": {"name": "Standard", "capacity": 1}})
    said = az.refused("rest", "--method", "put", "--url", url, "--body", body)
    assert "NotImplemented" in said and "Microsoft.EventGrid/namespaces" in said
