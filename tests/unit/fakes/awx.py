# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""As much of AWX's API as the modules of awx.awx need to make things: lists that are filtered, objects, what is associated with them."""

from __future__ import annotations

import http.server
import json
import threading
import typing as t
import urllib.parse

Item = dict[str, t.Any]
# What an object leads to, where the client asks for it by the link.
LINKS = ("labels", "credentials", "survey_spec", "create_approval_template", "success_nodes", "instance_groups", "galaxy_credentials")


class FakeAwx:
    """Objects by kind (``job_templates``) and number; ``related`` by the path of the link; ``writes`` are all that changed something."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[int, Item]] = {"organizations": {1: {"id": 1, "name": "Default", "url": "/api/v2/organizations/1/"}}}
        self.related: dict[str, t.Any] = {}
        self.writes: list[str] = []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urllib.parse.urlsplit(self.path)
                self.answer(*fake.get(url.path, dict(urllib.parse.parse_qsl(url.query))))

            def do_POST(self) -> None:
                self.answer(*fake.post(self.path, self.body()))

            def do_PATCH(self) -> None:
                self.answer(*fake.patch(self.path, self.body()))

            def body(self) -> Item:
                return t.cast("Item", json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}"))

            def answer(self, status: int, content: t.Any) -> None:
                text = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: t.Any) -> None:  # noqa: A002
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def named(self, kind: str) -> dict[str, Item]:
        return {str(item.get("name") or item.get("identifier")): item for item in self.objects.get(kind, {}).values()}

    def get(self, path: str, query: dict[str, str]) -> tuple[int, t.Any]:
        kind, *rest = path.removeprefix("/api/v2/").strip("/").split("/")
        if len(rest) == 1:
            found = self.objects.get(kind, {}).get(int(rest[0]))
            return (200, found) if found else (404, {"detail": "Not found."})
        if rest and rest[1] == "survey_spec":
            return 200, self.related.get(path, {})
        if rest:
            return 200, self.listed(self.related.get(path, []))
        kinds = ["job_templates", "workflow_job_templates"] if kind == "unified_job_templates" else [kind]
        items = [item for one in kinds for item in self.objects.get(one, {}).values()]
        known = {name: value for name, value in query.items() if name not in ("type", "page_size")}
        return 200, self.listed([item for item in items if all(str(item.get(name)) == value for name, value in known.items())])

    @staticmethod
    def listed(items: list[Item]) -> Item:
        return {"count": len(items), "results": items, "next": None}

    def post(self, path: str, body: Item) -> tuple[int, t.Any]:
        kind, *rest = path.removeprefix("/api/v2/").strip("/").split("/")
        if rest and rest[1] == "survey_spec":
            if self.related.get(path) != body:
                self.writes.append(path)
            self.related[path] = body
            return 200, {}
        if rest and rest[1] != "create_approval_template":
            self.writes.append(path)
            self.related.setdefault(path, []).append({"id": body["id"]})
            return 204, {}
        made = self.made("workflow_approval_templates" if rest else kind, body)
        if rest:
            node = self.objects[kind][int(rest[0])]
            node["related"]["unified_job_template"] = made["url"]
            node["unified_job_template"] = made["id"]
        return 201, made

    def made(self, kind: str, body: Item) -> Item:
        number = sum(map(len, self.objects.values())) + 1
        url = f"/api/v2/{kind}/{number}/"
        item = {**body, "id": number, "url": url, "type": kind.removesuffix("s"), "related": {link: f"{url}{link}/" for link in LINKS}}
        if kind == "projects":
            item |= {"scm_revision": "1", "status": "successful", "summary_fields": {}}
        self.objects.setdefault(kind, {})[number] = item
        self.writes.append(url)
        return item

    def patch(self, path: str, body: Item) -> tuple[int, t.Any]:
        kind, number = path.removeprefix("/api/v2/").strip("/").split("/")
        self.writes.append(path)
        self.objects[kind][int(number)] |= body
        return 200, self.objects[kind][int(number)]
