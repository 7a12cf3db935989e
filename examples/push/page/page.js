// Asks the browser for a push subscription and hands it to our server. `?subscribe` does it without the click, for a
// browser in which notifications are allowed already.

const state = document.getElementById("state");

async function subscribe() {
  if ((await Notification.requestPermission()) !== "granted") {
    throw new Error("notifications are not allowed for this page");
  }
  const registration = await navigator.serviceWorker.register("worker.js");
  await navigator.serviceWorker.ready;
  const key = await (await fetch("key")).text();
  const subscription = await answered(() => subscribeTo(registration.pushManager, key));
  const answer = await fetch("subscriptions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(subscription),
  });
  if (!answer.ok) throw new Error(await answer.text());
}

// A subscription belongs to one key. If the server lost its key, the old subscription is of no use.
async function subscribeTo(manager, key) {
  const options = { userVisibleOnly: true, applicationServerKey: key };
  try {
    return await manager.subscribe(options);
  } catch (error) {
    const old = await manager.getSubscription();
    if (!old) throw error;
    await old.unsubscribe();
    return manager.subscribe(options);
  }
}

// Firefox forgets a request that is made before its push service has started, as a page can that opens with the browser.
// Asking again is harmless: there is one subscription for each page.
async function answered(ask) {
  const nobody = Symbol("nobody");
  const patience = () => new Promise((resolve) => setTimeout(resolve, 2_000, nobody));
  for (let attempt = 0; attempt < 10; attempt++) {
    const answer = await Promise.race([ask(), patience()]);
    if (answer !== nobody) return answer;
  }
  throw new Error("the browser's push service does not answer");
}

async function tellMe() {
  state.textContent = "Subscribing …";
  try {
    await subscribe();
    state.textContent = "Subscribed: a text will come as a notification, even when this page is closed.";
  } catch (error) {
    state.textContent = `Not subscribed: ${error.message}`;
    console.error(`Not subscribed: ${error}`);
  }
}

document.getElementById("tell-me").addEventListener("click", tellMe);
if (new URLSearchParams(location.search).has("subscribe")) tellMe();
