// Chat as it happens: our own WebSocket and server-sent events, and the notifications of the chat client.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { AzureCommunicationTokenCredential } from "@azure/communication-common";
import { CommunicationIdentityClient } from "@azure/communication-identity";
import { ChatClient } from "./browser.js";
import { server } from "./webhook.js";

const identity = new CommunicationIdentityClient(server.connectionString);
const live = new URL("/chat/live", server.endpoint);

async function someone() {
  const { user, token } = await identity.createUserAndToken(["chat"]);
  return { user, token, chat: new ChatClient(server.endpoint, new AzureCommunicationTokenCredential(token)) };
}

async function threadOf(alice, bob) {
  const participants = [{ id: bob.user, displayName: "Bob" }];
  const { chatThread } = await alice.chat.createChatThread({ topic: "Holidays" }, { participants });
  return { id: chatThread.id, mine: alice.chat.getChatThreadClient(chatThread.id) };
}

test("live: a WebSocket tells what happens", async (t) => {
  const [alice, bob] = [await someone(), await someone()];
  const socket = new WebSocket(live.href.replace("http", "ws"));
  t.after(() => socket.close());
  const heard = [];
  socket.onmessage = ({ data }) => heard.push(JSON.parse(data));
  const until = async (count) => {
    while (heard.length < count) await once(socket, "message");
  };
  await once(socket, "open");
  socket.send(JSON.stringify({ token: bob.token }));
  await until(1);
  assert.equal(heard[0].type, "ready");
  const { id, mine } = await threadOf(alice, bob);
  await mine.sendMessage({ content: "Where shall we meet?" });
  await until(3);
  assert.deepEqual(
    heard.slice(1).map(({ event }) => [event.eventType, event.data.threadId]),
    [
      ["Microsoft.Communication.ChatThreadCreatedWithUser", id],
      ["Microsoft.Communication.ChatMessageReceived", id],
    ],
  );
  await identity.revokeTokens(bob.user);
  const [{ code }] = await once(socket, "close");
  assert.equal(code, 4001);
});

test("live: a stream of server-sent events tells what happens", async () => {
  const [alice, bob] = [await someone(), await someone()];
  const answer = await fetch(live, { headers: { authorization: `Bearer ${bob.token}` } });
  assert.equal(answer.status, 200);
  const names = [];
  let text = "";
  for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const event = /^event: (.*)\ndata: (.*)$/.exec(text.slice(0, end));
      if (event === null) continue;
      names.push(event[1]);
      if (event[1] === "ready") await threadOf(alice, bob);
      if (event[1] === "event") await identity.deleteUser(bob.user);
    }
  }
  assert.deepEqual(names, ["ready", "event", "end"]);
});

test("live: the chat client is notified in real time", async (t) => {
  const [alice, bob, carol] = [await someone(), await someone(), await someone()];
  const told = [];
  const waiting = new Set();
  const next = async (name) => {
    for (;;) {
      const at = told.findIndex((one) => one.name === name);
      if (at >= 0) return told.splice(at, 1)[0].event;
      await new Promise((resolve) => waiting.add(resolve));
    }
  };
  const tell = (name) => (event) => {
    told.push({ name, event });
    for (const resolve of waiting) resolve();
    waiting.clear();
  };
  bob.chat.on("realTimeNotificationConnected", tell("connected"));
  await bob.chat.startRealtimeNotifications();
  t.after(() => bob.chat.stopRealtimeNotifications());
  for (const name of [
    "chatThreadCreated",
    "chatMessageReceived",
    "chatMessageEdited",
    "chatMessageDeleted",
    "typingIndicatorReceived",
    "readReceiptReceived",
    "participantsAdded",
    "participantsRemoved",
    "chatThreadPropertiesUpdated",
    "chatThreadDeleted",
  ]) {
    bob.chat.on(name, tell(name));
  }
  await next("connected");

  const { id, mine } = await threadOf(alice, bob);
  const created = await next("chatThreadCreated");
  assert.equal(created.threadId, id);
  assert.equal(created.properties.topic, "Holidays");
  assert.deepEqual(
    created.participants.map(({ id: who }) => who.communicationUserId).sort(),
    [alice, bob].map(({ user }) => user.communicationUserId).sort(),
  );
  const { id: said } = await mine.sendMessage({ content: "Wo? 🏔" }, { metadata: { mood: "curious" } });
  const received = await next("chatMessageReceived");
  assert.equal(received.id, said);
  assert.equal(received.message, "Wo? 🏔");
  assert.equal(received.sender.communicationUserId, alice.user.communicationUserId);
  assert.equal(received.recipient.communicationUserId, bob.user.communicationUserId);
  assert.deepEqual(received.metadata, { mood: "curious" });
  assert.ok(received.createdOn.getTime() > 0);
  await mine.updateMessage(said, { content: "Where?" });
  const edited = await next("chatMessageEdited");
  assert.equal(edited.message, "Where?");
  assert.ok(edited.editedOn.getTime() > 0);
  await mine.sendTypingNotification();
  const typing = await next("typingIndicatorReceived");
  assert.equal(typing.sender.communicationUserId, alice.user.communicationUserId);
  await mine.sendReadReceipt({ chatMessageId: said });
  const read = await next("readReceiptReceived");
  assert.equal(read.chatMessageId, said);
  assert.ok(Math.abs(read.readOn.getTime() - Date.now()) < 60_000);
  await mine.deleteMessage(said);
  assert.ok((await next("chatMessageDeleted")).deletedOn.getTime() > 0);
  await mine.addParticipants({ participants: [{ id: carol.user, displayName: "Carol" }] });
  const added = await next("participantsAdded");
  assert.equal(added.participantsAdded[0].id.communicationUserId, carol.user.communicationUserId);
  assert.equal(added.participantsAdded[0].displayName, "Carol");
  await mine.removeParticipant(carol.user);
  const removed = await next("participantsRemoved");
  assert.equal(removed.removedBy.id.communicationUserId, alice.user.communicationUserId);
  await mine.updateTopic("Winter \"holidays\" 100 %");
  assert.equal((await next("chatThreadPropertiesUpdated")).properties.topic, "Winter \"holidays\" 100 %");
  await alice.chat.deleteChatThread(id);
  assert.equal((await next("chatThreadDeleted")).threadId, id);
});
