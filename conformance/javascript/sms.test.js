// The SMS client for JavaScript: sending, per-recipient results, delivery reports, refusals.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SmsClient } from "@azure/communication-sms";
import { AzureKeyCredential, isSystemEvent } from "@azure/eventgrid";
import { carries, server, startWebhook, subscribe, typedEvent } from "./webhook.js";

const REPORT = "Microsoft.Communication.SMSDeliveryReportReceived";
const GOOD = ["+15555550131", "+15555550132"];
const BAD = "not a number";

const clients = {
  "connection string": () => new SmsClient(server.connectionString),
  "key credential": () => new SmsClient(server.endpoint, new AzureKeyCredential(server.key)),
};

for (const [by, make] of Object.entries(clients)) {
  test(`by ${by}: each recipient has its own result and the good ones their report`, async (t) => {
    const webhook = await startWebhook(t);
    const filter = { includedEventTypes: [REPORT], subjectBeginsWith: "phonenumber/1555" };
    await subscribe(t, webhook, { filter });

    const message = { from: server.number, to: [GOOD[0], BAD, GOOD[1]], message: "Your parcel is here" };
    const options = { enableDeliveryReport: true, tag: "parcels" };
    const [first, bad, second] = await make().send(message, options);

    assert.deepEqual([first.to, bad.to, second.to], message.to);
    assert.deepEqual([first.successful, first.httpStatusCode], [true, 202]);
    assert.deepEqual([second.successful, second.httpStatusCode], [true, 202]);
    assert.deepEqual([bad.successful, bad.httpStatusCode], [false, 400]);
    assert.equal(bad.errorMessage, "Invalid To phone number format.");

    for (const result of [first, second]) {
      const event = await typedEvent(await webhook.waitFor(carries(result.messageId), "delivery report"));
      assert.ok(isSystemEvent(REPORT, event));
      assert.ok(event.eventTime instanceof Date);
      assert.equal(event.data.messageId, result.messageId);
      assert.equal(event.data.to.replace("+", ""), result.to.replace("+", ""));
      assert.equal(event.data.deliveryStatus, "Delivered");
      assert.equal(typeof event.data.deliveryStatusDetails, "string");
      assert.equal(event.data.tag, "parcels");
      assert.equal(event.data.deliveryAttempts[0].segmentsSucceeded, 1);
      assert.equal(event.data.deliveryAttempts[0].segmentsFailed, 0);
      assert.ok(!Number.isNaN(Date.parse(event.data.deliveryAttempts[0].timestamp)));
      assert.ok(!Number.isNaN(Date.parse(event.data.receivedTimestamp)));
    }
  });
}

test("a wrong key is refused with 401", async () => {
  const stranger = new SmsClient(server.endpoint, new AzureKeyCredential("c29tZWJvZHkgZWxzZSdzIGtleQ=="));
  const sending = stranger.send({ from: server.number, to: [GOOD[0]], message: "Hello" });
  await assert.rejects(sending, (error) => error.name === "RestError" && error.statusCode === 401);
});

test("text outside the simple alphabet is signed and sent", async () => {
  const [result] = await clients["connection string"]().send({
    from: server.number,
    to: [GOOD[0]],
    message: "Grüße aus Köln & “anderswo” 📦",
  });
  assert.ok(result.successful);
});
