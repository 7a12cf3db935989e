"""`az eventgrid event-subscription` in all its spellings, with every flag."""

from __future__ import annotations

import pytest

from conftest import Az, Server

RECEIVED = "Microsoft.Communication.SMSReceived"
REPORT = "Microsoft.Communication.SMSDeliveryReportReceived"
FULL = ["--include-full-endpoint-url", "true", "--include-static-delivery-attribute-secret", "true"]


@pytest.mark.gate
def test_an_event_subscription_keeps_every_flag(az: Az, server: Server) -> None:
    """The command that reference management 7 lists, to the letter."""
    where = ["-n", "every-flag", "--source-resource-id", server.source]
    container = (
        f"{server.group_id}/providers/Microsoft.Storage/storageAccounts/lost"
        "/blobServices/default/containers/dead-letters"
    )
    az(
        *["eventgrid", "event-subscription", "create", *where],
        *["--endpoint", server.sink("every-flag") + "?code=secret"],
        *["--included-event-types", RECEIVED, REPORT, "--subject-begins-with", "phonenumber/1555"],
        *["--subject-ends-with", "0100", "--subject-case-sensitive", "true"],
        *["--advanced-filter", "data.From", "StringBeginsWith", "15", "16"],
        *["--advanced-filter", "data.r", "NumberInRange", "1,5", "10,20"],
        *["--max-delivery-attempts", "5", "--event-ttl", "60"],
        *["--event-delivery-schema", "cloudeventschemav1_0", "--deadletter-endpoint", container],
        *["--labels", "l1", "l2", "--expiration-date", "2099-01-01"],
        *["--delivery-attribute-mapping", "X-A", "static", "v1", "true"],
        *["--delivery-attribute-mapping", "X-B", "dynamic", "data.x"],
        *["--max-events-per-batch", "10", "--preferred-batch-size-in-kilobytes", "64"],
        *["--enable-advanced-filtering-on-arrays", "true"],
    )
    shown = az("eventgrid", "event-subscription", "show", *where, *FULL)
    assert shown["provisioningState"] == "Succeeded"
    assert shown["topic"] == server.source
    destination = shown["destination"]
    assert destination["endpointUrl"] == server.sink("every-flag") + "?code=secret"
    assert (destination["maxEventsPerBatch"], destination["preferredBatchSizeInKilobytes"]) == (10, 64)
    attributes = {each["name"]: each for each in destination["deliveryAttributeMappings"]["value"]}
    assert (attributes["X-A"]["value"], attributes["X-A"]["isSecret"]) == ("v1", True)
    assert attributes["X-B"]["sourceField"] == "data.x"
    filters = shown["filter"]
    assert filters["includedEventTypes"] == [RECEIVED, REPORT]
    assert (filters["subjectBeginsWith"], filters["subjectEndsWith"]) == ("phonenumber/1555", "0100")
    assert (filters["isSubjectCaseSensitive"], filters["enableAdvancedFilteringOnArrays"]) == (True, True)
    first, second = filters["advancedFilters"]
    assert (first["operatorType"], first["key"], first["values"]) == ("StringBeginsWith", "data.From", ["15", "16"])
    assert (second["operatorType"], second["values"]) == ("NumberInRange", [[1.0, 5.0], [10.0, 20.0]])
    assert shown["retryPolicy"] == {"eventTimeToLiveInMinutes": 60, "maxDeliveryAttempts": 5}
    assert shown["eventDeliverySchema"] == "CloudEventSchemaV1_0"
    assert shown["deadLetterDestination"]["blobContainerName"] == "dead-letters"
    assert shown["deadLetterDestination"]["resourceId"].lower() == container.split("/blobServices")[0].lower()
    assert shown["labels"] == ["l1", "l2"]
    assert shown["expirationTimeUtc"].startswith("2099-01-01T00:00:00")

    plain = az("eventgrid", "event-subscription", "show", *where)
    assert "secret" not in (plain["destination"].get("endpointBaseUrl") or "")
    listed = az("eventgrid", "event-subscription", "list", "--source-resource-id", server.source)
    assert "every-flag" in [each["name"] for each in listed]

    changed = az(
        *["eventgrid", "event-subscription", "update", *where, "--labels", "l3"],
        *["--subject-begins-with", "phonenumber/1556"],
    )
    assert changed["labels"] == ["l3"]
    assert changed["filter"]["subjectBeginsWith"] == "phonenumber/1556"
    after = az("eventgrid", "event-subscription", "show", *where, *FULL)
    # What the command did not name is as it was; az does not send the attributes again.
    assert after["destination"]["deliveryAttributeMappings"] == destination["deliveryAttributeMappings"]
    assert after["filter"]["advancedFilters"] == filters["advancedFilters"]
    assert after["retryPolicy"] == shown["retryPolicy"]

    assert az("eventgrid", "event-subscription", "delete", *where) is None
    assert "ResourceNotFound" in az.refused("eventgrid", "event-subscription", "show", *where, code=3)
    assert az("eventgrid", "event-subscription", "delete", *where) is None


