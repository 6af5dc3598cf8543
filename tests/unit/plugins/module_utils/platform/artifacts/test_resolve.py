# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.resolve import Mirror, artifacts, mirrored_image

ROOT = Path(__file__).resolve().parents[6]
SUM = "a" * 64


@pytest.fixture(scope="module")
def catalogue() -> dict[str, t.Any]:
    """The real one: what it says is tested too."""
    variables = yaml.safe_load((ROOT / "roles/platform/vars/main.yml").read_text())
    return t.cast("dict[str, t.Any]", variables["platform_catalogue"])


def test_upstream(catalogue: dict[str, t.Any]) -> None:
    found = artifacts(catalogue, {}, {}, {})
    istio = catalogue["versions"]["istio"]
    assert found["charts"]["istiod"] == {
        "name": "istiod",
        "ref": "istiod",
        "repository": "https://istio-release.storage.googleapis.com/charts",
        "version": istio,
        "plain_http": False,
        "sha256": None,
    }
    assert found["images"]["istio_pilot"] == f"docker.io/istio/pilot:{istio}"
    assert found["manifests"]["gateway_api"]["url"].startswith("https://github.com/kubernetes-sigs/gateway-api/releases/download/v")
    assert found["replacements"] == {}


def test_every_part_of_the_catalogue_resolves(catalogue: dict[str, t.Any]) -> None:
    found = artifacts(catalogue, {}, {}, {})
    assert [name for name, version in found["versions"].items() if not version] == []
    assert [name for name, image in found["images"].items() if not image or "{" in image] == []
    assert [name for name, one in found["manifests"].items() if "{" in one["url"]] == []
    assert [name for name, binary in found["binaries"].items() if not binary["files"]] == []


def test_versions_meet_what_kuadrant_needs(catalogue: dict[str, t.Any]) -> None:
    versions = {name: tuple(int(part) for part in value.split(".")) for name, value in artifacts(catalogue, {}, {}, {})["versions"].items()}
    assert versions["gateway_api"] >= (1, 4)
    assert versions["istio"] >= (1, 29)
    assert versions["kuadrant"] >= (1, 5, 2)


def test_a_mirror_takes_all(catalogue: dict[str, t.Any]) -> None:
    mirror = {"charts": "https://m/charts/", "manifests": "https://m/manifests", "images": "m:5000/llm/", "binaries": "https://m/bin"}
    found = artifacts(catalogue, {}, mirror, {})
    version = catalogue["versions"]["gateway_api"]
    assert {chart["repository"] for chart in found["charts"].values()} == {"https://m/charts"}
    assert found["manifests"]["gateway_api"]["url"] == f"https://m/manifests/gateway-api-{version}.yaml"
    assert all(image.startswith("m:5000/llm/") for image in found["images"].values())
    assert found["images"]["limitador"] == f"m:5000/llm/kuadrant/limitador:v{found['versions']['limitador']}"
    assert found["replacements"][f"quay.io/kuadrant/limitador:v{found['versions']['limitador']}"] == found["images"]["limitador"]
    urls = [file["url"] for binary in found["binaries"].values() for file in binary["files"].values()]
    assert all(url.startswith("https://m/bin/") for url in urls)


def test_a_mirror_of_charts_by_oci(catalogue: dict[str, t.Any]) -> None:
    chart = artifacts(catalogue, {}, {"charts": "oci://m:5000/charts", "plain_http": True}, {})["charts"]["istiod"]
    assert (chart["ref"], chart["repository"], chart["plain_http"]) == ("oci://m:5000/charts/istiod", None, True)


@pytest.mark.parametrize("base", ["/srv/manifests", "~/manifests", "./manifests"])
def test_manifests_from_a_folder(catalogue: dict[str, t.Any], base: str) -> None:
    manifest = artifacts(catalogue, {"gateway_api": "1.5.1"}, {"manifests": base}, {})["manifests"]["gateway_api"]
    assert (manifest["path"], manifest["url"]) == (f"{base}/gateway-api-1.5.1.yaml", None)


