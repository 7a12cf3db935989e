// The Event Grid client for JavaScript: typed models of what arrives, CloudEvents, publishing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { AzureKeyCredential, EventGridDeserializer, EventGridPublisherClient, isSystemEvent } from "@azure/eventgrid";
import { HTTP } from "cloudevents";
import { carries, manage, receiveText, server, startWebhook, subscribe, typedEvent } from "./webhook.js";

const RECEIVED = "Microsoft.Communication.SMSReceived";

test("an inbound text arrives as the typed model of SMSReceived", async (t) => {
  const webhook = await startWebhook(t);
  const filter = { includedEventTypes: [RECEIVED], subjectBeginsWith: "phonenumber/1555" };
  await subscribe(t, webhook, { filter });
  const messageId = await receiveText("Where is my parcel?", "+15555550123");

  const event = await typedEvent(await webhook.waitFor(carries(messageId), "text"));
  assert.ok(isSystemEvent(RECEIVED, event));
  assert.equal(event.subject, "/phonenumber/15555550100");
  assert.equal(event.data.messageId, messageId);
  assert.equal(event.data.message, "Where is my parcel?");
  assert.equal(event.data.from.replace("+", ""), "15555550123");
  assert.equal(event.data.to.replace("+", ""), "15555550100");
  assert.ok(!Number.isNaN(Date.parse(event.data.receivedTimestamp)));
});

test("a CloudEvents webhook receives what both CloudEvents parsers accept", async (t) => {
  const webhook = await startWebhook(t);
  await subscribe(t, webhook, { filter: { includedEventTypes: [RECEIVED] }, schema: "CloudEventSchemaV1_0" });
  const messageId = await receiveText("As a CloudEvent");
  const request = await webhook.waitFor(carries(messageId), "CloudEvent");

  const event = HTTP.toEvent({ headers: request.headers, body: request.body });
  assert.equal(event.type, RECEIVED);
  assert.equal(event.subject, "/phonenumber/15555550100");
  assert.equal(event.data.message, "As a CloudEvent");

  const [same] = await new EventGridDeserializer().deserializeCloudEvents(request.body);
  assert.ok(isSystemEvent(RECEIVED, same));
  assert.equal(same.id, event.id);
});

test("the publisher client publishes to a custom topic in the Event Grid schema", async (t) => {
  const webhook = await startWebhook(t);
  const id = `${server.group}/providers/Microsoft.EventGrid/topics/js-orders`;
  const topic = await manage("PUT", id, { location: "local" });
  const { key1 } = await manage("POST", `${id}/listKeys`);
  await subscribe(t, webhook, { scope: id });
  t.after(() => manage("DELETE", id));

  const publisher = new EventGridPublisherClient(topic.properties.endpoint, "EventGrid", new AzureKeyCredential(key1));
  const sent = { id: crypto.randomUUID(), subject: "orders/1", eventType: "Shop.OrderPlaced", dataVersion: "1.0" };
  await publisher.send([{ ...sent, eventTime: new Date(), data: { total: 12.5 } }]);

  const event = await typedEvent(await webhook.waitFor(carries(sent.id), "order"));
  assert.deepEqual(event.data, { total: 12.5 });
  assert.equal(event.subject, "orders/1");

  const stranger = new EventGridPublisherClient(
    topic.properties.endpoint,
    "EventGrid",
    new AzureKeyCredential("c29tZWJvZHkgZWxzZSdzIGtleQ=="),
  );
  const refused = stranger.send([{ ...sent, eventTime: new Date(), data: {} }]);
  await assert.rejects(refused, (error) => error.statusCode === 401);
});
