"""The management clients over every resource kind: made, read, listed, changed, removed; and quick about it.

Pollers that do not find an answer finished wait 30 seconds, so each test has less time than that.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import EnvironmentCredential
from azure.mgmt.communication import CommunicationServiceManagementClient
from azure.mgmt.communication.models import (
    CommunicationServiceResource,
    CommunicationServiceResourceUpdate,
    DomainResource,
    EmailServiceResource,
    EmailServiceResourceUpdate,
    LinkNotificationHubParameters,
    NameAvailabilityParameters,
    SenderUsernameResource,
    SmtpUsernameResource,
    SuppressionListAddressResource,
    SuppressionListResource,
    UpdateDomainRequestParameters,
    VerificationParameter,
)
from azure.mgmt.eventgrid import EventGridManagementClient
from azure.mgmt.eventgrid.models import (
    DynamicDeliveryAttributeMapping,
    EventSubscription,
    EventSubscriptionFilter,
    EventSubscriptionUpdateParameters,
    NumberInRangeAdvancedFilter,
    StaticDeliveryAttributeMapping,
    StringBeginsWithAdvancedFilter,
    SystemTopic,
    SystemTopicUpdateParameters,
    Topic,
    TopicRegenerateKeyRequest,
    TopicUpdateParameters,
    WebHookEventSubscriptionDestination,
)
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.resource.resources.models import GenericResource, ResourceGroup, ResourceGroupPatchable

from conftest import Server

LONGEST_SECONDS = 20
EUROPE = {"location": "global", "properties": {"dataLocation": "Europe"}}


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < LONGEST_SECONDS


@pytest.fixture(scope="module")
def resources(server: Server, credential: EnvironmentCredential) -> ResourceManagementClient:
    return ResourceManagementClient(
        credential,
        server.subscription_id,
        base_url=server.endpoint,
        credential_scopes=[f"{server.endpoint}/.default"],
    )


def sink(server: Server, name: str) -> WebHookEventSubscriptionDestination:
    """One of the webhooks that the server has built in."""
    return WebHookEventSubscriptionDestination(endpoint_url=f"{server.endpoint}/_gridpost/v1/sinks/{name}")


def test_groups_and_what_is_in_them(resources: ResourceManagementClient) -> None:
    groups, kind = resources.resource_groups, "Microsoft.Communication/communicationServices"
    made = groups.create_or_update("whole", ResourceGroup(location="local", tags={"a": "b"}))
    assert (made.name, made.properties.provisioning_state) == ("whole", "Succeeded")
    assert groups.check_existence("whole") and not groups.check_existence("none")
    assert groups.update("whole", ResourceGroupPatchable(tags={"c": "d"})).tags == {"c": "d"}
    assert [each.name for each in groups.list(filter="tagName eq 'c' and tagValue eq 'd'")] == ["whole"]

    place = f"{made.id}/providers/{kind}/generic"
    wanted = GenericResource(location="global", properties={"dataLocation": "Europe"}, tags={"e": "f"})
    one = resources.resources.begin_create_or_update_by_id(place, wanted, api_version="2025-09-01").result()
    assert one.properties["provisioningState"] == "Succeeded"
    assert resources.resources.get_by_id(place, api_version="2025-09-01").id == one.id
    assert resources.resources.check_existence_by_id(place, api_version="2025-09-01")
    expanded = "createdTime,changedTime,provisioningState"
    [listed] = resources.resources.list_by_resource_group("whole", expand=expanded)
    assert (listed.id, listed.type, listed.provisioning_state) == (one.id, kind, "Succeeded")
    assert listed.created_time
    by_tag = resources.resources.list(filter="tagName eq 'e' and tagValue eq 'f'")
    assert [each.id for each in by_tag] == [one.id]
    namespaces = {each.namespace for each in resources.providers.list()}
    assert {"Microsoft.Communication", "Microsoft.EventGrid"} <= namespaces

    groups.begin_delete("whole").result()
    assert not groups.check_existence("whole")
    assert not resources.resources.check_existence_by_id(place, api_version="2025-09-01")


def test_topics_and_their_subscriptions(server: Server, event_grid: EventGridManagementClient) -> None:
    group, topics = server.group, event_grid.topics
    made = topics.begin_create_or_update(group, "whole-topic", Topic(location="local", tags={"a": "b"})).result()
    assert (made.provisioning_state, made.input_schema) == ("Succeeded", "EventGridSchema")
    assert topics.get(group, "whole-topic").endpoint == made.endpoint
    assert made.id in [each.id for each in topics.list_by_subscription(filter="contains(name,'whole')")]
    assert made.id in [each.id for each in topics.list_by_resource_group(group, top=1, filter="name eq 'whole-topic'")]
    change = TopicUpdateParameters(tags={"c": "d"}, public_network_access="Disabled")
    topics.begin_update(group, "whole-topic", change).result()
    changed = topics.get(group, "whole-topic")
    assert (changed.tags, changed.public_network_access) == ({"c": "d"}, "Disabled")
    keys = topics.list_shared_access_keys(group, "whole-topic")
    new = topics.begin_regenerate_key(group, "whole-topic", TopicRegenerateKeyRequest(key_name="key2")).result()
    assert new.key1 == keys.key1 and new.key2 != keys.key2

    below = event_grid.topic_event_subscriptions
    wanted = EventSubscription(
        destination=WebHookEventSubscriptionDestination(
            endpoint_url=sink(server, "whole").endpoint_url,
            max_events_per_batch=5,
            delivery_attribute_mappings=[
                StaticDeliveryAttributeMapping(name="X-A", value="v", is_secret=True),
                DynamicDeliveryAttributeMapping(name="X-B", source_field="data.x"),
            ],
        ),
        filter=EventSubscriptionFilter(
            advanced_filters=[
                StringBeginsWithAdvancedFilter(key="data.a", values=["1"]),
                NumberInRangeAdvancedFilter(key="data.b", values=[[1, 2]]),
            ]
        ),
    )
    one = below.begin_create_or_update(group, "whole-topic", "es1", wanted).result()
    assert one.provisioning_state == "Succeeded"
    assert [each.operator_type for each in one.filter.advanced_filters] == ["StringBeginsWith", "NumberInRange"]
    read = below.get(group, "whole-topic", "es1")
    assert (read.destination.max_events_per_batch, read.destination.delivery_attribute_mappings[0].value) == (5, None)
    attributes = below.get_delivery_attributes(group, "whole-topic", "es1").value
    assert [(each.name, each.type) for each in attributes] == [("X-A", "Static"), ("X-B", "Dynamic")]
    assert attributes[0].value == "v"
    assert below.get_full_url(group, "whole-topic", "es1").endpoint_url == sink(server, "whole").endpoint_url
    assert [each.name for each in below.list(group, "whole-topic")] == ["es1"]
    labels = EventSubscriptionUpdateParameters(labels=["x"])
    assert below.begin_update(group, "whole-topic", "es1", labels).result().labels == ["x"]
    below.begin_delete(group, "whole-topic", "es1").result()
    topics.begin_delete(group, "whole-topic").result()
    with pytest.raises(ResourceNotFoundError):
        topics.get(group, "whole-topic")


def test_system_topics_and_what_can_be_subscribed_to(
    server: Server, event_grid: EventGridManagementClient, communication: CommunicationServiceManagementClient
) -> None:
    group = server.group
    source = communication.communication_services.begin_create_or_update(
        group, "whole-source", CommunicationServiceResource(EUROPE)
    ).result()
    kind = "Microsoft.Communication.CommunicationServices"
    topics = event_grid.system_topics
    wanted = SystemTopic(location="global", source=source.id, topic_type=kind)
    made = topics.begin_create_or_update(group, "whole-system", wanted).result()
    assert (made.source, made.provisioning_state) == (source.id, "Succeeded")
    assert made.id in [each.id for each in topics.list_by_subscription()]
    assert topics.begin_update(group, "whole-system", SystemTopicUpdateParameters(tags={"a": "b"})).result().tags == {"a": "b"}
    assert event_grid.extension_topics.get(source.id).system_topic == made.id
    by_scope = event_grid.event_subscriptions
    by_scope.begin_create_or_update(source.id, "es1", EventSubscription(destination=sink(server, "s"))).result()
    for listed in (
        by_scope.list_by_resource(group, "Microsoft.Communication", "communicationServices", "whole-source"),
        by_scope.list_global_by_resource_group(group),
        by_scope.list_global_by_subscription(),
        by_scope.list_global_by_subscription_for_topic_type(kind),
        by_scope.list_regional_by_resource_group_for_topic_type(group, "local", kind),
        event_grid.system_topic_event_subscriptions.list_by_system_topic(group, "whole-system"),
    ):
        assert "es1" in [each.name for each in listed]
    by_scope.begin_delete(source.id, "es1").result()
    topics.begin_delete(group, "whole-system").result()
    communication.communication_services.begin_delete(group, "whole-source").result()

    types = event_grid.topic_types
    assert kind in [each.name for each in types.list()]
    assert types.get(kind).provider == "Microsoft.Communication"
    assert {each.is_in_default_set for each in types.list_event_types(kind)} == {True, False}
    assert "Microsoft.EventGrid/topics/write" in [each.name for each in event_grid.operations.list()]


def test_namespaces_are_refused_by_name(server: Server, event_grid: EventGridManagementClient) -> None:
    with pytest.raises(HttpResponseError) as refused:
        event_grid.namespaces.get(server.group, "ns1")
    assert (refused.value.status_code, refused.value.error.code) == (501, "NotImplemented")
    assert "Microsoft.EventGrid/namespaces" in refused.value.message


def test_communication_resources_whole(
    server: Server, communication: CommunicationServiceManagementClient
) -> None:
    group, services = server.group, communication.communication_services
    name = f"whole-{uuid.uuid4().hex[:8]}"
    kind = "Microsoft.Communication/CommunicationServices"
    ask = NameAvailabilityParameters(name=name, type=kind)
    assert services.check_name_availability(ask).name_available
    services.begin_create_or_update(group, name, CommunicationServiceResource(EUROPE)).result()
    taken = services.check_name_availability(ask)
    assert (taken.name_available, taken.reason) == (False, "AlreadyExists")
    changed = services.update(group, name, CommunicationServiceResourceUpdate({"tags": {"a": "b"}}))
    assert changed.tags == {"a": "b"}
    assert name in [each.name for each in services.list_by_subscription()]
    hub = f"{server.communication_resource}/hub"
    linked = services.link_notification_hub(
        group, name, LinkNotificationHubParameters(resource_id=hub, connection_string="Endpoint=sb://x")
    )
    assert linked.resource_id == hub
    assert services.get(group, name).notification_hub_id == hub

    smtp = SmtpUsernameResource(
        {"properties": {"username": "mailer", "entraApplicationId": str(uuid.uuid4()), "tenantId": str(uuid.uuid4())}}
    )
    made = communication.smtp_usernames.create_or_update(group, name, "mailer", smtp)
    assert communication.smtp_usernames.get(group, name, "mailer").properties.username == "mailer"
    assert [each.id for each in communication.smtp_usernames.list(group, name)] == [made.id]
    communication.smtp_usernames.delete(group, name, "mailer")
    services.begin_delete(group, name).result()
    assert [each.name for each in communication.operations.list()]


def test_email_resources_whole(server: Server, communication: CommunicationServiceManagementClient) -> None:
    group, name, domain = server.group, "whole-mail", "whole.example"
    mail = communication.email_services
    made = mail.begin_create_or_update(group, name, EmailServiceResource(EUROPE)).result()
    assert (made.properties.provisioning_state, made.properties.data_location) == ("Succeeded", "Europe")
    assert made.id in [each.id for each in mail.list_by_subscription()]
    assert mail.begin_update(group, name, EmailServiceResourceUpdate(tags={"a": "b"})).result().tags == {"a": "b"}
    assert communication.email_services.list_verified_exchange_online_domains() == []

    domains = communication.domains
    wanted = DomainResource({"location": "global", "properties": {"domainManagement": "CustomerManaged"}})
    one = domains.begin_create_or_update(group, name, domain, wanted).result()
    assert one.properties.verification_states.domain.status == "NotStarted"
    assert one.properties.verification_records.domain.type == "TXT"
    for kind in ("Domain", "SPF", "DKIM", "DKIM2"):
        domains.begin_initiate_verification(group, name, domain, VerificationParameter(verification_type=kind)).result()
    states = domains.get(group, name, domain).properties.verification_states
    assert (states.domain.status, states.dkim2.status, states.dmarc.status) == ("Verified", "Verified", "NotStarted")
    domains.begin_cancel_verification(group, name, domain, VerificationParameter(verification_type="SPF")).result()
    change = UpdateDomainRequestParameters({"properties": {"userEngagementTracking": "Enabled"}})
    assert domains.begin_update(group, name, domain, change).result().properties.user_engagement_tracking == "Enabled"

    service = CommunicationServiceResource(
        {"location": "global", "properties": {"dataLocation": "Europe", "linkedDomains": [one.id]}}
    )
    linked = communication.communication_services.begin_create_or_update(group, "whole-linked", service).result()
    assert linked.properties.linked_domains == [one.id]
    communication.communication_services.begin_delete(group, "whole-linked").result()

    sender = SenderUsernameResource({"properties": {"username": "info", "displayName": "Info"}})
    communication.sender_usernames.create_or_update(group, name, domain, "info", sender)
    assert [each.name for each in communication.sender_usernames.list_by_domains(group, name, domain)] == ["info"]
    lists, addresses, guid = communication.suppression_lists, communication.suppression_list_addresses, str(uuid.uuid4())
    lists.create_or_update(group, name, domain, "bounced", SuppressionListResource({"properties": {"listName": "bounced"}}))
    address = SuppressionListAddressResource({"properties": {"email": "a@b.example"}})
    addresses.create_or_update(group, name, domain, "bounced", guid, address)
    assert addresses.get(group, name, domain, "bounced", guid).properties.email == "a@b.example"
    assert [each.name for each in lists.list_by_domain(group, name, domain)] == ["bounced"]
    assert [each.name for each in addresses.list(group, name, domain, "bounced")] == [guid]

    mail.begin_delete(group, name).result()
    for gone in (lambda: mail.get(group, name), lambda: domains.get(group, name, domain)):
        with pytest.raises(ResourceNotFoundError):
            gone()
