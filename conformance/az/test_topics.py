"""`az eventgrid`: topics, domains, system topics and topic types."""

from __future__ import annotations

import pytest

from conftest import Az, Server

COMMUNICATION = "Microsoft.Communication.CommunicationServices"


@pytest.mark.gate
def test_a_topic_lives(az: Az, server: Server) -> None:
    place = ["-g", server.group, "-n", "orders"]
    made = az("eventgrid", "topic", "create", *place, "-l", "local", "--tags", "a=b")
    assert (made["provisioningState"], made["inputSchema"]) == ("Succeeded", "EventGridSchema")
    assert made["endpoint"] == f"{server.url}/topics/orders/api/events"
    assert az("eventgrid", "topic", "show", *place)["id"] == made["id"]
    listed = az("eventgrid", "topic", "list", "-g", server.group)
    assert made["id"] in [topic["id"] for topic in listed]
    assert az("eventgrid", "topic", "update", *place, "--tags", "c=d")["tags"] == {"c": "d"}
    keys = az("eventgrid", "topic", "key", "list", *place)
    new = az("eventgrid", "topic", "key", "regenerate", *place, "--key-name", "key1")
    assert new["key1"] != keys["key1"] and new["key2"] == keys["key2"]
    assert az("eventgrid", "topic", "delete", *place) is None
    assert "ResourceNotFound" in az.refused("eventgrid", "topic", "show", *place, code=3)


def test_a_topic_takes_every_option(az: Az, server: Server) -> None:
    place = ["-g", server.group, "-n", "guarded"]
    made = az(
        *["eventgrid", "topic", "create", *place, "--input-schema", "cloudeventschemav1_0"],
        *["--public-network-access", "enabled", "--inbound-ip-rules", "10.0.0.0/8", "allow"],
    )
    # az sends no location unless it is told one: it is that of the group.
    assert (made["location"], made["inputSchema"]) == ("local", "CloudEventSchemaV1_0")
    assert (made["publicNetworkAccess"], made["disableLocalAuth"]) == ("Enabled", False)
    assert made["inboundIpRules"] == [{"action": "Allow", "ipMask": "10.0.0.0/8"}]
    changed = az("eventgrid", "topic", "update", *place, "--public-network-access", "disabled")
    assert changed["publicNetworkAccess"] == "Disabled"
    az("eventgrid", "topic", "delete", *place)
    # What is gone can be deleted.
    az("eventgrid", "topic", "delete", *place)

    place = ["-g", server.group, "-n", "mapped"]
    made = az(
        *["eventgrid", "topic", "create", *place, "-l", "local", "--input-schema", "customeventschema"],
        *["--input-mapping-fields", "id=number", "eventType=kind", "subject=about"],
        *["--input-mapping-default-values", "dataVersion=1.0"],
    )
    assert made["inputSchema"] == "CustomEventSchema"
    mapping = az("eventgrid", "topic", "show", *place)["inputSchemaMapping"]
    assert (mapping["id"]["sourceField"], mapping["eventType"]["sourceField"]) == ("number", "kind")
    assert mapping["dataVersion"]["defaultValue"] == "1.0"
    listed = az("eventgrid", "topic", "list", "--odata-query", "CONTAINS(name, 'MAPP')")
    assert [topic["name"] for topic in listed] == ["mapped"]
    az("eventgrid", "topic", "delete", "--ids", made["id"])


def test_bad_names_are_refused_with_the_field(az: Az, server: Server) -> None:
    said = az.refused("eventgrid", "topic", "create", "-g", server.group, "-n", "t1", "-l", "local")
    assert "InvalidRequest" in said and "3 to 50 characters" in said and "Target: name" in said
    said = az.refused("eventgrid", "topic", "create", "-g", "nowhere", "-n", "orders", "-l", "local", code=3)
    assert "ResourceGroupNotFound" in said


