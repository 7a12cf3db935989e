// A webhook as a customer would write it, and the few calls to subscribe it. Nothing here knows Gridpost but the
// environment that `gridpost env` prints.

import { once } from "node:events";
import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { EventGridDeserializer, isSystemEvent } from "@azure/eventgrid";

const PATIENCE_MS = 20_000;
const deserializer = new EventGridDeserializer();

/** The server under test, as its environment describes it. */
export const server = (() => {
  const connectionString = process.env.COMMUNICATION_SERVICES_CONNECTION_STRING;
  const [, endpoint, key] = /^endpoint=(.*?)\/?;accesskey=(.*)$/i.exec(connectionString);
  const subscription = process.env.AZURE_SUBSCRIPTION_ID;
  const group = `/subscriptions/${subscription}/resourceGroups/gridpost`;
  return {
    connectionString,
    endpoint,
    key,
    group,
    number: "+15555550100",
    resource: `${group}/providers/Microsoft.Communication/communicationServices/dev`,
  };
})();

/** Starts a webhook that answers both handshakes; it ends with the test. */
export async function startWebhook(test) {
  const requests = [];
  const waiting = new Set();
  const http = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString("utf8");
    const received = { method: request.method, headers: request.headers, body };
    const { headers = {}, text = "" } = await answer(received);
    response.writeHead(200, headers).end(text);
    requests.push(received);
    for (const check of waiting) check();
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  test.after(() => {
    http.closeAllConnections();
    http.close();
  });

  /** The first request that is wanted, now or soon. */
  function waitFor(wanted, what) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        waiting.delete(check);
        reject(new Error(`no ${what} within ${PATIENCE_MS} ms; received ${JSON.stringify(requests)}`));
      }, PATIENCE_MS);
      const check = () => {
        const found = requests.find(wanted);
        if (!found) return;
        clearTimeout(timer);
        waiting.delete(check);
        resolve(found);
      };
      waiting.add(check);
      check();
    });
  }

  return { url: `http://127.0.0.1:${http.address().port}/hook`, requests, waitFor };
}

async function answer({ method, headers, body }) {
  if (method === "OPTIONS") {
    const origin = headers["webhook-request-origin"];
    return { headers: { "WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*" } };
  }
  if (headers["aeg-event-type"] !== "SubscriptionValidation") return {};
  const [event] = await deserializer.deserializeEventGridEvents(body);
  if (!isSystemEvent("Microsoft.EventGrid.SubscriptionValidationEvent", event)) {
    throw new Error(`the handshake is not one: ${body}`);
  }
  const text = JSON.stringify({ validationResponse: event.data.validationCode });
  return { headers: { "content-type": "application/json" }, text };
}

let token;

/** A call to Resource Manager, signed in with what the environment gives. */
export async function manage(method, id, body) {
  token ??= await signIn();
  const response = await fetch(`${server.endpoint}${id}?api-version=2025-02-15`, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${id}: ${response.status} ${text}`);
  return text && JSON.parse(text);
}

async function signIn() {
  const { AZURE_AUTHORITY_HOST, AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET } = process.env;
  const response = await fetch(`${AZURE_AUTHORITY_HOST}/${AZURE_TENANT_ID}/oauth2/token`, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "client_credentials",
      client_id: AZURE_CLIENT_ID,
      client_secret: AZURE_CLIENT_SECRET,
      scope: `${server.endpoint}/.default`,
    }),
  });
  if (!response.ok) throw new Error(`signing in: ${response.status} ${await response.text()}`);
  return (await response.json()).access_token;
}

/** Subscribes a webhook to a resource; removed with the test. */
export async function subscribe(test, webhook, { scope = server.resource, filter = {}, schema } = {}) {
  const id = `${scope}/providers/Microsoft.EventGrid/eventSubscriptions/js-${randomUUID().slice(0, 8)}`;
  test.after(() => manage("DELETE", id));
  const made = await manage("PUT", id, {
    properties: {
      destination: { endpointType: "WebHook", properties: { endpointUrl: webhook.url } },
      filter,
      eventDeliverySchema: schema ?? "EventGridSchema",
    },
  });
  if (made.properties.provisioningState !== "Succeeded") {
    throw new Error(`the subscription is ${made.properties.provisioningState}`);
  }
  return made;
}

/** Lets a handset text our number; gives the message's id. */
export async function receiveText(message, from = "+15555550199") {
  const response = await fetch(`${server.endpoint}/_gridpost/v1/sms/receive`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ from, to: server.number, message }),
  });
  if (!response.ok) throw new Error(`receiving a text: ${response.status} ${await response.text()}`);
  return (await response.json()).messageId;
}

/** The typed event of a notification. */
export async function typedEvent(request) {
  const [event] = await deserializer.deserializeEventGridEvents(request.body);
  return event;
}

/** Whether a request carries a message's event. */
export const carries = (messageId) => (request) =>
  request.method === "POST" &&
  request.headers["aeg-event-type"] !== "SubscriptionValidation" &&
  request.body.includes(messageId);
