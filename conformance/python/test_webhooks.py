"""Webhooks: both schemas, both handshakes, filters, and what a delivery looks like on the wire."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
import requests
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.messaging import CloudEvent as AzureCloudEvent
from azure.eventgrid import EventGridEvent, EventGridPublisherClient, SystemEventNames
from azure.mgmt.eventgrid import EventGridManagementClient
from azure.mgmt.eventgrid.models import EventSubscription, Topic
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

from conftest import Server
from webhook import Request, Webhook

RECEIVED = SystemEventNames.AcsSmsReceivedEventName


def test_the_handshake_is_one_event_and_its_answer_activates_the_subscription(
    webhook: Webhook, subscribe: Callable[..., EventSubscription]
) -> None:
    made = subscribe(webhook)

    assert made.provisioning_state == "Succeeded"
    [request] = webhook.requests()
    assert request.headers["aeg-event-type"] == "SubscriptionValidation"
    assert request.headers["aeg-subscription-name"] == made.name.upper()
    [event] = request.event_grid_events()
    assert event.data["validationUrl"].startswith("https://")


def test_a_notification_has_the_documented_headers(
    server: Server, webhook: Webhook, subscribe: Callable[..., EventSubscription]
) -> None:
    made = subscribe(webhook, included_event_types=[RECEIVED])
    message_id = server.receive_text("Headers, please")

    request = webhook.wait_for(
        lambda request: request.headers.get("aeg-event-type") == "Notification"
        and message_id.encode() in request.body,
        "notification",
    )
    assert request.method == "POST"
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert request.headers["aeg-subscription-name"] == made.name.upper()
    assert request.headers["aeg-delivery-count"] == "0"
    assert request.headers["aeg-metadata-version"] == "1"
    assert "accept" not in request.headers
    assert len(json.loads(request.body)) == 1


def test_the_filter_of_the_documentation_lets_through_what_it_names_and_nothing_else(
    server: Server, make_webhook: Callable[..., Webhook], subscribe: Callable[..., EventSubscription]
) -> None:
    wanted, unwanted = make_webhook(), make_webhook()
    both = [RECEIVED, SystemEventNames.AcsSmsDeliveryReportReceivedEventName]
    subscribe(wanted, included_event_types=both, subject_begins_with="phonenumber/1555")
    subscribe(unwanted, included_event_types=both, subject_begins_with="phonenumber/1425")

    message_id = server.receive_text("To a 555 number")

    wanted.wait_for_event(lambda event: event.data["messageId"] == message_id, "text")
    assert all(request.headers.get("aeg-event-type") != "Notification" for request in unwanted.requests())


def test_a_cloud_events_webhook_is_asked_by_options_and_gets_cloud_events(
    server: Server, webhook: Webhook, subscribe: Callable[..., EventSubscription]
) -> None:
    made = subscribe(webhook, schema="CloudEventSchemaV1_0", included_event_types=[RECEIVED])
    assert made.provisioning_state == "Succeeded"
    [asked] = webhook.requests()
    assert (asked.method, asked.body) == ("OPTIONS", b"")
    assert asked.headers["webhook-request-origin"] == "eventgrid.azure.net"

    message_id = server.receive_text("As a CloudEvent")
    request = webhook.wait_for(
        lambda request: request.method == "POST" and message_id.encode() in request.body, "event"
    )

    assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    event = from_http_event(HTTPMessage(headers=request.headers, body=request.body))
    assert event.get_type() == RECEIVED
    assert event.get_source().lower().endswith("/communicationservices/dev")
    assert event.get_subject() == "/phonenumber/15555550100"
    assert event.get_data()["message"] == "As a CloudEvent"

    same = AzureCloudEvent.from_dict(json.loads(request.body))
    assert (same.type, same.id) == (RECEIVED, event.get_id())


def test_a_webhook_that_grants_nothing_is_refused(
    make_webhook: Callable[..., Webhook], subscribe: Callable[..., EventSubscription]
) -> None:
    silent = make_webhook(validates=False, status=503)
    with pytest.raises(HttpResponseError) as refused:
        subscribe(silent)
    assert "validation" in refused.value.message.lower()


def test_a_person_can_validate_by_visiting_the_url(
    server: Server,
    event_grid: EventGridManagementClient,
    make_webhook: Callable[..., Webhook],
    subscribe: Callable[..., EventSubscription],
) -> None:
    slow = make_webhook(validates=False)
    # Without `wait=False` the client would poll until somebody has visited the URL.
    made = subscribe(slow, wait=False, included_event_types=[RECEIVED])
    assert made.provisioning_state == "AwaitingManualAction"

    [handshake] = slow.requests()
    [event] = handshake.event_grid_events()
    visit = requests.get(event.data["validationUrl"], timeout=10)
    assert visit.status_code == 200

    now = event_grid.event_subscriptions.get(server.communication_resource, made.name)
    assert now.provisioning_state == "Succeeded"
    message_id = server.receive_text("After the visit")
    slow.wait_for_event(lambda event: event.data["messageId"] == message_id, "text")


def test_the_deletion_notice_names_the_subscription(
    server: Server,
    event_grid: EventGridManagementClient,
    webhook: Webhook,
    subscribe: Callable[..., EventSubscription],
) -> None:
    made = subscribe(webhook)
    event_grid.event_subscriptions.begin_delete(server.communication_resource, made.name).result()

    def is_notice(request: Request) -> bool:
        return request.headers.get("aeg-event-type") == "SubscriptionDeletion"

    [event] = webhook.wait_for(is_notice, "deletion notice").event_grid_events()
    assert event.event_type == SystemEventNames.EventGridSubscriptionDeletedEventName
    assert event.data["eventSubscriptionId"].lower() == made.id.lower()


@pytest.fixture
def topic(server: Server, event_grid: EventGridManagementClient) -> Iterator[Topic]:
    """A custom topic, removed after the subscriptions on it."""
    topics = event_grid.topics
    yield topics.begin_create_or_update(server.group, "orders", Topic(location="local")).result()
    topics.begin_delete(server.group, "orders").result()


def test_a_custom_topic_takes_events_from_the_publisher_client(
    server: Server,
    event_grid: EventGridManagementClient,
    topic: Topic,
    webhook: Webhook,
    subscribe: Callable[..., EventSubscription],
) -> None:
    key = event_grid.topics.list_shared_access_keys(server.group, topic.name).key1
    subscribe(webhook, scope=topic.id, subject_begins_with="orders/")

    publisher = EventGridPublisherClient(topic.endpoint, AzureKeyCredential(key))
    sent = [
        EventGridEvent("orders/1", "Shop.OrderPlaced", {"total": 12.5}, "1.0"),
        EventGridEvent("returns/1", "Shop.OrderReturned", {}, "1.0"),
    ]
    publisher.send(sent)

    event = webhook.wait_for_event(lambda event: event.id == str(sent[0].id), "order")
    assert (event.subject, event.data) == ("orders/1", {"total": 12.5})
    assert event.topic.lower() == topic.id.lower()

    stranger = EventGridPublisherClient(topic.endpoint, AzureKeyCredential("c29tZWJvZHk="))
    with pytest.raises(ClientAuthenticationError):
        stranger.send(sent)
