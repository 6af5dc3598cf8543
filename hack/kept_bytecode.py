# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keep the bytecode of modules, in the environment of the tests alone.

Ansible gives a module to Python as an archive of sources, and zipimport compiles each of them on every run, twice: a third of the
processor time of a task. Here the bytecode is kept in the environment, named after the sum of its source. hack/venv puts this file
beside the environment's packages, with a .pth file that imports it at the start of each process.
"""

from __future__ import annotations

import contextlib
import os
import sys
import typing as t
import zipimport

_FOLDER = os.path.join(sys.prefix, "bytecode")


def _keep(compile_source: t.Callable[[str, bytes], t.Any]) -> t.Callable[[str, bytes], t.Any]:
    asked: dict[str, t.Any] = {}  # zipimport asks twice: where the module is, and for its code

    def kept(path: str, source: bytes) -> t.Any:
        if path not in asked:
            asked[path] = _kept(path, source, compile_source)
        return asked[path]

    return kept


def _kept(path: str, source: bytes, compile_source: t.Callable[[str, bytes], t.Any]) -> t.Any:
    # Only processes that run modules come here; all others start as fast as without this file.
    import _imp
    import hashlib
    import marshal

    file = os.path.join(_FOLDER, hashlib.sha256(source).hexdigest())
    try:
        with open(file, "rb") as stored:
            code = marshal.load(stored)  # noqa: S302 - what is read was written below
    except (OSError, EOFError, ValueError):
        code = compile_source(path, source)
        scratch = f"{file}.{os.getpid()}"
        with contextlib.suppress(OSError):  # another user's environment
            os.makedirs(_FOLDER, exist_ok=True)
            with open(scratch, "wb") as stored:
                marshal.dump(code, stored)
            os.replace(scratch, file)
    else:
        _imp._fix_co_filename(code, path)  # each run has an archive of its own
    return code


zipimport._compile_source = _keep(zipimport._compile_source)
