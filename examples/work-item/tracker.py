"""An issue tracker to try things with: Roundup, with a user `webhook` who may make work items.

It serves on this machine only, in the way its manual describes for WSGI servers, and prints its address when it is
ready. The folder is made the first time; a second start in the same folder goes on with what is in it.

    tracker.py FOLDER PASSWORD [PORT]
"""

import contextlib
import io
import sys
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from roundup.admin import AdminTool
from roundup.cgi.wsgi_handler import RequestDispatcher


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Silence."""


def make_tracker(folder: Path, url: str, password: str) -> None:
    admin("-i", folder, "install", "classic", "sqlite", f"tracker_web={url},mail_domain=example.org,mail_host=localhost")
    admin("-i", folder, "initialise", password)
    admin("-i", folder, "create", "user", "username=webhook", f"password={password}", "roles=User")


def admin(*words: object) -> None:
    """What the command `roundup-admin` does."""
    sys.argv = ["roundup-admin", *map(str, words)]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        failed = AdminTool().main()
    if failed:
        sys.exit(said.getvalue())


def main() -> None:
    folder, password = Path(sys.argv[1]), sys.argv[2]
    port = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    server = make_server("127.0.0.1", port, None, Server, Quiet)
    url = f"http://127.0.0.1:{server.server_port}/"
    if not folder.exists():
        folder.mkdir()
        make_tracker(folder, url, password)
    server.set_app(RequestDispatcher(str(folder)))
    print(url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
