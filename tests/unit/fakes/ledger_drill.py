# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A ledger to tamper with."""

from __future__ import annotations

import hashlib
import json
import pathlib
import typing as t

from ansible_collections.kuadrant.llm.plugins.modules import chargeback, usage_ledger, usage_ledger_info

Run = t.Callable[..., dict[str, t.Any]]
Result = dict[str, t.Any]

PERIOD = {"start": "1970-01-01T00:00:00Z", "end": "1970-01-01T03:00:00Z"}
TIERS = [{"name": "free", "price": {"request": "1"}}]


class Drill:
    """A ledger of three hours, and its anchor beside it."""

    def __init__(self, run: Run, url: str, folder: pathlib.Path) -> None:
        self.run, self.url, self.ledger, self.anchor = run, url, folder / "ledger", folder / "safe" / "head.json"
        self.anchor.parent.mkdir()

    def close(self, end: str = "03", **more: t.Any) -> Result:
        hours = {"start": PERIOD["start"], "end": f"1970-01-01T{end}:00:00Z"}
        options = {"ledger_dir": str(self.ledger), "ledger_anchor": str(self.anchor), "period": "hour", **hours, **more}
        return self.run(usage_ledger.main, prometheus_url=self.url, **options)

    def bill(self, *, anchored: bool = True, **more: t.Any) -> Result:
        anchor = {"ledger_anchor": str(self.anchor)} if anchored else {}
        return self.run(chargeback.main, ledger_dir=str(self.ledger), tiers=TIERS, **{**PERIOD, **anchor, **more})

    @property
    def files(self) -> list[pathlib.Path]:
        return sorted(self.ledger.rglob("*.jsonl"))

    def rewrite(self, number: int, *, until: int) -> None:
        """Halve what one file has, and make every hash right again up to another file."""
        before: str | None = None
        for path in self.files[number:until]:
            lines = []
            for line in path.read_text().splitlines():
                record = json.loads(line)
                del record["sha256"]
                if path == self.files[number]:
                    if "totals" in record:
                        record["totals"]["exact"] = {
                            meter: [who, [count // 2 for count in counts]] for meter, (who, counts) in record["totals"]["exact"].items()
                        }
                    else:
                        record["lower"] = record["upper"] = record["upper"] // 2
                record["prev"] = before or record["prev"]
                body = json.dumps(record, sort_keys=True, separators=(",", ":"))[:-1]
                before = hashlib.sha256(body.encode()).hexdigest()
                lines.append(f'{body},"sha256":"{before}"}}\n')
            path.write_text("".join(lines))

    def info(self, **more: t.Any) -> Result:
        return self.run(usage_ledger_info.main, ledger_dir=str(self.ledger), **more)

    def rewrite_step(self, number: int, **changes: t.Any) -> None:
        """Change the record of a step, the last file, and make its hash right again."""
        path = self.files[number]
        record = {**json.loads(path.read_text()), **changes}
        del record["sha256"]
        body = json.dumps(record, sort_keys=True, separators=(",", ":"))[:-1]
        path.write_text(f'{body},"sha256":"{hashlib.sha256(body.encode()).hexdigest()}"}}\n')
