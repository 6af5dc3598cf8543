# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Fetch what a bundle consists of, keep it in a folder, load it into a mirror. Tests give functions in place of programs and network."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import typing as t
from pathlib import Path

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.bundle import (
    bundle_document,
    bundle_images,
    chart_file,
    chart_images,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.manifest import parse
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.resolve import Mirror, mirrored_image, repository_of
from ansible_collections.kuadrant.llm.plugins.module_utils._result import Changes

Map: t.TypeAlias = t.Mapping[str, t.Any]
#: Arguments to (return code, standard output, standard error).
Run: t.TypeAlias = t.Callable[[list[str]], tuple[int, str, str]]
#: Address to content; raises GatewayError.
Download: t.TypeAlias = t.Callable[[str], bytes]

_LOGIN = "Log in to the registry, correct the version (llm_gateway_versions), or name the mirror to pull from (llm_gateway_mirror)."


@dataclasses.dataclass(frozen=True, slots=True)
class ImageTool:
    """crane or skopeo, by the name of the program; ``plain_http`` also accepts certificates of unknown authorities."""

    program: str
    plain_http: bool = False

    @property
    def _skopeo(self) -> bool:
        return Path(self.program).name.startswith("skopeo")

    def digest(self, image: str) -> list[str]:
        if self._skopeo:
            return [self.program, "inspect", "--format", "{{.Digest}}", *self._tls("--tls-verify=false"), f"docker://{image}"]
        return [self.program, "digest", image, *self._tls("--insecure")]

    def pull(self, image: str, folder: Path) -> list[str]:
        """All platforms of it, as an OCI layout, which keeps the digest."""
        if self._skopeo:
            return [self.program, "copy", "--all", *self._tls("--src-tls-verify=false"), f"docker://{image}", f"oci:{folder}"]
        return [self.program, "pull", "--format=oci", image, str(folder), *self._tls("--insecure")]

    def push(self, folder: Path, image: str) -> list[str]:
        if self._skopeo:
            return [self.program, "copy", "--all", *self._tls("--dest-tls-verify=false"), f"oci:{folder}", f"docker://{image}"]
        return [self.program, "push", str(folder), image, *self._tls("--insecure")]

    def _tls(self, option: str) -> list[str]:
        return [option] if self.plain_http else []


@dataclasses.dataclass(slots=True)
class Collector:
    """``artifacts`` say where from, ``upstream`` what it is called; ``work`` is a scratch folder."""

    artifacts: Map
    upstream: Map
    source: Mirror
    helm: str
    tool: ImageTool | None
    run: Run
    download: Download
    work: Path
    check: bool
    changes: Changes = dataclasses.field(default_factory=Changes)

    # --- reading

    def collect(self, parts: Map, optional: str, extra: t.Iterable[str]) -> dict[str, t.Any]:
        """Fetch charts and manifests, ask for digests, and return bundle.json."""
        charts = {key: self._chart(key) for key in parts["charts"]}
        manifests = {key: self._manifest(key) for key in parts["manifests"]}
        named = [image for key in parts["charts"] for image in self._images_of(key, optional)]
        images = [
            {**entry, "sha256": self._digest(entry["source"]) if self.tool else None}
            for entry in bundle_images(self.upstream, self.source, parts["images"], named, extra)
        ]
        return bundle_document(self.upstream, charts, manifests, images, parts["binaries"])

    def _chart(self, key: str) -> str:
        chart = self.artifacts["charts"][key]
        command = [self.helm, "pull", chart["ref"], "--version", chart["version"], "--destination", str(self.work)]
        command += ["--repo", chart["repository"]] if chart["repository"] else []
        command += ["--plain-http"] if chart["plain_http"] else []
        where = chart["repository"] or chart["ref"]
        self._must(command, f"pull chart {chart['name']} {chart['version']} from {where}", _LOGIN)
        return _sum(self.work / chart_file(chart))

    def _images_of(self, key: str, optional: str) -> list[str]:
        chart = self.artifacts["charts"][key]
        command = [self.helm, "template", chart["name"], str(self.work / chart_file(chart))]
        rendered = self._must(command, f"render chart {chart['name']}", "See whether the chart fits this Helm.")
        return chart_images(parse(rendered), optional)

    def _manifest(self, key: str) -> str:
        manifest = self.artifacts["manifests"][key]
        try:
            content = self.download(manifest["url"]) if manifest["url"] else Path(manifest["path"]).expanduser().read_bytes()
        except OSError as exc:
            raise GatewayError(f"Failed to read manifest {manifest['path']}: {exc.strerror}. {_LOGIN}") from exc
        found = hashlib.sha256(content).hexdigest()
        if manifest["sha256"] not in (None, found):
            raise GatewayError(
                f"Manifest {manifest['url'] or manifest['path']} has the SHA-256 sum {found}, not {manifest['sha256']}. "
                "It is not what was published: find out why before you use it."
            )
        (self.work / manifest["file"]).write_bytes(content)
        return found

    def _digest(self, image: str) -> str:
        if self.tool is None:  # the caller asked
            raise ValueError("no tool for images")
        said = self._must(self.tool.digest(image), f"ask for the digest of {image}", _LOGIN)
        return said.strip().removeprefix("sha256:")

    # --- keeping

    def keep(self, folder: Path, document: Map) -> None:
        """Write everything into ``folder``: what is there with the same sum stays."""
        for entry in (*document["charts"].values(), *document["manifests"].values()):
            self._place(folder / entry["file"], (self.work / Path(entry["file"]).name).read_bytes)
        for image in document["images"].values():
            self._keep_image(folder, image)
        for key, binary in document["binaries"].items():
            for platform, file in binary["files"].items():
                self._keep_binary(folder / "binaries" / file["url"].rsplit("/", 1)[1], key, platform, file["sha256"])
        text = json.dumps(document, indent=2, sort_keys=True) + "\n"
        self._place(folder / "bundle.json", text.encode)

    def _keep_image(self, folder: Path, image: Map) -> None:
        target = image_folder(folder, image)
        if (target / "index.json").exists():
            return
        self.changes.record(str(target), None, image["reference"])
        if not self.check and self.tool is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            repository = mirrored_image(image["reference"], self.source)
            self._must(self.tool.pull(_pinned(repository, image["sha256"]), partial), f"pull image {repository}", _LOGIN)
            partial.rename(target)

    def _keep_binary(self, target: Path, key: str, platform: str, sha256: str) -> None:
        if target.exists() and _sum(target) == sha256:
            return
        self.changes.record(str(target), _sum(target) if target.exists() else None, sha256)
        if self.check:
            return
        url = self.artifacts["binaries"][key]["files"][platform]["url"]
        content = self.download(url)
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise GatewayError(
                f"{url} has the SHA-256 sum {found}, not {sha256}: it is not what was published. Find out why before you use it."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def _place(self, target: Path, content: t.Callable[[], bytes]) -> None:
        wanted = content()
        before = _sum(target) if target.exists() else None
        if self.changes.record(str(target), before, hashlib.sha256(wanted).hexdigest()) and not self.check:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(wanted)

    # --- loading

    def push(self, target: Mirror, document: Map, folder: Path) -> None:
        """Load charts, images and manifests into the mirror: what it has already with the same digest stays."""
        if target.images:
            for image in document["images"].values():
                self._push_image(target, image, folder)
        if target.charts:
            for chart in document["charts"].values():
                self._push_chart(target, chart)
        if target.manifests:
            for manifest in document["manifests"].values():
                name = Path(manifest["file"]).name
                self._place(Path(target.manifests).expanduser() / name, (self.work / name).read_bytes)

    def _push_image(self, target: Mirror, image: Map, folder: Path) -> None:
        if self.tool is None:  # the module refuses without one
            raise ValueError("no tool for images")
        tool = dataclasses.replace(self.tool, plain_http=target.plain_http)
        reference = mirrored_image(image["reference"], target)
        code, said, _error = self.run(tool.digest(reference))
        there = said.strip().removeprefix("sha256:") if code == 0 else None
        if self.changes.record(reference, there, image["sha256"]) and not self.check:
            self._keep_image(folder, image)
            self._must(tool.push(image_folder(folder, image), reference), f"push image {reference}", "Log in to the mirror's registry.")
            pushed = self._must(tool.digest(reference), f"ask for the digest of {reference}", "Look at the mirror's registry.")
            if pushed.strip().removeprefix("sha256:") != image["sha256"]:
                raise GatewayError(
                    f"Image {reference} arrived with digest {pushed.strip()}, not sha256:{image['sha256']}. "
                    "The mirror rewrites images: use one that keeps them as they are, or install without digests."
                )

    def _push_chart(self, target: Mirror, chart: Map) -> None:
        reference = f"{target.charts}/{chart['name']}"
        plain = ["--plain-http"] if target.plain_http else []
        there = None
        probe = self.work / "there"
        probe.mkdir(exist_ok=True)
        code, _said, _error = self.run([self.helm, "pull", reference, "--version", chart["version"], "--destination", str(probe), *plain])
        if code == 0:
            there = _sum(probe / Path(chart["file"]).name)
        if self.changes.record(f"{reference}:{chart['version']}", there, chart["sha256"]) and not self.check:
            archive = self.work / Path(chart["file"]).name
            self._must(
                [self.helm, "push", str(archive), target.charts, *plain], f"push chart {reference}", "Log in to the mirror's registry."
            )

    def _must(self, command: list[str], action: str, remedy: str) -> str:
        code, said, error = self.run(command)
        if code != 0:
            told = " ".join((error.strip() or said.strip() or f"exit code {code}").split())
            raise GatewayError(f"Failed to {action}: {told[-600:].rstrip('.')}. {remedy}")
        return said


def image_folder(folder: Path, image: Map) -> Path:
    """Named by its digest, so that two names of one image take the space of one."""
    return folder / "images" / f"sha256-{image['sha256']}"


def _pinned(reference: str, sha256: str) -> str:
    return f"{repository_of(reference)}@sha256:{sha256}"


def _sum(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