OPERATORS = [
    ("NumberIn", ["1", "2"], [1.0, 2.0]),
    ("NumberNotIn", ["1"], [1.0]),
    ("NumberLessThan", ["5"], 5.0),
    ("NumberGreaterThan", ["5"], 5.0),
    ("NumberLessThanOrEquals", ["5"], 5.0),
    ("NumberGreaterThanOrEquals", ["5"], 5.0),
    ("NumberInRange", ["1,5"], [[1.0, 5.0]]),
    ("NumberNotInRange", ["1,5"], [[1.0, 5.0]]),
    ("BoolEquals", ["true"], True),
    ("StringIn", ["a", "b"], ["a", "b"]),
    ("StringNotIn", ["a"], ["a"]),
    ("StringBeginsWith", ["a"], ["a"]),
    ("StringEndsWith", ["a"], ["a"]),
    ("StringContains", ["a"], ["a"]),
    ("StringNotBeginsWith", ["a"], ["a"]),
    ("StringNotEndsWith", ["a"], ["a"]),
    ("StringNotContains", ["a"], ["a"]),
    ("IsNullOrUndefined", [], None),
    ("IsNotNull", [], None),
]


def test_every_operator_of_a_filter_is_kept(az: Az, server: Server) -> None:
    where = ["-n", "operators", "--source-resource-id", server.source]
    flags: list[str] = []
    for at, (operator, values, _) in enumerate(OPERATORS):
        flags += ["--advanced-filter", f"data.k{at}", operator, *values]
    az("eventgrid", "event-subscription", "create", *where, "--endpoint", server.sink("operators"), *flags)
    shown = az("eventgrid", "event-subscription", "show", *where)
    kept = shown["filter"]["advancedFilters"]
    for at, (operator, _, expected) in enumerate(OPERATORS):
        one = kept[at]
        assert (one["operatorType"], one["key"]) == (operator, f"data.k{at}")
        assert one.get("values", one.get("value")) == expected, operator
    az("eventgrid", "event-subscription", "delete", *where)


def test_subscriptions_are_listed_by_place_and_type(az: Az, server: Server) -> None:
    where = ["-n", "listed", "--source-resource-id", server.source]
    az("eventgrid", "event-subscription", "create", *where, "--endpoint", server.sink("listed"))
    kind = ["--topic-type-name", "Microsoft.Communication.CommunicationServices"]
    for place in (
        ["--location", "global"],
        ["--location", "global", "-g", server.group],
        ["--location", "local", "-g", server.group, *kind],
        ["--location", "local", *kind],
        ["--source-resource-id", server.source, "--odata-query", "name eq 'listed'"],
    ):
        listed = az("eventgrid", "event-subscription", "list", *place)
        assert "listed" in [each["name"] for each in listed], place
    # The source has a system topic now, and the subscription is seen below it.
    [topic] = az("eventgrid", "system-topic", "list", "-g", server.group)
    below = ["-g", server.group, "--system-topic-name", topic["name"]]
    listed = az("eventgrid", "system-topic", "event-subscription", "list", *below)
    assert [each["name"] for each in listed] == ["listed"]
    az("eventgrid", "event-subscription", "delete", *where)


def test_a_subscription_below_a_system_topic_lives(az: Az, server: Server) -> None:
    # The extension form makes the system topic when there is none.
    az("eventgrid", "event-subscription", "create", "-n", "first", "--source-resource-id", server.source,
       "--endpoint", server.sink("first"))
    [topic] = az("eventgrid", "system-topic", "list", "-g", server.group)
    az("eventgrid", "event-subscription", "delete", "-n", "first", "--source-resource-id", server.source)
    lives_below(az, server, ["system-topic", "event-subscription"], ["--system-topic-name", topic["name"]])


