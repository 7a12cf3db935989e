"""What the tests share: where the server is, a webhook, and event subscriptions that go away again.

Everything comes from the environment that `gridpost env` prints. The clients are not told anything else.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator

import pytest
import requests
from azure.identity import EnvironmentCredential
from azure.mgmt.communication import CommunicationServiceManagementClient
from azure.mgmt.eventgrid import EventGridManagementClient
from azure.mgmt.eventgrid.models import (
    EventSubscription,
    EventSubscriptionFilter,
    WebHookEventSubscriptionDestination,
)

from webhook import Webhook

OUR_NUMBER = "+15555550100"


class Server:
    """The server under test."""

    def __init__(self) -> None:
        self.connection_string = os.environ["COMMUNICATION_SERVICES_CONNECTION_STRING"]
        endpoint, key = self.connection_string.split(";", 1)
        self.endpoint = endpoint.removeprefix("endpoint=").rstrip("/")
        self.key = key.removeprefix("accesskey=")
        self.subscription_id = os.environ["AZURE_SUBSCRIPTION_ID"]
        self.group = "gridpost"
        self.communication_resource = (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.group}"
            "/providers/Microsoft.Communication/communicationServices/dev"
        )

    def receive_text(self, text: str, *, sender: str = "+15555550199", to: str = OUR_NUMBER) -> str:
        """Lets a handset text one of our numbers; returns the message's id."""
        body = {"from": sender, "to": to, "message": text}
        answer = requests.post(f"{self.endpoint}/_gridpost/v1/sms/receive", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json()["messageId"]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failure is shown with what the server thinks it still has to deliver."""
    report = (yield).get_result()
    if report.failed:
        page = requests.get(f"{Server().endpoint}/metrics", timeout=10).text
        wanted = ("gridpost_lane_", "gridpost_pending_", "gridpost_attempts_failed", "gridpost_store_")
        lines = [line for line in page.splitlines() if line.startswith(wanted) and line[-2:] != " 0"]
        report.sections.append(("what the server has to say (zeros left out)", "\n".join(lines)))


@pytest.fixture(scope="session")
def server() -> Server:
    return Server()


@pytest.fixture(scope="session")
def credential() -> EnvironmentCredential:
    """Signs in with nothing but the environment."""
    return EnvironmentCredential()


@pytest.fixture(scope="session")
def event_grid(server: Server, credential: EnvironmentCredential) -> EventGridManagementClient:
    return EventGridManagementClient(
        credential,
        server.subscription_id,
        base_url=server.endpoint,
        credential_scopes=[f"{server.endpoint}/.default"],
    )


@pytest.fixture(scope="session")
def communication(
    server: Server, credential: EnvironmentCredential
) -> CommunicationServiceManagementClient:
    return CommunicationServiceManagementClient(
        credential,
        server.subscription_id,
        base_url=server.endpoint,
        credential_scopes=[f"{server.endpoint}/.default"],
    )


@pytest.fixture
def make_webhook() -> Iterator[Callable[..., Webhook]]:
    """Starts webhooks, and ends them with the test."""
    started: list[Webhook] = []

    def start(**behaviour: object) -> Webhook:
        started.append(Webhook(**behaviour))
        return started[-1]

    yield start
    for webhook in started:
        webhook.close()


@pytest.fixture
def webhook(make_webhook: Callable[..., Webhook]) -> Webhook:
    return make_webhook()


@pytest.fixture
def subscribe(
    server: Server, event_grid: EventGridManagementClient
) -> Iterator[Callable[..., EventSubscription]]:
    """Subscribes a webhook to a resource (the communication resource, if not told); removed with the test."""
    made: list[tuple[str, str]] = []

    def make(
        webhook: Webhook,
        *,
        scope: str = server.communication_resource,
        schema: str = "EventGridSchema",
        wait: bool = True,
        **conditions: object,
    ) -> EventSubscription:
        name = f"test-{uuid.uuid4().hex[:12]}"
        made.append((scope, name))
        wanted = EventSubscription(
            destination=WebHookEventSubscriptionDestination(endpoint_url=webhook.url),
            filter=EventSubscriptionFilter(**conditions),
            event_delivery_schema=schema,
        )
        subscriptions = event_grid.event_subscriptions
        return subscriptions.begin_create_or_update(scope, name, wanted, polling=wait).result()

    yield make
    for scope, name in made:
        event_grid.event_subscriptions.begin_delete(scope, name).result()
