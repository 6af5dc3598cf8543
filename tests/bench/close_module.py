# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One close in this process, with what it cost: close_module.py URL LEDGER START END (seconds). Used by close.py."""

from __future__ import annotations

import json
import resource
import sys
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.options import Trust
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.read import read_period
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.run import parse_close_request, run
from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import Prometheus
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.targets import REPLICA_LABELS

if t.TYPE_CHECKING:
    import requests


class Counting(Prometheus):
    """Has the server tell how many samples each query touched."""

    queries = 0
    most: tuple[int, int, str] = (0, 0, "")

    def __init__(self, url: str) -> None:
        super().__init__(url, timeout=60)
        self._session.params = {"stats": "all"}

    def _read(self, response: requests.Response, expression: str) -> t.Any:
        data = super()._read(response, expression)
        self.queries += 1
        if isinstance(data, dict) and "stats" in data:
            samples = data["stats"]["samples"]
            self.most = max(self.most, (samples["totalQueryableSamples"], samples["peakSamples"], expression))
        return data


def main() -> None:
    url, ledger, start, end = sys.argv[1:]
    params = {
        "ledger_dir": ledger,
        "period": "day",
        "start": format_time(int(start) * 1000),
        "end": format_time(int(end) * 1000),
        "delay": "5m",
        "close_unscraped": False,
        "limitador_namespace": [],
        "match_labels": {},
        "model_server_labels": {},
        "observer_labels": list(REPLICA_LABELS),
        "family": "auto",
    }
    client = Counting(url)
    sums = {"requests": 0, "tokens": 0}
    result = run(parse_close_request(params, Trust()), client, dry_run=False)
    for line in read_period(ledger, int(start) * 1000, int(end) * 1000).lines:
        sums["requests" if line.meter == "requests" else "tokens"] += line.quantity.lower
    (close,) = result["closes"]
    touched, peak, expression = client.most
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "action": close["action"],
        "lines": close["lines"],
        "sums": sums,
        "queries": client.queries,
        "largest_query_samples": touched,
        "largest_query_peak_samples": peak,
        "largest_query": expression,
        "peak_mib": used.ru_maxrss / 1024,
        "client_cpu_s": used.ru_utime + used.ru_stime,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
