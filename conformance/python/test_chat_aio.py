"""The chat client, asynchronous: the same story over the other HTTP stack."""

from __future__ import annotations

from collections.abc import Callable

from azure.communication.chat import ChatParticipant
from azure.communication.chat.aio import ChatClient, CommunicationTokenCredential
from azure.communication.identity.aio import CommunicationIdentityClient
from azure.mgmt.eventgrid.models import EventSubscription

from conftest import Server
from test_chat import EXPECTED, PREFIX, check_story
from webhook import Webhook


async def test_a_whole_story(
    server: Server, webhook: Webhook, subscribe: Callable[..., EventSubscription]
) -> None:
    subscribe(webhook, included_event_types=[PREFIX + name for name in EXPECTED])
    identity = CommunicationIdentityClient.from_connection_string(server.connection_string)
    async with identity:
        people = [await identity.create_user_and_token(["chat"]) for _ in range(3)]
    (alice, token), (bob, bobs_token), (carol, _) = people
    chat = ChatClient(server.endpoint, CommunicationTokenCredential(token.token))
    bobs_chat = ChatClient(server.endpoint, CommunicationTokenCredential(bobs_token.token))
    async with chat, bobs_chat:
        made = await chat.create_chat_thread(
            "Holidays", thread_participants=[ChatParticipant(identifier=bob, display_name="Bob")]
        )
        thread_id = made.chat_thread.id
        mine = chat.get_chat_thread_client(thread_id)
        bobs = bobs_chat.get_chat_thread_client(thread_id)
        async with mine, bobs:
            sent = await mine.send_message("Where shall we meet?", metadata={"mood": "curious"})
            await mine.update_message(sent.id, "Where and when shall we meet?")
            await bobs.send_read_receipt(sent.id)
            readers = [receipt.sender.raw_id async for receipt in mine.list_read_receipts()]
            assert readers == [bob.raw_id]
            await mine.send_typing_notification()
            await mine.delete_message(sent.id)
            assert await mine.add_participants([ChatParticipant(identifier=carol)]) == []
            await mine.update_topic("Winter holidays")
            await mine.remove_participant(carol)
            listed = [message.id async for message in bobs.list_messages(results_per_page=2)]
            assert len(listed) == 6 and listed == sorted(listed, key=int, reverse=True)
            await chat.delete_chat_thread(thread_id)
    check_story(webhook, thread_id, alice.raw_id)
