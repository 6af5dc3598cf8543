# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``GET /healthz``: 200 while every watch is alive, 503 otherwise; the body says which is not."""

from __future__ import annotations

import http.server
import threading
import typing as t

# Names of the watches, each with whether it is alive.
Watches = t.Callable[[], dict[str, bool]]


def serve(port: int, watches: Watches) -> None:
    """Serve on loopback in a daemon thread. :raises OSError: if the port is taken."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/healthz":
                self.send_error(404)
                return
            state = watches()
            body = "".join(f"{name} {'ok' if alive else 'lost'}\n" for name, alive in sorted(state.items())).encode()
            self.send_response(200 if all(state.values()) else 503)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class'
            """Quiet: a health check is not a change."""

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=httpd.serve_forever, name="health", daemon=True).start()