def test_a_subscription_below_a_topic_lives(az: Az, server: Server) -> None:
    place = ["-g", server.group, "-n", "parent"]
    topic = az("eventgrid", "topic", "create", *place, "-l", "local")
    lives_below(az, server, ["topic", "event-subscription"], ["--topic-name", "parent"])
    # And under its other address.
    where = ["-n", "by-id", "--source-resource-id", topic["id"]]
    az("eventgrid", "event-subscription", "create", *where, "--endpoint", server.sink("by-id"))
    below = ["-g", server.group, "--topic-name", "parent"]
    assert [each["name"] for each in az("eventgrid", "topic", "event-subscription", "list", *below)] == ["by-id"]
    az("eventgrid", "topic", "delete", *place)


def test_subscriptions_below_a_domain_and_its_topics_live(az: Az, server: Server) -> None:
    place = ["-g", server.group, "-n", "above"]
    domain = az("eventgrid", "domain", "create", *place, "-l", "local")
    lives_below(az, server, ["domain", "event-subscription"], ["--domain-name", "above"])
    of_topic = ["--domain-name", "above", "--domain-topic-name", "made-by-use"]
    lives_below(az, server, ["domain", "topic", "event-subscription"], of_topic)
    where = ["-n", "by-id", "--source-resource-id", f"{domain['id']}/topics/named"]
    az("eventgrid", "event-subscription", "create", *where, "--endpoint", server.sink("by-id"))
    listed = az("eventgrid", "event-subscription", "list", *where[2:])
    assert [each["name"] for each in listed] == ["by-id"]
    az("eventgrid", "domain", "delete", *place)


def lives_below(az: Az, server: Server, command: list[str], parent: list[str]) -> None:
    """Create, show, list, update, delete."""
    within = ["-g", server.group, *parent]
    where = [*within, "-n", "below"]
    made = az("eventgrid", *command, "create", *where, "--endpoint", server.sink("below"), "--labels", "a")
    assert (made["name"], made["provisioningState"]) == ("below", "Succeeded")
    shown = az("eventgrid", *command, "show", *where, *FULL)
    assert shown["id"] == made["id"]
    assert shown["destination"]["endpointUrl"] == server.sink("below")
    assert [each["name"] for each in az("eventgrid", *command, "list", *within)] == ["below"]
    assert az("eventgrid", *command, "update", *where, "--labels", "b")["labels"] == ["b"]
    az("eventgrid", *command, "delete", *where, "--yes")
    assert az("eventgrid", *command, "list", *within) == []


def test_a_storage_queue_is_a_destination(az: Az, server: Server) -> None:
    place = ["-g", server.group, "-n", "to-queue"]
    topic = az("eventgrid", "topic", "create", *place, "-l", "local")
    account = f"{server.group_id}/providers/Microsoft.Storage/storageAccounts/lost"
    where = ["-n", "queue", "--source-resource-id", topic["id"]]
    az(
        *["eventgrid", "event-subscription", "create", *where, "--endpoint-type", "storagequeue"],
        *["--endpoint", f"{account}/queueServices/default/queues/orders", "--storage-queue-msg-ttl", "300"],
    )
    shown = az("eventgrid", "event-subscription", "show", *where)
    assert (shown["destination"]["endpointType"], shown["destination"]["queueName"]) == ("StorageQueue", "orders")
    assert shown["destination"]["queueMessageTimeToLiveInSeconds"] == 300
    az("eventgrid", "topic", "delete", *place)


@pytest.mark.gate
def test_an_endpoint_that_fails_its_handshake_is_refused(az: Az, server: Server) -> None:
    where = ["-n", "fails", "--source-resource-id", server.source]
    server.ask("PUT", "/sinks/refuses/behaviour", {"handshake": "refuse"})
    said = az.refused("eventgrid", "event-subscription", "create", *where, "--endpoint", server.sink("refuses"))
    assert "Url validation" in said and "400" in said
    assert "ResourceNotFound" in az.refused("eventgrid", "event-subscription", "show", *where, code=3)


def test_a_subscription_of_a_whole_group_is_refused_clearly(az: Az, server: Server) -> None:
    where = ["-n", "whole", "--source-resource-id", server.group_id]
    said = az.refused("eventgrid", "event-subscription", "create", *where, "--endpoint", server.sink("whole"))
    assert "NotImplemented" in said
