# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keep what is learned of modules from one run to the next, in the environment of the tests alone.

Ansible parses a module and all that it imports, to find out what belongs into the archive that it hands to Python, once per module and
playbook run; and zipimport compiles each source of an archive, twice, once per task. Both together are half of the processor time of a
short task. Here the import statements and the bytecode are kept in the environment, named after the sum of the source. hack/venv puts
this file beside the environment's packages, with a .pth file that imports it at the start of each process.
"""

from __future__ import annotations

import os
import sys
import typing as t
import zipimport

_FOLDER = os.path.join(sys.prefix, "kept")
_PACKER = "ansible.executor.module_common"


def _kept(kind: str, source: bytes, make: t.Callable[[], bytes]) -> bytes:
    """What is kept of a source, or is made and kept now."""
    # Only processes that pack or run modules come here; all others start as fast as without this file.
    import contextlib
    import hashlib

    file = os.path.join(_FOLDER, f"{kind}-{hashlib.sha256(source).hexdigest()}")
    with contextlib.suppress(OSError), open(file, "rb") as stored:
        if found := stored.read():  # a power loss leaves an empty file
            return found
    made = make()
    scratch = f"{file}.{os.getpid()}"
    with contextlib.suppress(OSError):  # another user's environment
        os.makedirs(_FOLDER, exist_ok=True)
        with open(scratch, "wb") as stored:
            stored.write(made)
        os.replace(scratch, file)
    return made


def _bytecode(compile_source: t.Callable[[str, bytes], t.Any]) -> t.Callable[[str, bytes], t.Any]:
    asked: dict[str, t.Any] = {}  # zipimport asks twice: where the module is, and for its code

    def kept(path: str, source: bytes) -> t.Any:
        if path not in asked:
            import _imp
            import marshal

            code = _kept("code", source, lambda: marshal.dumps(compile_source(path, source)))
            asked[path] = marshal.loads(code)  # noqa: S302 - what is read was written here
            _imp._fix_co_filename(asked[path], path)  # each run has an archive of its own
        return asked[path]

    return kept


def _imports(source: str | bytes) -> bytes:
    """The import statements of a source. Those that are not at its top stand below a condition: they are optional to Ansible."""
    import ast

    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    below: list[ast.stmt] = [node for node in imports if node not in tree.body]
    body: list[ast.stmt] = [node for node in imports if node in tree.body]
    if below:
        body.append(ast.If(test=ast.Constant(value=True), body=below, orelse=[]))
    return b"%s\n" % ast.unparse(ast.fix_missing_locations(ast.Module(body=body, type_ignores=[]))).encode()  # never empty


class _Packer:
    """Finds Ansible's packer of modules once, for Python's import system, and has it ask for a source's imports alone."""

    def find_spec(self, name: str, path: t.Any, target: t.Any = None) -> t.Any:  # noqa: ARG002 - the interface
        if name != _PACKER:
            return None
        import importlib.util

        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module  # type: ignore[union-attr]

        def run_and_patch(packer: t.Any) -> None:
            run(packer)
            parse = packer._compile_module_ast

            def parse_imports(module: str, source: str | bytes) -> t.Any:
                try:
                    kept = _kept("imports", source if isinstance(source, bytes) else source.encode(), lambda: _imports(source))
                except (SyntaxError, ValueError):
                    return parse(module, source)  # says what is wrong
                return parse(module, kept)

            packer._compile_module_ast = parse_imports

        spec.loader.exec_module = run_and_patch  # type: ignore[union-attr, method-assign]
        return spec


zipimport._compile_source = _bytecode(zipimport._compile_source)
sys.meta_path.insert(0, _Packer())
