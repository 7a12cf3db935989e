"""A webhook that keeps texts and delivery reports in a database.

It is told of an event at least once, so it may be told twice: the event's id is the key of its row, and a row that is
there stays as it is. It answers 200 when the row is committed and 503 when it is not, and is then told again; 400, which
ends in a dead letter, when it could never be.

    DATABASE_URL   postgresql://… or sqlite:/path/to/file
    PORT           where to listen; a free port if not given
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DATABASE_URL = os.environ["DATABASE_URL"]

TABLES = """
    create table if not exists texts (
        event_id text primary key, sender text, recipient text, message text, received_at text);
    create table if not exists delivery_reports (
        event_id text primary key, sender text, recipient text, status text, details text, received_at text);
"""
# In every text: `?` is where a value goes.
KEEP_TEXT = "insert into texts values (?, ?, ?, ?, ?) on conflict (event_id) do nothing"
KEEP_REPORT = "insert into delivery_reports values (?, ?, ?, ?, ?, ?) on conflict (event_id) do nothing"


def keep(event: dict[str, Any]) -> str:
    """Puts an event's row into its table, unless it is there; says which."""
    data = event["data"]
    match event["eventType"]:
        case "Microsoft.Communication.SMSReceived":
            columns = ("from", "to", "message", "receivedTimestamp")
            new = insert(KEEP_TEXT, event["id"], *(data[column] for column in columns))
        case "Microsoft.Communication.SMSDeliveryReportReceived":
            columns = ("from", "to", "deliveryStatus", "deliveryStatusDetails", "receivedTimestamp")
            new = insert(KEEP_REPORT, event["id"], *(data[column] for column in columns))
        case other:
            return f"no use for {other}"
    return f"kept {event['id']}" if new else f"had {event['id']} already"


def insert(statement: str, *values: str) -> bool:
    """Inserts a row; whether it is new. When this returns, it is committed."""
    with closing(connect()) as connection:
        if DATABASE_URL.startswith("postgresql:"):
            statement = statement.replace("?", "%s")
        new = connection.execute(statement, values).rowcount == 1
        connection.commit()
        return new


def connect() -> Any:
    if DATABASE_URL.startswith("sqlite:"):
        return sqlite3.connect(DATABASE_URL.removeprefix("sqlite:"))
    import psycopg

    return psycopg.connect(DATABASE_URL)


class Webhook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            events = json.loads(body)
            # Before anything else Event Grid asks whether we want its events.
            if self.headers["aeg-event-type"] == "SubscriptionValidation":
                self.answer(200, {"validationResponse": events[0]["data"]["validationCode"]})
                return
            for event in events:
                print(keep(event), flush=True)
            self.answer(200)
        except (ValueError, KeyError, TypeError) as error:  # Not an event as we know it, nor will it become one.
            print(f"refused: {error!r}", flush=True)
            self.answer(400)
        except Exception as error:  # Whatever it was: we do not have the row, so we want to be told again.
            print(f"not kept: {error!r}", flush=True)
            self.answer(503)

    def answer(self, status: int, body: object = None) -> None:
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Silence: what was kept is printed above."""


def main() -> None:
    with closing(connect()) as connection:
        for table in TABLES.split(";")[:-1]:
            connection.execute(table)
        connection.commit()
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "0"))), Webhook)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
