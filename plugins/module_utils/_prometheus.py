# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""A small client of the Prometheus HTTP API (https://prometheus.io/docs/prometheus/latest/querying/api/)."""

from __future__ import annotations

import dataclasses
import traceback
import typing as t

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

try:
    import requests
except ImportError:
    HAS_REQUESTS = False
    REQUESTS_ERROR = traceback.format_exc()
else:
    HAS_REQUESTS = True
    REQUESTS_ERROR = ""

# One answer of this many samples is some tens of MB of JSON, and far below --query.max-samples (50 million).
_SAMPLES_PER_QUERY = 500_000
_EXCERPT = 300
# So often is asked which server answers before the first figures are read.
_ASKED_AT_FIRST = 11


@dataclasses.dataclass(frozen=True)
class RawSeries:
    """One series as scraped: (milliseconds since the epoch, value as the server writes it), oldest first."""

    labels: dict[str, str]
    samples: tuple[tuple[int, str], ...]


def seconds(ms: int) -> str:
    """Milliseconds as the API's decimal seconds, without a detour through binary fractions."""
    return f"{ms // 1000}.{ms % 1000:03d}"


def narrowed(selector: str, *matchers: str) -> str:
    """``selector``, which ends with its matchers in braces, with more of them."""
    if not matchers:
        return selector
    comma = "" if selector.endswith("{}") else ","
    return f"{selector[:-1]}{comma}{','.join(matchers)}}}"


