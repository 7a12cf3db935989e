// The chat client for JavaScript: a whole story, and what a webhook hears of it in the typed models.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatClient } from "@azure/communication-chat";
import { AzureCommunicationTokenCredential } from "@azure/communication-common";
import { CommunicationIdentityClient } from "@azure/communication-identity";
import { EventGridDeserializer, isSystemEvent } from "@azure/eventgrid";
import { server, startWebhook, subscribe } from "./webhook.js";

const PREFIX = "Microsoft.Communication.";
const EXPECTED = {
  ChatThreadCreatedWithUser: 1,
  ChatThreadCreated: 1,
  ChatMessageReceived: 1,
  ChatMessageReceivedInThread: 1,
  ChatMessageEdited: 1,
  ChatMessageEditedInThread: 1,
  ChatTypingIndicatorReceivedInThread: 1,
  ChatMessageDeleted: 1,
  ChatMessageDeletedInThread: 1,
  ChatParticipantAddedToThreadWithUser: 2,
  ChatThreadParticipantAdded: 1,
  ChatThreadPropertiesUpdatedPerUser: 2,
  ChatThreadPropertiesUpdated: 1,
  ChatParticipantRemovedFromThreadWithUser: 2,
  ChatThreadParticipantRemoved: 1,
  ChatThreadWithUserDeleted: 1,
  ChatThreadDeleted: 1,
};

const all = async (pages) => {
  const found = [];
  for await (const item of pages) found.push(item);
  return found;
};

test("chat: a whole story", async (t) => {
  const webhook = await startWebhook(t);
  const includedEventTypes = Object.keys(EXPECTED).map((name) => PREFIX + name);
  await subscribe(t, webhook, { filter: { includedEventTypes } });
  const identity = new CommunicationIdentityClient(server.connectionString);
  const someone = async () => {
    const { user, token } = await identity.createUserAndToken(["chat"]);
    return { user, chat: new ChatClient(server.endpoint, new AzureCommunicationTokenCredential(token)) };
  };
  const [alice, bob, carol] = [await someone(), await someone(), await someone()];

  const participants = [{ id: bob.user, displayName: "Bob" }];
  const { chatThread } = await alice.chat.createChatThread({ topic: "Holidays" }, { participants });
  const mine = alice.chat.getChatThreadClient(chatThread.id);
  const bobs = bob.chat.getChatThreadClient(chatThread.id);
  assert.ok((await all(bob.chat.listChatThreads())).some((thread) => thread.id === chatThread.id));

  const { id } = await mine.sendMessage({ content: "Where shall we meet?" }, { metadata: { mood: "curious" } });
  const message = await bobs.getMessage(id);
  assert.equal(message.content.message, "Where shall we meet?");
  assert.equal(message.sender.communicationUserId, alice.user.communicationUserId);
  await mine.updateMessage(id, { content: "Where and when shall we meet?" });
  await bobs.sendReadReceipt({ chatMessageId: id });
  const [receipt] = await all(mine.listReadReceipts());
  assert.equal(receipt.chatMessageId, id);
  assert.equal(await mine.sendTypingNotification(), true);
  await mine.deleteMessage(id);
  assert.ok((await bobs.getMessage(id)).deletedOn instanceof Date);

  await mine.addParticipants({ participants: [{ id: carol.user, displayName: "Carol" }] });
  assert.equal((await all(bobs.listParticipants({ maxPageSize: 2 }))).length, 3);
  await mine.updateTopic("Winter holidays");
  assert.equal((await bobs.getProperties()).topic, "Winter holidays");
  await mine.removeParticipant(carol.user);
  const late = carol.chat.getChatThreadClient(chatThread.id).sendMessage({ content: "Still here?" });
  await assert.rejects(late, (error) => error.name === "RestError" && error.statusCode === 403);
  assert.equal((await all(bobs.listMessages({ maxPageSize: 2 }))).length, 6);
  await alice.chat.deleteChatThread(chatThread.id);

  const wanted = Object.values(EXPECTED).reduce((sum, count) => sum + count, 0);
  const bodies = () => webhook.requests.filter(({ headers }) => headers["aeg-event-type"] === "Notification");
  await webhook.waitFor(() => bodies().length >= wanted, "the whole story");
  const deserializer = new EventGridDeserializer();
  const read = await Promise.all(bodies().map(({ body }) => deserializer.deserializeEventGridEvents(body)));
  const events = read.flat().filter(({ data }) => data.threadId === chatThread.id);
  const counts = {};
  for (const event of events) {
    const name = event.eventType.replace(PREFIX, "");
    counts[name] = (counts[name] ?? 0) + 1;
    assert.ok(isSystemEvent(event.eventType, event), name);
    assert.ok(event.subject.startsWith(`thread/${chatThread.id}/`), event.subject);
    assert.equal(typeof event.data.version, "number");
  }
  assert.deepEqual(counts, EXPECTED);
});
