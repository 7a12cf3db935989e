// The management clients for JavaScript: everything made, read, listed, changed and removed, and quick about it.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { CommunicationServiceManagementClient } from "@azure/arm-communication";
import { EventGridManagementClient } from "@azure/arm-eventgrid";
import { EnvironmentCredential } from "@azure/identity";
import { server } from "./webhook.js";

const { AZURE_SUBSCRIPTION_ID: subscription, AZURE_RESOURCE_GROUP: group } = process.env;
// Pollers that do not find an answer finished would wait longer.
const quick = { timeout: 20_000 };
const options = { endpoint: server.endpoint, credentialScopes: [`${server.endpoint}/.default`] };
const credential = new EnvironmentCredential();
const grid = new EventGridManagementClient(credential, subscription, options);
const communication = new CommunicationServiceManagementClient(credential, subscription, options);
const europe = { location: "global", dataLocation: "Europe" };
const KIND = "Microsoft.Communication.CommunicationServices";

const webhook = (name) => ({
  destination: { endpointType: "WebHook", endpointUrl: `${server.endpoint}/_gridpost/v1/sinks/${name}` },
});

async function all(pages) {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
}

const names = async (pages) => (await all(pages)).map((one) => one.name);
const gone = (promise) => assert.rejects(promise, { statusCode: 404 });

test("topics, their keys and their subscriptions", quick, async () => {
  const name = `js-${randomUUID().slice(0, 8)}`;
  const made = await grid.topics.beginCreateOrUpdateAndWait(group, name, { location: "local", tags: { a: "b" } });
  assert.equal(made.provisioningState, "Succeeded");
  assert.equal((await grid.topics.get(group, name)).endpoint, made.endpoint);
  assert.ok((await names(grid.topics.listBySubscription())).includes(name));
  assert.deepEqual(await names(grid.topics.listByResourceGroup(group, { filter: `name eq '${name}'` })), [name]);
  await grid.topics.beginUpdateAndWait(group, name, { tags: { c: "d" } });
  assert.deepEqual((await grid.topics.get(group, name)).tags, { c: "d" });
  const keys = await grid.topics.listSharedAccessKeys(group, name);
  const fresh = await grid.topics.beginRegenerateKeyAndWait(group, name, { keyName: "key1" });
  assert.notEqual(fresh.key1, keys.key1);
  assert.equal(fresh.key2, keys.key2);

  const below = grid.topicEventSubscriptions;
  const filter = {
    includedEventTypes: ["Shop.Ordered"],
    advancedFilters: [{ operatorType: "StringContains", key: "data.a", values: ["x"] }],
  };
  const one = await below.beginCreateOrUpdateAndWait(group, name, "es1", { ...webhook("js"), filter });
  assert.equal(one.provisioningState, "Succeeded");
  assert.deepEqual(one.filter.advancedFilters[0].values, ["x"]);
  assert.equal((await below.get(group, name, "es1")).id, one.id);
  assert.deepEqual(await names(below.list(group, name)), ["es1"]);
  assert.equal((await below.getFullUrl(group, name, "es1")).endpointUrl, webhook("js").destination.endpointUrl);
  await below.beginUpdateAndWait(group, name, "es1", { labels: ["x"] });
  assert.deepEqual((await below.get(group, name, "es1")).labels, ["x"]);
  await below.beginDeleteAndWait(group, name, "es1");
  await grid.topics.beginDeleteAndWait(group, name);
  await gone(grid.topics.get(group, name));
});

