// Runs when a push arrives, whether the page is open or not. The browser has decrypted the message by then.

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => event.waitUntil(show(event.data.json())));

// The tag makes a notification that comes twice replace itself.
async function show({ id, title, message }) {
  await self.registration.showNotification(title, { body: message, tag: id });
  const all = await self.registration.getNotifications();
  const shown = all.find(({ tag }) => tag === id);
  await report({ id, title: shown.title, message: shown.body, onScreen: all.length });
}

// Tells our server what is on the screen.
function report(shown) {
  return fetch("received", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(shown),
  });
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(self.clients.openWindow("."));
});
