// A webhook that makes a work item of each text, in an issue tracker with a REST interface (here: Roundup).
//
// It is told of an event at least once, so it may be told twice: the event's id stands in the item's title, and before
// an item is made the tracker is asked for it. One event at a time, so that nothing comes between the two.
// It answers 200 when the item is there, and 503 when the tracker is down or refuses; it is then told again later.
//
//   TRACKER_URL, TRACKER_USER, TRACKER_PASSWORD   the tracker, and who makes the items
//   PORT                                          where to listen; a free port if not given

import { createServer } from "node:http";
import { env } from "node:process";

const tracker = new URL("rest/data/", env.TRACKER_URL);
const credentials = Buffer.from(`${env.TRACKER_USER}:${env.TRACKER_PASSWORD}`).toString("base64");

/** Makes an item of a text, unless there is one; says which. */
async function makeItem({ id, data }) {
  const title = `${data.message.slice(0, 60)} (from +${data.from}) [${id}]`;
  const found = await ask("GET", `issue?title=${encodeURIComponent(id)}&@fields=title`);
  const item = found.collection.find((item) => item.title.endsWith(`[${id}]`));
  if (item) {
    return `had item ${item.id} for ${id} already`;
  }
  const message = await ask("POST", "msg", { content: data.message, author: env.TRACKER_USER });
  const made = await ask("POST", "issue", { title, messages: [message.id] });
  return `made item ${made.id} for ${id}`;
}

/** One call to the tracker, which has to succeed. */
async function ask(method, path, body) {
  const answer = await fetch(new URL(path, tracker), {
    method,
    headers: {
      Authorization: `Basic ${credentials}`,
      "Content-Type": "application/json",
      // Roundup wants to be told that this is not sent by a page of somebody else.
      Origin: tracker.origin,
      "X-Requested-With": "rest",
    },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  if (!answer.ok) {
    throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  }
  return (await answer.json()).data;
}

/** What is answered to a request, by its kind. */
async function answer(kind, events) {
  // Before anything else Event Grid asks whether we want its events.
  if (kind === "SubscriptionValidation") {
    return { validationResponse: events[0].data.validationCode };
  }
  for (const event of events) {
    if (event.eventType === "Microsoft.Communication.SMSReceived") {
      console.log(await makeItem(event));
    }
  }
}

let before = Promise.resolve();

const server = createServer(async (request, response) => {
  try {
    const body = Buffer.concat(await request.toArray()).toString();
    const turn = before.then(() => answer(request.headers["aeg-event-type"], JSON.parse(body)));
    before = turn.catch(() => {});
    const said = await turn;
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(said && JSON.stringify(said));
  } catch (error) {
    // Whatever it was: there is no item, so we want to be told again.
    console.log(`no item: ${error.cause ?? error}`);
    response.writeHead(503);
    response.end();
  }
});

server.listen(Number(env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}/`);
});
