"""The chat client, synchronous: a whole story, and a webhook that hears exactly what it should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from azure.communication.chat import (
    ChatClient,
    ChatMessageType,
    ChatParticipant,
    CommunicationTokenCredential,
)
from azure.communication.identity import CommunicationIdentityClient
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.mgmt.eventgrid.models import EventSubscription

from conftest import Server
from webhook import Webhook

# What the story below raises: two users at first, a third for a while.
EXPECTED = {
    "ChatThreadCreatedWithUser": 1,
    "ChatThreadCreated": 1,
    "ChatMessageReceived": 1,
    "ChatMessageReceivedInThread": 1,
    "ChatMessageEdited": 1,
    "ChatMessageEditedInThread": 1,
    "ChatTypingIndicatorReceivedInThread": 1,
    "ChatMessageDeleted": 1,
    "ChatMessageDeletedInThread": 1,
    "ChatParticipantAddedToThreadWithUser": 2,
    "ChatMemberAddedToThreadWithUser": 2,
    "ChatThreadParticipantAdded": 1,
    "ChatThreadPropertiesUpdatedPerUser": 2,
    "ChatThreadPropertiesUpdated": 1,
    "ChatParticipantRemovedFromThreadWithUser": 2,
    "ChatMemberRemovedFromThreadWithUser": 2,
    "ChatThreadParticipantRemoved": 1,
    "ChatThreadWithUserDeleted": 1,
    "ChatThreadDeleted": 1,
}
PREFIX = "Microsoft.Communication."


def events_of(webhook: Webhook, thread_id: str) -> list:
    """The events of one thread that the webhook has received."""
    return [
        event
        for request in webhook.requests()
        if request.headers.get("aeg-event-type") == "Notification"
        for event in request.event_grid_events()
        if event.data["threadId"] == thread_id
    ]


def check_story(webhook: Webhook, thread_id: str, alice: str) -> None:
    """The story's last events have come; so have all others, and none besides."""
    for last in ("ChatThreadWithUserDeleted", "ChatThreadDeleted"):
        webhook.wait_for_event(
            lambda event: event.data["threadId"] == thread_id and event.event_type == PREFIX + last, last
        )
    wanted = sum(EXPECTED.values())
    webhook.wait_for(lambda _: len(events_of(webhook, thread_id)) >= wanted, "the other events")
    events = events_of(webhook, thread_id)
    assert Counter(event.event_type.removeprefix(PREFIX) for event in events) == EXPECTED
    assert len({event.id for event in events}) == wanted
    for event in events:
        assert event.subject.startswith(f"thread/{thread_id}/")
        recipient = event.data.get("recipientCommunicationIdentifier", {}).get("rawId")
        assert recipient != alice, "whoever acts is not told"
        if recipient:
            assert event.subject.endswith(f"/recipient/{recipient}")
    [received] = [event for event in events if event.event_type == PREFIX + "ChatMessageReceived"]
    assert received.data["messageBody"] == "Where shall we meet?"
    assert received.data["senderId"] == alice
    assert received.data["type"] == "Text"
    assert received.data["metadata"] == {"mood": "curious"}


def test_a_whole_story(
    server: Server, webhook: Webhook, subscribe: Callable[..., EventSubscription]
) -> None:
    subscribe(webhook, included_event_types=[PREFIX + name for name in EXPECTED])
    identity = CommunicationIdentityClient.from_connection_string(server.connection_string)
    people = [identity.create_user_and_token(["chat"]) for _ in range(3)]
    (alice, _), (bob, _), (carol, _) = people
    clients = [
        ChatClient(server.endpoint, CommunicationTokenCredential(token.token)) for _, token in people
    ]
    participant = lambda user, name: ChatParticipant(identifier=user, display_name=name)  # noqa: E731

    made = clients[0].create_chat_thread(
        "Holidays", thread_participants=[participant(alice, "Alice"), participant(bob, "Bob")]
    )
    assert not made.errors
    thread_id = made.chat_thread.id
    mine = clients[0].get_chat_thread_client(thread_id)
    bobs = clients[1].get_chat_thread_client(thread_id)
    assert made.chat_thread.topic == mine.get_properties().topic == "Holidays"
    assert thread_id in [thread.id for thread in clients[1].list_chat_threads()]

    sent = mine.send_message("Where shall we meet?", metadata={"mood": "curious"})
    message = bobs.get_message(sent.id)
    assert message.content.message == "Where shall we meet?"
    assert (message.type, message.sender.raw_id) == (ChatMessageType.TEXT, alice.raw_id)
    mine.update_message(sent.id, "Where and when shall we meet?")
    assert bobs.get_message(sent.id).edited_on is not None

    bobs.send_read_receipt(sent.id)
    [receipt] = mine.list_read_receipts()
    assert (receipt.sender.raw_id, receipt.chat_message_id) == (bob.raw_id, sent.id)
    mine.send_typing_notification()

    mine.delete_message(sent.id)
    assert bobs.get_message(sent.id).deleted_on is not None

    assert mine.add_participants([participant(carol, "Carol")]) == []
    assert {one.identifier.raw_id for one in bobs.list_participants(results_per_page=2)} == {
        alice.raw_id,
        bob.raw_id,
        carol.raw_id,
    }
    mine.update_topic("Winter holidays")
    assert bobs.get_properties().topic == "Winter holidays"
    mine.remove_participant(carol)
    with pytest.raises(HttpResponseError) as refused:
        clients[2].get_chat_thread_client(thread_id).send_message("Still here?")
    assert refused.value.status_code == 403

    types = [message.type for message in bobs.list_messages(results_per_page=2)]
    assert types == [
        ChatMessageType.PARTICIPANT_REMOVED,
        ChatMessageType.TOPIC_UPDATED,
        ChatMessageType.PARTICIPANT_ADDED,
        ChatMessageType.TEXT,
        ChatMessageType.PARTICIPANT_ADDED,
        ChatMessageType.TOPIC_UPDATED,
    ]
    clients[0].delete_chat_thread(thread_id)
    check_story(webhook, thread_id, alice.raw_id)


def test_a_revoked_token_is_an_authentication_error(server: Server) -> None:
    identity = CommunicationIdentityClient.from_connection_string(server.connection_string)
    user, token = identity.create_user_and_token(["chat"])
    chat = ChatClient(server.endpoint, CommunicationTokenCredential(token.token))
    assert list(chat.list_chat_threads()) == []
    identity.revoke_tokens(user)
    with pytest.raises(ClientAuthenticationError):
        list(chat.list_chat_threads())
