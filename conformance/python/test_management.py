"""The management clients: resources, system topics and event subscriptions, made, read, changed and removed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests
from azure.communication.sms import SmsClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.eventgrid import EventGridEvent, EventGridPublisherClient, SystemEventNames
from azure.identity import ClientSecretCredential
from azure.mgmt.communication import CommunicationServiceManagementClient
from azure.mgmt.communication.models import CommunicationServiceResource, RegenerateKeyParameters
from azure.mgmt.eventgrid import EventGridManagementClient
from azure.mgmt.eventgrid.models import (
    Domain,
    DomainRegenerateKeyRequest,
    DomainUpdateParameters,
    EventSubscription,
    EventSubscriptionFilter,
    EventSubscriptionUpdateParameters,
    InboundIpRule,
    RetryPolicy,
    SystemTopic,
    WebHookEventSubscriptionDestination,
)

from conftest import OUR_NUMBER, Server
from webhook import Webhook

RECEIVED = SystemEventNames.AcsSmsReceivedEventName


def test_a_communication_resource_lives_and_its_keys_work(
    server: Server, communication: CommunicationServiceManagementClient
) -> None:
    services = communication.communication_services
    wanted = CommunicationServiceResource({"location": "global", "properties": {"dataLocation": "europe"}})
    made = services.begin_create_or_update(server.group, "shop", wanted).result()
    assert (made.name, made.provisioning_state) == ("shop", "Succeeded")
    assert made.id in [service.id for service in services.list_by_resource_group(server.group)]
    assert services.get(server.group, "shop").data_location == "europe"

    number = "+15555550150"
    assign = f"{server.endpoint}/_gridpost/v1/numbers/{number}"
    requests.put(assign, json={"resource": made.id}, timeout=10).raise_for_status()
    keys = services.list_keys(server.group, "shop")
    [sent] = SmsClient.from_connection_string(keys.primary_connection_string).send(
        from_=number, to="+15555550151", message="From the shop"
    )
    assert sent.successful

    new = services.regenerate_key(server.group, "shop", RegenerateKeyParameters(key_type="Primary"))
    assert new.primary_key != keys.primary_key
    kept = services.list_keys(server.group, "shop")
    assert (kept.primary_key, kept.secondary_key) == (new.primary_key, keys.secondary_key)

    services.begin_delete(server.group, "shop").result()
    with pytest.raises(ResourceNotFoundError):
        services.get(server.group, "shop")


def test_a_key_of_one_resource_does_not_send_from_the_number_of_another(
    server: Server, communication: CommunicationServiceManagementClient
) -> None:
    services = communication.communication_services
    wanted = CommunicationServiceResource({"location": "global", "properties": {"dataLocation": "europe"}})
    services.begin_create_or_update(server.group, "other", wanted).result()
    key = services.list_keys(server.group, "other").primary_key
    sms = SmsClient(server.endpoint, AzureKeyCredential(key))
    try:
        [result] = sms.send(from_=OUR_NUMBER, to="+15555550151", message="Not mine")
        assert not result.successful
    except HttpResponseError as refused:
        assert refused.status_code in (400, 401, 403)
    services.begin_delete(server.group, "other").result()


def test_a_system_topic_carries_an_event_subscription(
    server: Server, event_grid: EventGridManagementClient, webhook: Webhook
) -> None:
    topics, below = event_grid.system_topics, event_grid.system_topic_event_subscriptions
    # A source has one system topic, and subscriptions on the source itself may have made it.
    for made_before in list(topics.list_by_resource_group(server.group)):
        if made_before.source == server.communication_resource:
            topics.begin_delete(server.group, made_before.name).result()
    topic = topics.begin_create_or_update(
        server.group,
        "texts",
        SystemTopic(
            location="global",
            source=server.communication_resource,
            topic_type="Microsoft.Communication.CommunicationServices",
        ),
    ).result()
    assert topic.provisioning_state == "Succeeded"

    wanted = EventSubscription(
        destination=WebHookEventSubscriptionDestination(endpoint_url=f"{webhook.url}?code=secret"),
        filter=EventSubscriptionFilter(
            included_event_types=[RECEIVED], subject_begins_with="phonenumber/1555"
        ),
        retry_policy=RetryPolicy(max_delivery_attempts=5, event_time_to_live_in_minutes=60),
        labels=["billing"],
    )
    made = below.begin_create_or_update(server.group, "texts", "to-webhook", wanted).result()
    assert made.provisioning_state == "Succeeded"
    assert made.filter.subject_begins_with == "phonenumber/1555"
    assert (made.retry_policy.max_delivery_attempts, made.labels) == (5, ["billing"])
    assert "secret" not in (made.destination.endpoint_base_url or "")
    full = below.get_full_url(server.group, "texts", "to-webhook")
    assert full.endpoint_url == f"{webhook.url}?code=secret"
    assert [each.name for each in below.list_by_system_topic(server.group, "texts")] == ["to-webhook"]

    message_id = server.receive_text("Through the system topic")
    event = webhook.wait_for_event(lambda event: event.data["messageId"] == message_id, "text")
    assert event.event_type == RECEIVED

    change = EventSubscriptionUpdateParameters(labels=["billing", "audit"])
    changed = below.begin_update(server.group, "texts", "to-webhook", change).result()
    assert changed.labels == ["billing", "audit"]
    assert changed.filter.subject_begins_with == "phonenumber/1555"

    below.begin_delete(server.group, "texts", "to-webhook").result()
    topics.begin_delete(server.group, "texts").result()
    with pytest.raises(ResourceNotFoundError):
        topics.get(server.group, "texts")


def test_an_event_subscription_is_read_by_its_scope(
    server: Server,
    event_grid: EventGridManagementClient,
    webhook: Webhook,
    subscribe: Callable[..., EventSubscription],
) -> None:
    made = subscribe(webhook, included_event_types=[RECEIVED])
    read = event_grid.event_subscriptions.get(server.communication_resource, made.name)
    assert read.id == made.id
    assert read.topic.lower() == server.communication_resource.lower()
    listed = event_grid.event_subscriptions.list_by_resource(
        server.group, "Microsoft.Communication", "communicationServices", "dev"
    )
    assert made.name in [each.name for each in listed]


def test_a_wrong_secret_does_not_sign_in(server: Server) -> None:
    stranger = ClientSecretCredential(
        "adfs", "33333333-3333-4333-8333-333333333333", "wrong", authority=server.endpoint
    )
    client = EventGridManagementClient(
        stranger,
        server.subscription_id,
        base_url=server.endpoint,
        credential_scopes=[f"{server.endpoint}/.default"],
    )
    with pytest.raises(HttpResponseError) as refused:
        client.topics.get(server.group, "nothing")
    assert "invalid_client" in refused.value.message or "AADSTS7000215" in refused.value.message


def test_a_call_without_a_token_is_refused(server: Server) -> None:
    answer = requests.get(
        f"{server.endpoint}{server.communication_resource}?api-version=2025-09-01", timeout=10
    )
    assert answer.status_code == 401
    assert answer.json()["error"]["code"]


def test_a_domain_lives_and_its_keys_work(
    server: Server, event_grid: EventGridManagementClient
) -> None:
    domains = event_grid.domains
    wanted = Domain(
        location="local",
        tags={"team": "shop"},
        inbound_ip_rules=[InboundIpRule(ip_mask="127.0.0.0/8", action="Allow")],
    )
    made = domains.begin_create_or_update(server.group, "shop-life", wanted).result()
    assert (made.name, made.provisioning_state, made.tags) == ("shop-life", "Succeeded", {"team": "shop"})
    assert made.endpoint.endswith("/api/events")
    assert made.input_schema == "EventGridSchema"
    assert (made.auto_create_topic_with_first_subscription, made.disable_local_auth) == (True, False)
    assert [rule.ip_mask for rule in made.inbound_ip_rules] == ["127.0.0.0/8"]
    assert made.id in [each.id for each in domains.list_by_subscription()]
    assert made.id in [each.id for each in domains.list_by_resource_group(server.group, filter="contains(name,'shop')")]

    change = DomainUpdateParameters(
        tags={"team": "books"}, inbound_ip_rules=[], auto_delete_topic_with_last_subscription=False
    )
    changed = domains.begin_update(server.group, "shop-life", change).result() or domains.get(server.group, "shop-life")
    assert (changed.tags, changed.auto_delete_topic_with_last_subscription) == ({"team": "books"}, False)

    keys = domains.list_shared_access_keys(server.group, "shop-life")
    new = domains.regenerate_key(server.group, "shop-life", DomainRegenerateKeyRequest(key_name="key1"))
    assert new.key1 != keys.key1 and new.key2 == keys.key2
    event = EventGridEvent(subject="order/1", event_type="Shop.Ordered", data={}, data_version="1", topic="books")
    EventGridPublisherClient(made.endpoint, AzureKeyCredential(new.key1)).send(event)
    with pytest.raises(HttpResponseError):
        EventGridPublisherClient(made.endpoint, AzureKeyCredential(keys.key1)).send(event)

    domains.begin_delete(server.group, "shop-life").result()
    with pytest.raises(ResourceNotFoundError):
        domains.get(server.group, "shop-life")


def test_a_domain_topic_comes_with_its_first_subscription_and_goes_with_its_last(
    server: Server, event_grid: EventGridManagementClient, webhook: Webhook
) -> None:
    group, domain = server.group, "shop-topics"
    event_grid.domains.begin_create_or_update(group, domain, Domain(location="local")).result()
    topics, below = event_grid.domain_topics, event_grid.domain_topic_event_subscriptions
    wanted = EventSubscription(destination=WebHookEventSubscriptionDestination(endpoint_url=webhook.url))
    made = below.begin_create_or_update(group, domain, "books", "to-webhook", wanted).result()
    assert made.provisioning_state == "Succeeded"
    topic = topics.get(group, domain, "books")
    assert (topic.name, topic.provisioning_state) == ("books", "Succeeded")
    assert made.topic == topic.id
    assert [each.name for each in topics.list_by_domain(group, domain)] == ["books"]
    assert [each.name for each in below.list(group, domain, "books")] == ["to-webhook"]
    by_scope = event_grid.event_subscriptions
    assert by_scope.get(topic.id, "to-webhook").topic == topic.id
    listed = by_scope.list_by_domain_topic(group, domain, "books")
    assert [each.name for each in listed] == ["to-webhook"]

    whole = event_grid.domain_event_subscriptions
    whole.begin_create_or_update(group, domain, "all", wanted).result()
    assert [each.name for each in whole.list(group, domain)] == ["all"]

    keys = event_grid.domains.list_shared_access_keys(group, domain)
    endpoint = event_grid.domains.get(group, domain).endpoint
    publisher = EventGridPublisherClient(endpoint, AzureKeyCredential(keys.key1))
    events = [
        EventGridEvent(subject=name, event_type="Shop.Ordered", data={}, data_version="1", topic=name)
        for name in ("books", "toys")
    ]
    publisher.send(events)
    received = webhook.wait_for_event(lambda event: event.subject == "books", "an event of the topic")
    assert received.topic == topic.id
    webhook.wait_for_event(lambda event: event.subject == "toys", "an event of the domain")

    change = EventSubscriptionUpdateParameters(labels=["audit"])
    assert below.begin_update(group, domain, "books", "to-webhook", change).result().labels == ["audit"]
    below.begin_delete(group, domain, "books", "to-webhook").result()
    with pytest.raises(ResourceNotFoundError):
        topics.get(group, domain, "books")

    topics.begin_create_or_update(group, domain, "garden").result()
    assert [each.name for each in topics.list_by_domain(group, domain)] == ["garden"]
    topics.begin_delete(group, domain, "garden").result()
    event_grid.domains.begin_delete(group, domain).result()
    assert list(event_grid.domains.list_by_resource_group(group, filter=f"name eq '{domain}'")) == []
