# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of module api_key in a process of its own, for keys.py: options on standard input, result and figures on standard output.

The argument is the parent's monotonic clock when it started this process: the seconds count from there.
"""

from __future__ import annotations

import collections
import contextlib
import io
import json
import resource
import sys
import threading
import time
import typing as t

import urllib3
from ansible.module_utils.testing import patch_module_args

from ansible_collections.kuadrant.llm.plugins.modules import api_key


def main() -> None:
    options = json.load(sys.stdin)
    methods: collections.Counter[str] = collections.Counter()
    lock, send = threading.Lock(), urllib3.PoolManager.request

    def counted(pool: urllib3.PoolManager, method: str, *arguments: t.Any, **more: t.Any) -> t.Any:
        with lock:
            methods[method] += 1
        return send(pool, method, *arguments, **more)

    urllib3.PoolManager.request = counted  # type: ignore[method-assign, assignment]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit), patch_module_args(options):
        api_key.main()
    seconds = time.monotonic() - float(sys.argv[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # before what follows, which is not the module's
    result = json.loads(printed.getvalue())
    result.pop("invocation", None)
    print(json.dumps({"result": result, "requests": methods, "seconds": seconds, "peak_mib": round(peak, 1)}))


if __name__ == "__main__":
    main()
