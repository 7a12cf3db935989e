// What a browser has and Node.js has not, as far as the push connection of the chat client asks for it. `WebSocket` is
// Node's own: behind `--experimental-websocket` in version 20, built in since.

class XMLHttpRequest {
  #call = {};
  #headers = {};
  withCredentials = false;
  readyState = 0;
  status = 0;
  responseText = "";
  onreadystatechange = () => {};

  open(method, url) {
    this.#call = { method, url };
  }

  setRequestHeader(name, value) {
    this.#headers[name] = value;
  }

  async send() {
    try {
      const answer = await fetch(this.#call.url, { method: this.#call.method, headers: this.#headers });
      [this.status, this.responseText] = [answer.status, await answer.text()];
    } catch {
      this.status = 0;
    }
    this.readyState = 4;
    this.onreadystatechange();
  }
}

globalThis.XMLHttpRequest ??= XMLHttpRequest;
globalThis.location ??= new URL("https://app.example/");

/** The browser's half of the chat client, unmodified; Node.js would be given the half without notifications. */
export const { ChatClient } = await import(
  new URL("./node_modules/@azure/communication-chat/dist/browser/index.js", import.meta.url)
);