def test_checksums_are_of_the_published_file_or_of_the_bundle(catalogue: dict[str, t.Any]) -> None:
    def sum_of(mirror: dict[str, t.Any], digests: dict[str, t.Any]) -> str | None:
        return t.cast("str | None", artifacts(catalogue, {}, mirror, digests)["manifests"]["gateway_api"]["sha256"])

    published = sum_of({}, {})
    assert published is not None
    assert len(published) == 64
    assert sum_of({"manifests": "https://m"}, {}) is None
    assert sum_of({"manifests": "https://m"}, {"manifests": {"gateway_api": SUM}}) == SUM


def test_digests_name_images(catalogue: dict[str, t.Any]) -> None:
    found = artifacts(catalogue, {}, {"images": "m"}, {"images": {"limitador": f"sha256:{SUM}"}})
    assert found["images"]["limitador"] == f"m/kuadrant/limitador@sha256:{SUM}"
    assert found["images"]["authorino"].startswith("m/kuadrant/authorino:v")


def test_a_release_that_is_not_listed_leaves_its_parts_open(catalogue: dict[str, t.Any]) -> None:
    found = artifacts(catalogue, {"kuadrant": "v9.9.9", "limitador": "2.4.0"}, {}, {})
    assert found["charts"]["kuadrant_operator"]["version"] == "9.9.9"
    assert found["images"]["authorino"] is None
    assert found["images"]["limitador"] == "quay.io/kuadrant/limitador:v2.4.0"


@pytest.mark.parametrize(
    ("versions", "mirror", "digests", "message"),
    [
        pytest.param({"istoi": "1.29.1"}, {}, {}, "llm_gateway_versions: there is no part called 'istoi'", id="unknown part"),
        pytest.param({"istio": "latest"}, {}, {}, "llm_gateway_versions.istio: 'latest' is not a version", id="not a version"),
        pytest.param(
            {"istio": 1.29}, {}, {}, "llm_gateway_versions.istio: 1.29 was read as a number; put the version in quotes", id="number"
        ),
        pytest.param("1.29.1", {}, {}, "llm_gateway_versions: '1.29.1' is not a dictionary", id="not a dictionary"),
        pytest.param({}, {"image": "m"}, {}, "llm_gateway_mirror: there is no key 'image'", id="unknown key"),
        pytest.param({}, {"charts": "m/charts"}, {}, "llm_gateway_mirror.charts: 'm/charts' is not an http", id="charts without a scheme"),
        pytest.param(
            {}, {"images": "https://m"}, {}, "llm_gateway_mirror.images: 'https://m' is not a registry", id="registry with a scheme"
        ),
        pytest.param({}, {"plain_http": "yes"}, {}, "llm_gateway_mirror.plain_http: 'yes' is not true or false", id="not a boolean"),
        pytest.param({}, {}, {"image": {}}, "llm_gateway_digests: there is no section 'image'", id="unknown section"),
        pytest.param(
            {}, {}, {"images": {"limitador": "abc"}}, "llm_gateway_digests.images.limitador: 'abc' is not a SHA-256", id="bad sum"
        ),
    ],
)
def test_refuses(catalogue: dict[str, t.Any], versions: t.Any, mirror: t.Any, digests: t.Any, message: str) -> None:
    with pytest.raises(GatewayError) as refused:
        artifacts(catalogue, versions, mirror, digests)
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("image", "result"),
    [
        ("quay.io/kuadrant/limitador:v1", "m/kuadrant/limitador:v1"),
        ("localhost/x:1", "m/x:1"),
        ("127.0.0.1:5000/a/b@sha256:0", "m/a/b@sha256:0"),
        ("istio/pilot:1", "m/istio/pilot:1"),
        ("redis:7", "m/library/redis:7"),
    ],
)
def test_mirrored_image(image: str, result: str) -> None:
    assert mirrored_image(image, Mirror(images="m")) == result
    assert mirrored_image(image, Mirror()) == image