@pytest.mark.gate
def test_a_domain_and_its_topics_live(az: Az, server: Server) -> None:
    place = ["-g", server.group, "-n", "books"]
    made = az("eventgrid", "domain", "create", *place, "-l", "local")
    assert (made["provisioningState"], made["autoCreateTopicWithFirstSubscription"]) == ("Succeeded", True)
    below = ["-g", server.group, "--domain-name", "books", "-n", "novels"]
    topic = az("eventgrid", "domain", "topic", "create", *below)
    assert topic["id"] == f"{made['id']}/topics/novels"
    within = ["-g", server.group, "--domain-name", "books"]
    assert [each["name"] for each in az("eventgrid", "domain", "topic", "list", *within)] == ["novels"]
    az("eventgrid", "domain", "topic", "delete", *below)
    az("eventgrid", "domain", "delete", *place)
    assert "ResourceNotFound" in az.refused("eventgrid", "domain", "show", *place, code=3)


def test_a_domain_is_changed_and_its_keys_too(az: Az, server: Server) -> None:
    place = ["-g", server.group, "-n", "toys"]
    made = az("eventgrid", "domain", "create", *place, "-l", "local")
    changed = az("eventgrid", "domain", "update", *place, "--tags", "a=b")
    assert changed["tags"] == {"a": "b"}
    assert made["id"] in [each["id"] for each in az("eventgrid", "domain", "list", "-g", server.group)]
    assert az("eventgrid", "domain", "show", *place)["endpoint"] == f"{server.url}/domains/toys/api/events"
    keys = az("eventgrid", "domain", "key", "list", *place)
    new = az("eventgrid", "domain", "key", "regenerate", *place, "--key-name", "key2")
    assert new["key1"] == keys["key1"] and new["key2"] != keys["key2"]
    below = ["-g", server.group, "--domain-name", "toys", "-n", "trains"]
    az("eventgrid", "domain", "topic", "create", *below)
    assert az("eventgrid", "domain", "topic", "show", *below)["name"] == "trains"
    az("eventgrid", "domain", "delete", *place)


@pytest.mark.gate
def test_a_system_topic_lives(az: Az, server: Server) -> None:
    remove_system_topics(az, server)
    place = ["-g", server.group, "-n", "texts"]
    made = az(
        *["eventgrid", "system-topic", "create", *place, "-l", "global"],
        *["--source", server.source, "--topic-type", COMMUNICATION],
    )
    assert (made["provisioningState"], made["source"]) == ("Succeeded", server.source)
    assert made["topicType"].lower() == COMMUNICATION.lower()
    assert az("eventgrid", "system-topic", "show", *place)["id"] == made["id"]
    assert [each["name"] for each in az("eventgrid", "system-topic", "list")] == ["texts"]
    assert az("eventgrid", "system-topic", "update", *place, "--tags", "x=y")["tags"] == {"x": "y"}
    shown = az("eventgrid", "extension-topic", "show", "--scope", server.source)
    assert shown["systemTopic"] == made["id"]
    az("eventgrid", "system-topic", "delete", *place, "--yes")
    assert az("eventgrid", "system-topic", "list", "-g", server.group) == []


def remove_system_topics(az: Az, server: Server) -> None:
    """A source has one system topic, and a subscription on the source itself makes it."""
    for topic in az("eventgrid", "system-topic", "list", "-g", server.group):
        az("eventgrid", "system-topic", "delete", "-g", server.group, "-n", topic["name"], "--yes")


def test_topic_types_and_their_event_types_are_listed(az: Az) -> None:
    assert COMMUNICATION in [each["name"] for each in az("eventgrid", "topic-type", "list")]
    shown = az("eventgrid", "topic-type", "show", "-n", COMMUNICATION)
    assert (shown["provider"], shown["resourceRegionType"]) == ("Microsoft.Communication", "GlobalResource")
    types = az("eventgrid", "topic-type", "list-event-types", "-n", COMMUNICATION)
    by_name = {each["name"]: each["isInDefaultSet"] for each in types}
    assert by_name["Microsoft.Communication.SMSReceived"] is True
    assert False in by_name.values()
