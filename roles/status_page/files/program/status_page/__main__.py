# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``python -m status_page SETTINGS``: a JSON file with ``listen``, ``page``, and in ``*_token_file`` where tokens are."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import uvicorn

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._status.options import parse_settings
from ansible_collections.kuadrant.llm.plugins.module_utils._status.read import GatewayParts
from status_page.app import make_app

# An operator's token is not to be guessed.
_SHORTEST = 24


def main() -> None:
    parser = argparse.ArgumentParser(prog="status_page", description="Serve the status page of an LLM gateway.")
    parser.add_argument("settings", type=Path, help="JSON file that role status_page writes")
    told = json.loads(parser.parse_args().settings.read_text(encoding="utf-8"))
    listen = told["listen"]
    try:
        token = read_token(told.get("operator_token_file"))
        if token and len(token) < _SHORTEST:
            raise GatewayError(
                f"{told['operator_token_file']}: a token of less than {_SHORTEST} characters can be guessed. Make another one."
            )
        page = {**told["page"], "prometheus_token": read_token(told.get("prometheus_token_file")) or None}
        app = make_app(
            GatewayParts(parse_settings(page)),
            token,
            hosts=listen["hosts"],
            secure=listen["secure"],
            streams=listen["streams"],
            interval=listen["interval"],
        )
    except GatewayError as exc:
        sys.exit(f"status_page: {exc.message}")
    uvicorn.run(
        app,
        host=listen["address"],
        port=listen["port"],
        server_header=False,
        access_log=False,
        proxy_headers=False,
        log_level="warning",
        # Beside the streams: pages that load, and probes.
        limit_concurrency=listen["streams"] + 32,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=16_384,
    )


def read_token(path: str | None) -> str:
    """Empty without a file."""
    return Path(path).read_text(encoding="utf-8").strip() if path else ""


if __name__ == "__main__":
    main()
