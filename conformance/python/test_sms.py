"""The SMS client, synchronous: sending, per-recipient results, delivery reports, refusals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from azure.communication.sms import SmsClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.eventgrid import SystemEventNames
from azure.mgmt.eventgrid.models import EventSubscription

from conftest import OUR_NUMBER, Server
from webhook import Webhook

GOOD = ["+15555550111", "+15555550112"]
BAD = "+1425-not-a-number"
REPORT = SystemEventNames.AcsSmsDeliveryReportReceivedEventName
RECEIVED = SystemEventNames.AcsSmsReceivedEventName


@pytest.fixture(params=["connection string", "key credential"])
def sms(request: pytest.FixtureRequest, server: Server) -> SmsClient:
    if request.param == "connection string":
        return SmsClient.from_connection_string(server.connection_string)
    return SmsClient(server.endpoint, AzureKeyCredential(server.key))


def test_each_recipient_has_its_own_result_and_the_good_ones_their_report(
    sms: SmsClient, webhook: Webhook, subscribe: Callable[..., EventSubscription]
) -> None:
    subscribe(webhook, included_event_types=[REPORT], subject_begins_with="phonenumber/1555")

    first, bad, second = sms.send(
        from_=OUR_NUMBER,
        to=[GOOD[0], BAD, GOOD[1]],
        message="Your parcel is here",
        enable_delivery_report=True,
        tag="parcels",
    )

    assert [first.to, bad.to, second.to] == [GOOD[0], BAD, GOOD[1]]
    assert (first.successful, first.http_status_code) == (True, 202)
    assert (second.successful, second.http_status_code) == (True, 202)
    assert first.message_id and second.message_id and first.message_id != second.message_id
    assert (bad.successful, bad.http_status_code) == (False, 400)
    assert bad.error_message == "Invalid To phone number format."

    for result in (first, second):
        report = webhook.wait_for_event(
            lambda event: event.data["messageId"] == result.message_id, "delivery report"
        )
        assert report.event_type == REPORT
        assert report.data["to"].lstrip("+") == result.to.lstrip("+")
        assert report.data["from"].lstrip("+") == OUR_NUMBER.lstrip("+")
        assert report.data["deliveryStatus"] == "Delivered"
        assert report.data["tag"] == "parcels"
        [attempt] = report.data["deliveryAttempts"]
        assert (attempt["segmentsSucceeded"], attempt["segmentsFailed"]) == (1, 0)
        assert report.topic.lower().endswith("/communicationservices/dev")
        assert report.event_time.utcoffset().total_seconds() == 0


def test_one_recipient_may_be_a_string(sms: SmsClient) -> None:
    [result] = sms.send(from_=OUR_NUMBER, to=GOOD[0], message="Hello")
    assert result.successful and result.to == GOOD[0]


def test_no_report_comes_when_none_was_asked_for(
    sms: SmsClient, webhook: Webhook, subscribe: Callable[..., EventSubscription]
) -> None:
    subscribe(webhook, included_event_types=[REPORT])
    [silent] = sms.send(from_=OUR_NUMBER, to=GOOD[0], message="No report, please")
    [loud] = sms.send(from_=OUR_NUMBER, to=GOOD[0], message="A report", enable_delivery_report=True)

    webhook.wait_for_event(lambda event: event.data["messageId"] == loud.message_id, "report")
    reported = [
        event.data["messageId"]
        for request in webhook.requests()
        if request.headers.get("aeg-event-type") == "Notification"
        for event in request.event_grid_events()
    ]
    assert silent.message_id not in reported


def test_a_wrong_key_is_an_authentication_error(server: Server) -> None:
    stranger = SmsClient(server.endpoint, AzureKeyCredential("c29tZWJvZHkgZWxzZSdzIGtleQ=="))
    with pytest.raises(ClientAuthenticationError) as refused:
        stranger.send(from_=OUR_NUMBER, to=GOOD[0], message="Hello")
    assert refused.value.status_code == 401
    assert refused.value.error.code == "Denied"


def test_an_inbound_text_reaches_the_webhook(
    server: Server, webhook: Webhook, subscribe: Callable[..., EventSubscription]
) -> None:
    subscribe(webhook, included_event_types=[RECEIVED], subject_begins_with="phonenumber/1555")

    message_id = server.receive_text("Wo ist mein Päckchen?", sender="+15555550123")

    event = webhook.wait_for_event(lambda event: event.data["messageId"] == message_id, "text")
    assert event.event_type == RECEIVED
    assert event.subject == "/phonenumber/15555550100"
    assert event.data["message"] == "Wo ist mein Päckchen?"
    assert event.data["from"].lstrip("+") == "15555550123"
    assert event.data["to"].lstrip("+") == "15555550100"
    assert event.data["receivedTimestamp"].endswith("Z")


def test_stop_blocks_and_start_unblocks(
    server: Server, sms: SmsClient, webhook: Webhook, subscribe: Callable[..., EventSubscription]
) -> None:
    subscribe(webhook, included_event_types=[REPORT])
    handset = "+15555550177"

    def report_after(text: str) -> str:
        server.receive_text(text, sender=handset)
        [result] = sms.send(
            from_=OUR_NUMBER, to=handset, message="News", enable_delivery_report=True
        )
        if not result.successful:
            return "Refused"
        event = webhook.wait_for_event(
            lambda event: event.data["messageId"] == result.message_id, "delivery report"
        )
        return event.data["deliveryStatus"]

    assert report_after("STOP") in ("Failed", "Refused")
    assert report_after("START") == "Delivered"
