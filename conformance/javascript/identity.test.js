// The identity client for JavaScript: users, tokens, what the other clients read from them, refusals.

import assert from "node:assert/strict";
import { test } from "node:test";
import { AzureCommunicationTokenCredential } from "@azure/communication-common";
import { CommunicationIdentityClient } from "@azure/communication-identity";
import { AzureKeyCredential } from "@azure/eventgrid";
import { server } from "./webhook.js";

const STRANGER = "8:acs:00000000-0000-4000-8000-000000000000_00000005-3e0d-e5aa-0e04-343a0d00037c";

const clients = {
  "connection string": () => new CommunicationIdentityClient(server.connectionString),
  "key credential": () => new CommunicationIdentityClient(server.endpoint, new AzureKeyCredential(server.key)),
};

const refusedWith = (status) => (error) => error.name === "RestError" && error.statusCode === status;

for (const [by, make] of Object.entries(clients)) {
  test(`identity by ${by}: a user is made, given tokens and deleted`, async () => {
    const identity = make();
    const user = await identity.createUser();
    assert.match(user.communicationUserId, /^8:acs:[0-9a-f-]{36}_[0-9a-f-]{36}$/);

    const { token, expiresOn } = await identity.getToken(user, ["chat", "voip"], { tokenExpiresInMinutes: 90 });
    const minutes = (expiresOn.getTime() - Date.now()) / 60_000;
    assert.ok(88 < minutes && minutes <= 90, `${minutes}`);
    const read = await new AzureCommunicationTokenCredential(token).getToken();
    assert.equal(read.token, token);
    assert.equal(read.expiresOnTimestamp, expiresOn.getTime());

    await identity.revokeTokens(user);
    assert.notEqual((await identity.getToken(user, ["chat"])).token, token);
    await identity.deleteUser(user);
    await assert.rejects(identity.getToken(user, ["chat"]), refusedWith(404));
  });
}

test("identity: a user comes with a token", async () => {
  const made = await clients["connection string"]().createUserAndToken(["chat.join", "voip.join"]);
  const claims = JSON.parse(Buffer.from(made.token.split(".")[1], "base64").toString("ascii"));
  assert.equal(`8:${claims.skypeid}`, made.user.communicationUserId);
  assert.equal(claims.acsScope, "chat.join,voip.join");
  assert.equal(claims.exp * 1000, made.expiresOn.getTime());
});

test("identity: what cannot be is refused", async () => {
  const identity = clients["connection string"]();
  const user = await identity.createUser();
  const wishes = [
    [400, () => identity.getToken(user, [])],
    [400, () => identity.getToken(user, ["talk"])],
    [400, () => identity.getToken(user, ["chat"], { tokenExpiresInMinutes: 59 })],
    [400, () => identity.createUserAndToken(["chat"], { tokenExpiresInMinutes: 1441 })],
    [403, () => identity.getToken({ communicationUserId: STRANGER }, ["chat"])],
    [401, () => new CommunicationIdentityClient(server.endpoint, new AzureKeyCredential("c29tZQ==")).createUser()],
  ];
  for (const [status, wish] of wishes) await assert.rejects(wish, refusedWith(status), `${status}`);
});
