# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The folder of a stack of processes: its folders, links, files and secrets, planned as a whole and then written.

Nothing here decides what a file holds; the caller renders it. A file that holds :data:`TOKEN` gets the administrator's token in its place,
one that holds ``@TOKEN:user@`` that of another account, and neither a token nor such a file is ever shown.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import stat
import string
import typing as t
from pathlib import Path

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

TOKEN = "@TOKEN@"  # noqa: S105  the place of the token, not a token

_LETTERS = string.ascii_letters + string.digits

Map: t.TypeAlias = t.Mapping[str, t.Any]
#: Arguments and working folder to (return code, standard output, standard error).
Run: t.TypeAlias = t.Callable[[list[str], str | None], tuple[int, str, str]]


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as it is to be. ``before`` and ``after`` are what a diff shows, ``carry_out`` does it."""

    path: Path
    before: str
    after: str
    carry_out: t.Callable[[], None]


def plan(params: Map, run: Run) -> list[Change]:
    """What has to be done, in the order in which to do it: folders, links, what is issued once, files.

    ``params``: ``directories`` (paths), ``links`` (``{path, target}``), ``issued`` (``{path, argv, chdir}``), ``token`` (path or None),
    ``accounts`` (``{user, group}``, who has a token beside the administrator) and ``files`` (``{path, content, mode, keep}``, the mode as
    octal digits). Raises GatewayError for what is in the way.
    """
    changes = [change for path in params["directories"] for change in _directory(Path(path))]
    changes += [change for link in params["links"] for change in _link(Path(link["path"]), str(link["target"]))]
    changes += [change for entry in params["issued"] for change in _issued(entry, run)]
    tokens: dict[str, str] = {}
    if params["token"]:
        path, accounts = Path(params["token"]), [("admin", "system:masters"), *((one["user"], one["group"]) for one in params["accounts"])]
        found = _tokens(path)
        tokens = {user: found.get(user) or "".join(secrets.choice(_LETTERS) for _position in range(48)) for user, _group in accounts}
        if set(tokens) != set(found):
            text = "".join(f"{tokens[user]},{user},{user},{group}\n" for user, group in accounts)
            changes.append(_written(path, text, 0o600, *(", ".join(users) + "\n" if users else "" for users in (found, tokens))))
    for entry in params["files"]:
        changes += _file(entry, {TOKEN if user == "admin" else f"@TOKEN:{user}@": token for user, token in tokens.items()})
    return changes


def _directory(path: Path, mode: int = 0o700) -> t.Iterator[Change]:
    if not path.exists():

        def make() -> None:
            path.mkdir(mode=mode, parents=True, exist_ok=True)
            path.chmod(mode)

        yield Change(path, "", f"folder, mode {mode:04o}\n", make)
    elif not path.is_dir():
        raise GatewayError(f"{path} is to be a folder and is a file. Remove it, or choose another folder for the stack.")
    elif (found := stat.S_IMODE(path.stat().st_mode)) != mode:
        yield Change(path, f"folder, mode {found:04o}\n", f"folder, mode {mode:04o}\n", lambda: path.chmod(mode))


def _link(path: Path, target: str) -> t.Iterator[Change]:
    found = str(path.readlink()) if path.is_symlink() else None
    if found == target:
        return
    if found is None and path.exists():
        raise GatewayError(f"{path} is to be a link to {target} and is a file or a folder. Remove it.")

    def link() -> None:
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    yield Change(path, f"link to {found}\n" if found else "", f"link to {target}\n", link)


def _issued(entry: Map, run: Run) -> t.Iterator[Change]:
    path = Path(entry["path"])
    if path.exists():
        return

    def issue() -> None:
        code, out, err = run(list(entry["argv"]), entry.get("chdir"))
        if code:
            raise GatewayError(f"Failed to create {path}: {entry['argv'][0]} ended with {code}: {(err or out).strip()[-500:]}.")

    yield Change(path, "", f"created by {Path(entry['argv'][0]).name}\n", issue)


def _tokens(path: Path) -> dict[str, str]:
    """User to token, as a file of the API server has them (``token,user,uid,groups``); none if there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {line.split(",")[1]: line.split(",")[0] for line in lines if line.count(",") >= 2}


def _file(entry: Map, places: t.Mapping[str, str]) -> t.Iterator[Change]:
    path, content, mode = Path(entry["path"]), str(entry["content"]), int(str(entry["mode"]), 8)
    if entry["keep"] and path.exists():
        return
    if TOKEN in content and TOKEN not in places:
        raise GatewayError(f"{path} needs the administrator's token, and no file of it is given.")
    secret = any(place in content for place in places)
    for place, token in places.items():
        content = content.replace(place, token)
    found = path.read_text(encoding="utf-8") if path.exists() else None
    if found != content:
        yield _written(path, content, mode, *(("", "hidden\n") if secret else (found or "", content)))
    elif (actual := stat.S_IMODE(path.stat().st_mode)) != mode:
        yield Change(path, f"mode {actual:04o}\n", f"mode {mode:04o}\n", lambda: path.chmod(mode))


def _written(path: Path, content: str, mode: int, before: str, after: str) -> Change:
    """The whole file at once: a process that reads it while it is replaced sees the old or the new one."""

    def write() -> None:
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
        partial.replace(path)

    return Change(path, before, after, write)
