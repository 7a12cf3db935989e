"""The SMS client, asynchronous: another HTTP stack, another signing policy, another way to trust a certificate."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from azure.communication.sms.aio import SmsClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.eventgrid import SystemEventNames
from azure.mgmt.eventgrid.models import EventSubscription

from conftest import OUR_NUMBER, Server
from webhook import Webhook

GOOD = ["+15555550121", "+15555550122"]
BAD = "nobody"
REPORT = SystemEventNames.AcsSmsDeliveryReportReceivedEventName


@pytest.mark.parametrize("by", ["connection string", "key credential"])
async def test_each_recipient_has_its_own_result_and_the_good_ones_their_report(
    by: str, server: Server, webhook: Webhook, subscribe: Callable[..., EventSubscription]
) -> None:
    subscribe(webhook, included_event_types=[REPORT])
    if by == "connection string":
        sms = SmsClient.from_connection_string(server.connection_string)
    else:
        sms = SmsClient(server.endpoint, AzureKeyCredential(server.key))

    async with sms:
        results = await sms.send(
            from_=OUR_NUMBER,
            to=[GOOD[0], BAD, GOOD[1]],
            message="Your parcel is here",
            enable_delivery_report=True,
        )

    assert [(result.to, result.successful) for result in results] == [
        (GOOD[0], True),
        (BAD, False),
        (GOOD[1], True),
    ]
    assert results[1].http_status_code == 400
    for result in (results[0], results[2]):
        report = webhook.wait_for_event(
            lambda event: event.data["messageId"] == result.message_id, "delivery report"
        )
        assert report.data["deliveryStatus"] == "Delivered"


async def test_a_wrong_key_is_an_authentication_error(server: Server) -> None:
    async with SmsClient(server.endpoint, AzureKeyCredential("c29tZWJvZHkgZWxzZSdzIGtleQ==")) as sms:
        with pytest.raises(ClientAuthenticationError):
            await sms.send(from_=OUR_NUMBER, to=GOOD[0], message="Hello")
