"""Publishing in every schema, with every credential, to topics and domains; with both HTTP stacks of the client."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import pytest
from azure.core.credentials import AzureKeyCredential, AzureSasCredential
from azure.core.exceptions import HttpResponseError
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridEvent, EventGridPublisherClient, generate_sas
from azure.eventgrid.aio import EventGridPublisherClient as AsyncPublisherClient
from azure.identity import EnvironmentCredential
from azure.identity.aio import EnvironmentCredential as AsyncEnvironmentCredential
from azure.mgmt.eventgrid import EventGridManagementClient
from azure.mgmt.eventgrid.models import (
    Domain,
    EventSubscription,
    JsonField,
    JsonFieldWithDefault,
    JsonInputSchemaMapping,
    Topic,
)
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

from conftest import Server
from webhook import Request, Webhook

CREDENTIALS = ["key", "signature", "token"]


@pytest.fixture
def make_topic(server: Server, event_grid: EventGridManagementClient) -> Iterator[Callable[..., tuple[Topic, str]]]:
    """Makes topics, and gives each with its key; removed after the subscriptions on them."""
    made: list[str] = []

    def make(schema: str, **more: object) -> tuple[Topic, str]:
        made.append(f"pub-{uuid.uuid4().hex[:8]}")
        wanted = Topic(location="local", input_schema=schema, **more)
        topic = event_grid.topics.begin_create_or_update(server.group, made[-1], wanted).result()
        return topic, event_grid.topics.list_shared_access_keys(server.group, topic.name).key1

    yield make
    for name in made:
        event_grid.topics.begin_delete(server.group, name).result()


def credential_for(kind: str, endpoint: str, key: str) -> object:
    if kind == "key":
        return AzureKeyCredential(key)
    if kind == "signature":
        expiry = datetime.now(timezone.utc) + timedelta(hours=1)
        return AzureSasCredential(generate_sas(endpoint, key, expiry))
    return EnvironmentCredential()


def notified(webhook: Webhook, what: str) -> Request:
    """The notification that carries a text."""
    return webhook.wait_for(
        lambda request: request.method == "POST"
        and request.headers.get("aeg-event-type") == "Notification"
        and what.encode() in request.body,
        f"notification with {what}",
    )


@pytest.mark.parametrize("by", CREDENTIALS)
def test_event_grid_events(
    by: str,
    make_topic: Callable[..., tuple[Topic, str]],
    webhook: Webhook,
    subscribe: Callable[..., EventSubscription],
) -> None:
    topic, key = make_topic("EventGridSchema")
    subscribe(webhook, scope=topic.id)

    event = EventGridEvent("orders/1", "Shop.OrderPlaced", {"total": 12.5}, "1.0")
    with EventGridPublisherClient(topic.endpoint, credential_for(by, topic.endpoint, key)) as publisher:
        publisher.send(event)

    [found] = notified(webhook, str(event.id)).event_grid_events()
    assert (found.subject, found.data, found.data_version) == ("orders/1", {"total": 12.5}, "1.0")


@pytest.mark.parametrize("by", CREDENTIALS)
def test_cloud_events_are_what_the_parsers_of_cloud_events_take(
    by: str,
    make_topic: Callable[..., tuple[Topic, str]],
    webhook: Webhook,
    subscribe: Callable[..., EventSubscription],
) -> None:
    topic, key = make_topic("CloudEventSchemaV1_0")
    subscribe(webhook, scope=topic.id, schema="CloudEventSchemaV1_0")

    sent = CloudEvent("/shop", "Shop.OrderPlaced", data={"total": 12.5}, extensions={"level": "gold"})
    binary = CloudEvent("/shop", "Shop.Scanned", data=b"\x00\xff")
    with EventGridPublisherClient(topic.endpoint, credential_for(by, topic.endpoint, key)) as publisher:
        publisher.send([sent, binary])

    request = notified(webhook, sent.id)
    assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    event = from_http_event(HTTPMessage(headers=request.headers, body=request.body))
    assert (event.get_type(), event.get_source(), event.get_id()) == ("Shop.OrderPlaced", "/shop", sent.id)
    assert event.get_data() == {"total": 12.5}
    assert event.get_attributes()["level"] == "gold"
    assert CloudEvent.from_dict(json.loads(notified(webhook, binary.id).body)).data == b"\x00\xff"


def test_objects_of_the_publishers_own_shape(
    make_topic: Callable[..., tuple[Topic, str]],
    make_webhook: Callable[..., Webhook],
    subscribe: Callable[..., EventSubscription],
) -> None:
    mapping = JsonInputSchemaMapping(
        id=JsonField(source_field="order.number"),
        event_type=JsonFieldWithDefault(source_field="kind", default_value="Shop.Other"),
        subject=JsonFieldWithDefault(source_field="customer", default_value="nobody"),
        data_version=JsonFieldWithDefault(default_value="2"),
    )
    topic, key = make_topic("CustomEventSchema", input_schema_mapping=mapping)
    assert topic.input_schema_mapping.id.source_field == "order.number"
    schemas = ["EventGridSchema", "CloudEventSchemaV1_0", "CustomInputSchema"]
    webhooks = {schema: make_webhook() for schema in schemas}
    for schema, webhook in webhooks.items():
        subscribe(webhook, scope=topic.id, schema=schema)

    order = {"order": {"number": uuid.uuid4().hex}, "kind": "Shop.OrderPlaced", "customer": "c-7"}
    with EventGridPublisherClient(topic.endpoint, AzureKeyCredential(key)) as publisher:
        publisher.send([order])

    number = order["order"]["number"]
    [event] = notified(webhooks["EventGridSchema"], number).event_grid_events()
    assert (event.id, event.event_type, event.subject) == (number, "Shop.OrderPlaced", "c-7")
    assert (event.data, event.data_version) == (order, "2")
    cloud = CloudEvent.from_dict(json.loads(notified(webhooks["CloudEventSchemaV1_0"], number).body))
    assert (cloud.id, cloud.type, cloud.data) == (number, "Shop.OrderPlaced", order)
    assert json.loads(notified(webhooks["CustomInputSchema"], number).body) == [order]


@pytest.mark.parametrize("schema", ["EventGridSchema", "CloudEventSchemaV1_0"])
def test_a_domain_passes_events_on_to_its_topics(
    schema: str,
    server: Server,
    event_grid: EventGridManagementClient,
    make_webhook: Callable[..., Webhook],
    subscribe: Callable[..., EventSubscription],
    request: pytest.FixtureRequest,
) -> None:
    name = f"pub-{uuid.uuid4().hex[:8]}"
    domains = event_grid.domains
    domain = domains.begin_create_or_update(
        server.group, name, Domain(location="local", input_schema=schema)
    ).result()
    request.addfinalizer(lambda: domains.begin_delete(server.group, name).result())
    key = domains.list_shared_access_keys(server.group, name).key1
    books, everything = make_webhook(), make_webhook()
    made = subscribe(books, scope=f"{domain.id}/topics/books", schema=schema)
    subscribe(everything, scope=domain.id, schema=schema)
    assert made.topic.lower() == f"{domain.id}/topics/books".lower()

    def order(topic: str) -> object:
        if schema == "CloudEventSchemaV1_0":
            return CloudEvent(topic, "Shop.OrderPlaced", data={"of": topic})
        return EventGridEvent("orders/1", "Shop.OrderPlaced", {"of": topic}, "1.0", topic=topic)

    sent = [order("toys"), order("books")]
    with EventGridPublisherClient(domain.endpoint, AzureKeyCredential(key)) as publisher:
        publisher.send(sent)

    for event in sent:
        notified(everything, str(event.id))
    notified(books, str(sent[1].id))
    assert all(str(sent[0].id).encode() not in request.body for request in books.requests())
    with EventGridPublisherClient(domain.endpoint, AzureKeyCredential(key)) as publisher:
        with pytest.raises(HttpResponseError) as refused:
            publisher.send(order("https://example.com/elsewhere"))
    assert refused.value.status_code == 400


@pytest.mark.parametrize("by", CREDENTIALS)
@pytest.mark.parametrize("schema", ["EventGridSchema", "CloudEventSchemaV1_0", "CustomEventSchema"])
async def test_every_schema_by_the_asynchronous_client(
    by: str,
    schema: str,
    make_topic: Callable[..., tuple[Topic, str]],
    webhook: Webhook,
    subscribe: Callable[..., EventSubscription],
) -> None:
    topic, key = make_topic(schema)
    subscribe(webhook, scope=topic.id, schema="CloudEventSchemaV1_0")
    mark = uuid.uuid4().hex
    event = {
        "EventGridSchema": EventGridEvent("orders/1", "Shop.OrderPlaced", {"mark": mark}, "1.0"),
        "CloudEventSchemaV1_0": CloudEvent("/shop", "Shop.OrderPlaced", data={"mark": mark}),
        "CustomEventSchema": {"mark": mark},
    }[schema]

    if by == "token":
        async with (
            AsyncEnvironmentCredential() as credential,
            AsyncPublisherClient(topic.endpoint, credential) as publisher,
        ):
            await publisher.send([event])
    else:
        credential = credential_for(by, topic.endpoint, key)
        async with AsyncPublisherClient(topic.endpoint, credential) as publisher:
            await publisher.send([event])

    assert CloudEvent.from_dict(json.loads(notified(webhook, mark).body)).data == {"mark": mark}


def test_what_the_topic_does_not_take_is_refused_in_the_words_of_the_service(
    make_topic: Callable[..., tuple[Topic, str]],
) -> None:
    topic, key = make_topic("CloudEventSchemaV1_0")
    with EventGridPublisherClient(topic.endpoint, AzureKeyCredential(key)) as publisher:
        with pytest.raises(HttpResponseError) as refused:
            publisher.send(EventGridEvent("orders/1", "Shop.OrderPlaced", {}, "1.0"))
    assert refused.value.status_code in (400, 415)
    assert refused.value.error.code in ("BadRequest", "UnsupportedMediaType")