class Prometheus:
    """Queries by POST, so that their length does not matter.

    ``warnings`` collects what the server warned about; ``infos`` are ignored, because the server sends one for every counter whose name
    does not end in ``_total``, which is all of Limitador's.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        ca_cert: str | None = None,
        validate_certs: bool = True,
        timeout: float = 30,
        samples_per_query: int = _SAMPLES_PER_QUERY,
    ) -> None:
        if not HAS_REQUESTS:
            raise GatewayError(missing_required_lib("requests"), exception=REQUESTS_ERROR)
        if not url.startswith(("http://", "https://")):
            raise GatewayError(f"{url!r} is not the URL of a Prometheus. Give one such as http://127.0.0.1:9090")
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.samples_per_query = samples_per_query
        self.warnings: list[str] = []
        self._servers: set[tuple[str, str]] = set()
        self._session = requests.Session()
        self._session.verify = (ca_cert or True) if validate_certs else False
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def now_ms(self) -> int:
        """The server's own clock: the timestamps of its samples come from it, not from ours."""
        answer = self._query("time()", None)
        return round(float(answer["result"][1]) * 1000)

    def retention(self) -> str | None:
        """How long the server keeps samples, in its own words (``15d``, ``15d or 10GiB``); None if it does not say so."""
        kept = self._runtime().get("storageRetention")
        return str(kept) if kept else None

    def check_one_server(self) -> None:
        """Raises GatewayError if answers come from more than one server, as through an address before two.

        Their samples do not fit together. A server is told by the start of its process and its name; one that keeps no samples itself, such
        as Thanos' querier, answers as any other of its kind, and does not count. Asked so often at first that two are missed once in a
        thousand times, and then once each time.
        """
        for _question in range(1 if self._servers else _ASKED_AT_FIRST):
            server = self._server()
            if server is None:
                return
            self._servers.add(server)
            if len(self._servers) > 1:
                told = " and ".join(sorted(f"one that started at {start} on {host or 'an unnamed host'}" for start, host in self._servers))
                raise GatewayError(
                    f"More than one Prometheus answers at {self.url}: {told}. Each has samples of its own, at times of its own, so figures "
                    "from both together are wrong. Name one of them in prometheus_url, such as one pod behind the Service, or a Thanos "
                    "querier that joins them. If it was just restarted, run this again."
                )

    def _server(self) -> tuple[str, str] | None:
        """Which server answers; None if it does not say so, or keeps no samples itself."""
        info = self._runtime()
        if not info.get("storageRetention") or not info.get("startTime"):
            return None
        return str(info["startTime"]), str(info.get("hostname") or "")

    def _runtime(self) -> dict[str, t.Any]:
        try:
            response = self._session.get(f"{self.url}/api/v1/status/runtimeinfo", timeout=(min(self.timeout, 10), self.timeout))
            found = response.json()["data"]
        except (requests.exceptions.RequestException, ValueError, KeyError, TypeError):
            return {}  # Thanos and others have no such page
        return found if isinstance(found, dict) else {}

    def vector(self, expression: str, at_ms: int | None = None) -> list[tuple[dict[str, str], str]]:
        """Labels and value of each element of an instant vector."""
        return [(item["metric"], item["value"][1]) for item in self._expect("vector", expression, at_ms)]

    def window(self, selector: str, first_ms: int, last_ms: int) -> list[RawSeries]:
        """Every sample from ``first_ms`` to ``last_ms``, both included, in one query."""
        found = self._expect("matrix", f"{selector}[{last_ms - first_ms + 1}ms]", last_ms)
        # Prometheus before 3.0 includes the left end of the range.
        return [RawSeries(item["metric"], tuple(sample for sample in _samples(item) if sample[0] >= first_ms)) for item in found]

    def label_values(self, label: str, selector: str, after_ms: int, until_ms: int) -> list[str]:
        """The values of a label in the series of ``selector``, sorted. Touches no sample; may name some from just outside of the period."""
        answer = self._ask(f"label/{label}/values", {"match[]": selector, "start": seconds(after_ms), "end": seconds(until_ms)})
        return sorted(t.cast("list[str]", answer))

    def series(self, selector: str, after_ms: int, until_ms: int) -> list[dict[str, str]]:
        """The labels of the series of ``selector``. Touches no sample; may name some from just outside of the period."""
        form = {"match[]": selector, "start": seconds(after_ms), "end": seconds(until_ms)}
        return t.cast("list[dict[str, str]]", self._ask("series", form))

    def raw(self, selector: str, after_ms: int, until_ms: int) -> list[RawSeries]:
        """Every sample with a timestamp in (after_ms, until_ms] of the series of ``selector``, which must name one metric."""
        span = until_ms - after_ms
        if span <= 0:
            return []
        # Dropping the metric's name, as count_over_time does, is safe with one metric only.
        counted = self.vector(f"sum(count_over_time({selector}[{span}ms]))", until_ms)
        total = int(float(counted[0][1])) if counted else 0
        if not total:
            return []
        width = max(1, span // -(-total // self.samples_per_query))
        found: dict[tuple[tuple[str, str], ...], list[tuple[int, str]]] = {}
        begin = after_ms
        while begin < until_ms:
            stop = min(begin + width, until_ms)
            for item in self._expect("matrix", f"{selector}[{stop - begin}ms]", stop):
                samples = found.setdefault(tuple(sorted(item["metric"].items())), [])
                # Prometheus before 3.0 includes the left end of the range.
                newest = samples[-1][0] if samples else after_ms
                samples.extend((ms, value) for ms, value in _samples(item) if ms > newest)
            begin = stop
        return [RawSeries(dict(labels), tuple(samples)) for labels, samples in sorted(found.items()) if samples]

    def _expect(self, kind: str, expression: str, at_ms: int | None) -> list[dict[str, t.Any]]:
        answer = self._query(expression, at_ms)
        if answer["resultType"] != kind:
            raise GatewayError(f"Prometheus at {self.url} answered {expression!r} with a {answer['resultType']}, not with a {kind}.")
        return t.cast("list[dict[str, t.Any]]", answer["result"])

    def _query(self, expression: str, at_ms: int | None) -> dict[str, t.Any]:
        form = {"query": expression, "timeout": f"{self.timeout:g}s"}
        if at_ms is not None:
            form["time"] = seconds(at_ms)
        return t.cast("dict[str, t.Any]", self._ask("query", form, expression))

    def _ask(self, path: str, form: t.Mapping[str, str], what: str = "") -> t.Any:
        """``what`` is asked for, in words for an error. Label values can only be had by GET."""
        expression = what or f"{path} of {form['match[]']}"
        url, timeout = f"{self.url}/api/v1/{path}", (min(self.timeout, 10), self.timeout + 5)
        try:
            # The server gives up first, and says why.
            if path.startswith("label/"):
                response = self._session.get(url, params=form, timeout=timeout)
            else:
                response = self._session.post(url, data=form, timeout=timeout)
        except requests.exceptions.SSLError as exc:
            raise GatewayError(
                f"TLS with Prometheus at {self.url} failed: {exc}. Set prometheus_ca_cert to the authority of its certificate."
            ) from exc
        except requests.exceptions.Timeout as exc:
            raise GatewayError(
                f"Prometheus at {self.url} did not answer {expression!r} within {self.timeout:g} s. "
                "Raise prometheus_timeout or ask for a shorter period."
            ) from exc
        except requests.exceptions.RequestException as exc:
            raise GatewayError(
                f"Prometheus at {self.url} cannot be reached: {_cause(exc)}. "
                "Check prometheus_url, and that Prometheus runs and is reachable from here."
            ) from exc
        return self._read(response, expression)

    def _read(self, response: requests.Response, expression: str) -> t.Any:
        try:
            answer = response.json()
        except ValueError:
            answer = None
        said = f"HTTP {response.status_code}"
        if isinstance(answer, dict) and answer.get("status") == "error":
            said += f", {answer.get('errorType')}: {answer.get('error')}"
        elif not response.ok or not isinstance(answer, dict) or answer.get("status") != "success":
            said += f", {response.text[:_EXCERPT]!r}"
        else:
            self.warnings.extend(warning for warning in answer.get("warnings", []) if warning not in self.warnings)
            return answer["data"]
        raise GatewayError(f"Prometheus at {self.url} refused {expression!r}: {said}. {_remedy(response.status_code)}")


def _cause(error: Exception) -> object:
    """What went wrong below the retries that requests wraps around it."""
    return getattr(error.args[0], "reason", error) if error.args else error


def _samples(item: dict[str, t.Any]) -> t.Iterator[tuple[int, str]]:
    for timestamp, value in item.get("values", []):
        yield round(timestamp * 1000), value


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "Give a prometheus_token that may query it."
    if status in (200, 301, 302, 404, 405):
        return "Check prometheus_url: it must be the address before /api/v1."
    if status == 422:
        return "Ask for a shorter period or fewer routes, or raise the server's limits."
    if status in (502, 503, 504):
        return "Wait until the server is ready, or ask for a shorter period."
    return "See the log of Prometheus."
