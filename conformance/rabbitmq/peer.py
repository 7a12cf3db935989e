"""Hands of the tests in `grid/tests/handlers`: queues of RabbitMQ over AMQP 0-9-1, and a webhook as a process.

    peer.py declare PORT QUEUE              makes a durable queue
    peer.py bind PORT QUEUE EXCHANGE KEY    makes a durable queue and binds it
    peer.py read PORT QUEUE                 takes all messages out; one line of JSON for each
    peer.py webhook PORT FILE               answers requests and notes the ids of events in a file, a line each
"""

import http.server
import json
import sys
import threading


def channel(port):
    import pika

    parameters = pika.ConnectionParameters("127.0.0.1", int(port))
    return pika.BlockingConnection(parameters).channel()


def declare(port, queue):
    channel(port).queue_declare(queue, durable=True)


def bind(port, queue, exchange, key):
    open_channel = channel(port)
    open_channel.queue_declare(queue, durable=True)
    open_channel.queue_bind(queue, exchange, key)


def read(port, queue):
    open_channel = channel(port)
    open_channel.basic_qos(prefetch_count=500)
    count = open_channel.queue_declare(queue, passive=True).method.message_count
    if count == 0:
        return
    for number, (method, properties, body) in enumerate(open_channel.consume(queue), 1):
        headers = properties.headers or {}
        shown = {
            "body": json.loads(body),
            "content_type": properties.content_type,
            "correlation_id": properties.correlation_id,
            "delivery_mode": properties.delivery_mode,
            "message_id": properties.message_id,
            "properties": section(headers.get("x-amqp-1.0-app-properties")),
            "annotations": section(headers.get("x-amqp-1.0-message-annotations")),
        }
        print(json.dumps(shown))
        if number == count:
            open_channel.basic_ack(method.delivery_tag, multiple=True)
            break
        if number % 100 == 0:
            open_channel.basic_ack(method.delivery_tag, multiple=True)
    open_channel.close()


def section(encoded):
    """The map of texts that RabbitMQ keeps as it came: a descriptor (0x00, a small number), then the map."""
    if not encoded:
        return {}
    data = encoded.encode("latin-1") if isinstance(encoded, str) else bytes(encoded)
    if data[0] != 0x00 or data[1] != 0x53:
        raise ValueError(f"not a section: {data[:8].hex()}")
    kind, at = data[3], 4
    if kind not in (0xC1, 0xD1):
        raise ValueError(f"not a map: {kind:#x}")
    width = 1 if kind == 0xC1 else 4
    count = int.from_bytes(data[at + width : at + 2 * width], "big")
    at += 2 * width
    texts = []
    for _ in range(count):
        kind, at = data[at], at + 1
        if kind not in (0xA1, 0xA3, 0xB1, 0xB3):
            raise ValueError(f"not a text: {kind:#x}")
        width = 1 if kind < 0xB0 else 4
        size = int.from_bytes(data[at : at + width], "big")
        at += width
        texts.append(data[at : at + size].decode())
        at += size
    return dict(zip(texts[::2], texts[1::2], strict=True))


class Hook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    notes = None

    def do_POST(self):
        events = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = b""
        if self.headers["aeg-event-type"] == "SubscriptionValidation":
            code = events[0]["data"]["validationCode"]
            answer = json.dumps({"validationResponse": code}).encode()
        else:
            with self.lock:
                self.notes.write("".join(f"{event['id']}\n" for event in events))
                self.notes.flush()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def webhook(port, file):
    Hook.notes = open(file, "a", encoding="utf-8")
    Server(("127.0.0.1", int(port)), Hook).serve_forever()


if __name__ == "__main__":
    commands = {"declare": declare, "bind": bind, "read": read, "webhook": webhook}
    commands[sys.argv[1]](*sys.argv[2:])