test("domains and their topics", quick, async () => {
  const name = `js-${randomUUID().slice(0, 8)}`;
  await grid.domains.beginCreateOrUpdateAndWait(group, name, { location: "local" });
  await grid.domains.beginUpdateAndWait(group, name, { tags: { a: "b" } });
  assert.deepEqual((await grid.domains.get(group, name)).tags, { a: "b" });
  assert.ok((await names(grid.domains.listByResourceGroup(group))).includes(name));
  const keys = await grid.domains.listSharedAccessKeys(group, name);
  assert.notEqual((await grid.domains.regenerateKey(group, name, { keyName: "key2" })).key2, keys.key2);
  const topic = await grid.domainTopics.beginCreateOrUpdateAndWait(group, name, "books");
  assert.deepEqual(await names(grid.domainTopics.listByDomain(group, name)), ["books"]);
  const scope = topic.id.slice(1);
  await grid.eventSubscriptions.beginCreateOrUpdateAndWait(scope, "es1", webhook("js"));
  assert.equal((await grid.eventSubscriptions.get(scope, "es1")).topic, topic.id);
  assert.deepEqual(await names(grid.domainTopicEventSubscriptions.list(group, name, "books")), ["es1"]);
  await grid.domains.beginDeleteAndWait(group, name);
  await gone(grid.domainTopics.get(group, name, "books"));
});

test("system topics and what can be subscribed to", quick, async () => {
  const name = `js-${randomUUID().slice(0, 8)}`;
  const source = await communication.communicationServices.beginCreateOrUpdateAndWait(group, name, europe);
  const wanted = { location: "global", source: source.id, topicType: KIND };
  const topic = await grid.systemTopics.beginCreateOrUpdateAndWait(group, name, wanted);
  assert.equal(topic.source, source.id);
  await grid.systemTopics.beginUpdateAndWait(group, name, { tags: { a: "b" } });
  assert.deepEqual((await grid.systemTopics.get(group, name)).tags, { a: "b" });
  assert.equal((await grid.extensionTopics.get(source.id)).systemTopic, topic.id);
  const below = grid.systemTopicEventSubscriptions;
  await below.beginCreateOrUpdateAndWait(group, name, "es1", webhook("js"));
  assert.deepEqual(await names(below.listBySystemTopic(group, name)), ["es1"]);
  await below.beginDeleteAndWait(group, name, "es1");
  await grid.systemTopics.beginDeleteAndWait(group, name);
  await communication.communicationServices.beginDeleteAndWait(group, name);
  assert.ok((await names(grid.topicTypes.list())).includes(KIND));
  assert.ok((await names(grid.topicTypes.listEventTypes(KIND))).includes("Microsoft.Communication.SMSReceived"));
});

test("communication resources", quick, async () => {
  const name = `js-${randomUUID().slice(0, 8)}`;
  const services = communication.communicationServices;
  const made = await services.beginCreateOrUpdateAndWait(group, name, europe);
  assert.equal(made.provisioningState, "Succeeded");
  const ask = { name, type: "Microsoft.Communication/CommunicationServices" };
  assert.equal((await services.checkNameAvailability(ask)).reason, "AlreadyExists");
  assert.deepEqual((await services.update(group, name, { tags: { a: "b" } })).tags, { a: "b" });
  assert.ok((await names(services.listByResourceGroup(group))).includes(name));
  const keys = await services.listKeys(group, name);
  const fresh = await services.regenerateKey(group, name, { keyType: "Secondary" });
  assert.notEqual(fresh.secondaryKey, keys.secondaryKey);
  await services.beginDeleteAndWait(group, name);
  await gone(services.get(group, name));
});

test("email services, domains and senders", quick, async () => {
  const name = `js-${randomUUID().slice(0, 8)}`;
  const domain = "js.example";
  const { emailServices, domains, senderUsernames } = communication;
  await emailServices.beginCreateOrUpdateAndWait(group, name, europe);
  const wanted = { location: "global", domainManagement: "CustomerManaged" };
  const made = await domains.beginCreateOrUpdateAndWait(group, name, domain, wanted);
  assert.equal(made.verificationStates.domain.status, "NotStarted");
  await domains.beginInitiateVerificationAndWait(group, name, domain, { verificationType: "Domain" });
  assert.equal((await domains.get(group, name, domain)).verificationStates.domain.status, "Verified");
  await senderUsernames.createOrUpdate(group, name, domain, "info", { username: "info" });
  assert.deepEqual(await names(senderUsernames.listByDomains(group, name, domain)), ["info"]);
  await emailServices.beginDeleteAndWait(group, name);
  await gone(domains.get(group, name, domain));
});
