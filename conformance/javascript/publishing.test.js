// Publishing with the Event Grid client for JavaScript: every schema, every credential, topics and domains.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { AzureKeyCredential, AzureSASCredential, EventGridPublisherClient, generateSharedAccessSignature } from "@azure/eventgrid";
import { HTTP } from "cloudevents";
import { carries, manage, server, startWebhook, subscribe, typedEvent } from "./webhook.js";

/** A topic or a domain, and its key; removed with the test. */
async function make(t, kind, properties) {
  const id = `${server.group}/providers/Microsoft.EventGrid/${kind}/js-${randomUUID().slice(0, 8)}`;
  const made = await manage("PUT", id, { location: "local", properties });
  const { key1 } = await manage("POST", `${id}/listKeys`);
  t.after(() => manage("DELETE", id));
  return { id, endpoint: made.properties.endpoint, key: key1 };
}

/** A credential that asks our token endpoint, as the environment describes it. */
const signIn = {
  async getToken(scope) {
    const { AZURE_AUTHORITY_HOST, AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET } = process.env;
    const response = await fetch(`${AZURE_AUTHORITY_HOST}/${AZURE_TENANT_ID}/oauth2/v2.0/token`, {
      method: "POST",
      body: new URLSearchParams({
        grant_type: "client_credentials",
        client_id: AZURE_CLIENT_ID,
        client_secret: AZURE_CLIENT_SECRET,
        scope: [scope].flat().join(" "),
      }),
    });
    const { access_token: token, expires_in: seconds } = await response.json();
    return { token, expiresOnTimestamp: Date.now() + seconds * 1000 };
  },
};

const CREDENTIALS = {
  key: async ({ key }) => new AzureKeyCredential(key),
  signature: async ({ endpoint, key }) => {
    const expiry = new Date(Date.now() + 3_600_000);
    return new AzureSASCredential(await generateSharedAccessSignature(endpoint, new AzureKeyCredential(key), expiry));
  },
  token: async () => signIn,
};

for (const [name, credential] of Object.entries(CREDENTIALS)) {
  test(`Event Grid events with a ${name}`, async (t) => {
    const webhook = await startWebhook(t);
    const topic = await make(t, "topics", {});
    await subscribe(t, webhook, { scope: topic.id });
    const publisher = new EventGridPublisherClient(topic.endpoint, "EventGrid", await credential(topic));
    const id = randomUUID();
    const data = { total: 12.5 };
    await publisher.send([{ id, subject: "orders/1", eventType: "Shop.OrderPlaced", dataVersion: "1.0", data }]);
    const event = await typedEvent(await webhook.waitFor(carries(id), "order"));
    assert.deepEqual(event.data, data);
  });

  test(`CloudEvents with a ${name} are what the parser of CloudEvents takes`, async (t) => {
    const webhook = await startWebhook(t);
    const topic = await make(t, "topics", { inputSchema: "CloudEventSchemaV1_0" });
    await subscribe(t, webhook, { scope: topic.id, schema: "CloudEventSchemaV1_0" });
    const publisher = new EventGridPublisherClient(topic.endpoint, "CloudEvent", await credential(topic));
    const id = randomUUID();
    const data = { total: 12.5 };
    const extensionAttributes = { level: "gold" };
    await publisher.send([{ id, source: "/shop", type: "Shop.OrderPlaced", data, extensionAttributes }]);
    const request = await webhook.waitFor(carries(id), "CloudEvent");
    const event = HTTP.toEvent({ headers: request.headers, body: request.body });
    assert.ok(event.validate());
    assert.deepEqual([event.type, event.source, event.data, event.level], ["Shop.OrderPlaced", "/shop", data, "gold"]);
  });

  test(`objects of the publisher's own shape with a ${name}`, async (t) => {
    const webhook = await startWebhook(t);
    const topic = await make(t, "topics", {
      inputSchema: "CustomEventSchema",
      inputSchemaMapping: {
        inputSchemaMappingType: "Json",
        properties: {
          eventType: { sourceField: "kind", defaultValue: "Shop.Other" },
          subject: { defaultValue: "none" },
          dataVersion: { defaultValue: "1" },
        },
      },
    });
    await subscribe(t, webhook, { scope: topic.id, schema: "CustomInputSchema" });
    const publisher = new EventGridPublisherClient(topic.endpoint, "Custom", await credential(topic));
    const own = { mark: randomUUID(), kind: "Shop.OrderPlaced" };
    await publisher.send([own]);
    const request = await webhook.waitFor(carries(own.mark), "object");
    assert.deepEqual(JSON.parse(request.body), [own]);
  });
}

test("a domain passes events on to the topics they name", async (t) => {
  const [books, everything] = [await startWebhook(t), await startWebhook(t)];
  const domain = await make(t, "domains", {});
  await subscribe(t, books, { scope: `${domain.id}/topics/books` });
  await subscribe(t, everything, { scope: domain.id });
  const publisher = new EventGridPublisherClient(domain.endpoint, "EventGrid", new AzureKeyCredential(domain.key));
  const order = (topic) => ({
    id: randomUUID(),
    topic,
    subject: "orders/1",
    eventType: "Shop.OrderPlaced",
    dataVersion: "1.0",
    data: {},
  });
  const [toys, novel] = [order("toys"), order("books")];
  await publisher.send([toys, novel]);
  await everything.waitFor(carries(toys.id), "toys");
  const event = await typedEvent(await books.waitFor(carries(novel.id), "books"));
  assert.equal(event.topic.toLowerCase(), `${domain.id}/topics/books`.toLowerCase());
  assert.ok(books.requests.every((request) => !request.body.includes(toys.id)));
});
