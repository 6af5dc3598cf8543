# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._price.rate import NO_PRICE
from ansible_collections.kuadrant.llm.plugins.module_utils._report import plots
from ansible_collections.kuadrant.llm.plugins.modules import chargeback, usage_info, usage_ledger

Server = t.Any  # the fake of tests/unit/conftest.py
Run = t.Callable[..., dict[str, t.Any]]

TIERS = [
    {"name": "free", "requests": [{"limit": 2, "window": "2m"}], "price": {"request": "0.001"}},
    {"name": "premium", "requests": [{"limit": 10, "window": "2m"}], "price": {"request": "0.002"}},
]
PERIOD = {"start": "1970-01-01T00:15:00Z", "end": "1970-01-01T00:16:40Z"}


def test_usage_info_returns_usage_and_changes_nothing(limiter: Server, run_module: Run) -> None:
    result = run_module(usage_info.main, prometheus_url=limiter.url, check=True, **PERIOD)
    assert result["changed"] is False
    assert [(row["user"], row["authorized"], row["limited"]) for row in result["usage"]] == [("=ann", 2, 3), ("bob", 10, 0)]
    assert result["scrapes"][0]["instance"] == "10.0.0.1:8080"


def test_chargeback_bills(limiter: Server, run_module: Run) -> None:
    result = run_module(chargeback.main, prometheus_url=limiter.url, tiers=TIERS, **PERIOD)
    assert result["changed"] is False
    assert [
        (line["user"], line["meter"], line["quantity"], line["unit_price"], line["cost"], line["price_entry"]) for line in result["lines"]
    ] == [
        ("=ann", "requests", 2, "0.001", "0.002", "free"),
        ("=ann", "limited_requests", 3, None, "0.000", None),
        ("bob", "requests", 10, "0.002", "0.020", "premium"),
    ]
    assert [(entry["user"], entry["authorized"], entry["limited"], entry["cost"]) for entry in result["summary"]] == [
        ("=ann", 2, 3, "0.002"),
        ("bob", 10, 0, "0.020"),
    ]
    assert result["totals"]["overall"]["cost"] == "0.022"
    assert result["table"][2:] == [
        "USER   GROUP    TIER     AUTHORIZED  LIMITED  COST USD",
        "-----  -------  -------  ----------  -------  --------",
        "=ann   free     free              2        3     0.002",
        "bob    premium  premium          10        0     0.020",
        "TOTAL                            12        3     0.022",
        "",
        "Net          0.022",
        "Rounding    -0.002",
        "To pay USD    0.02",
    ]
    assert result["payable"]["amount"] == "0.02"


def test_chargeback_shows_tokens_and_those_without_a_user(limiter: Server, run_module: Run) -> None:
    late = [(moment, moment > 950_000) for moment in range(800_000, 1_000_001, 10_000)]

    def counted(metric: str, value: int, **labels: str) -> None:
        limiter.add(metric, *((moment, value * seen) for moment, seen in late), **labels)

    ann = {"user": "=ann", "group": "free", "tier": "free", "model": "m"}
    counted("reported_tokens", 70, type="prompt", **ann)
    counted("reported_tokens", 30, type="completion", **ann)
    counted("metered_calls", 1, **ann)
    counted("unmetered_calls", 1, reason="aborted", **ann)
    without = run_module(chargeback.main, prometheus_url=limiter.url, tiers=TIERS, **PERIOD)
    assert "Unattributed tokens: unknown, for there are no token counters of a model server." in without["table"]
    assert without["reconciliation"]["overall"]["served"] is None
    assert without["data_quality"]["notes"] == [
        "tiers: completion_tokens have no price at all, so they are shown and cost nothing",
        "tiers: prompt_tokens have no price at all, so they are shown and cost nothing",
    ]
    for metric, value in (("vllm:prompt_tokens_total", 75), ("vllm:generation_tokens_total", 1030)):
        counted(metric, value, job="vllm", instance="m:8000", model_name="m")
    limiter.add("up", *((moment, 1) for moment, _seen in late), job="vllm", instance="m:8000")
    result = run_module(chargeback.main, prometheus_url=limiter.url, tiers=TIERS, **PERIOD)
    assert result["reconciliation"]["models"] == [
        {
            "model": "m",
            "users": {"prompt": 70, "completion": 30, "unsplit": 0, "total": 100},
            "unattributed": {"prompt": 5, "completion": 1000, "total": 1005},
            "served": {"prompt": 75, "completion": 1030, "total": 1105},
            "exact": True,
        }
    ]
    based = run_module(chargeback.main, prometheus_url=limiter.url, tiers=TIERS, **PERIOD, base_models={"m": "llama"})
    users = {one["model"]: (one["users"]["total"], one["served"]["total"]) for one in based["reconciliation"]["models"]}
    assert users == {"llama": (100, 0), "m": (0, 1105)}
    assert based["lines"] == result["lines"]
    table = result["table"]
    assert table[table.index("Tokens") : table.index("Tokens") + 9] == [
        "Tokens",
        "",
        "MODEL  USERS  UNATTRIBUTED  MODEL SERVERS",
        "-----  -----  ------------  -------------",
        "m        100          1005           1105",
        "",
        "Unattributed: 1 answers carried no usage (1 aborted).",
        "Unattributed: 10 admitted requests were not reported: no token limit matched them, or they were not finished when they were last "
        "looked at.",
        "Unattributed: these 11 requests share the 1005 tokens; how many each of them took is not known.",
    ]


BOOK = {
    "currency": "EUR",
    "entries": [
        {"name": "list", "price": {"request": "0.01"}},
        {"name": "later", "valid_from": "1970-01-01T00:15:55Z", "price": {"request": "0.10"}},
        {"name": "seat", "tier": "premium", "monthly_fee": "31.00"},
    ],
}


def test_chargeback_measures_the_time_before_a_new_price_by_itself(prometheus: Server, run_module: Run) -> None:
    scrapes = range(800_000, 1_000_001, 10_000)
    prometheus.add("limitador_up", *((moment, 1) for moment in scrapes))
    # Five calls before the change, two after it.
    prometheus.add(
        "authorized_calls", *((moment, 5 + 2 * (moment > 960_000)) for moment in scrapes if moment > 920_000), user="ann", tier="free"
    )
    result = run_module(chargeback.main, prometheus_url=prometheus.url, price_book=BOOK, **PERIOD)
    lines = [(line["price_entry"], line["quantity"], line["cost"], line["start"], line["end"]) for line in result["lines"]]
    assert lines == [
        ("list", 5, "0.05", "1970-01-01T00:15:00Z", "1970-01-01T00:15:55Z"),
        ("later", 2, "0.20", "1970-01-01T00:15:55Z", "1970-01-01T00:16:40Z"),
    ]
    assert (result["currency"], result["totals"]["overall"]["cost"]) == ("EUR", "0.25")


@pytest.mark.parametrize("known", [True, False], ids=["samples-from-the-month's-start", "a-server-that-is-new"])
def test_chargeback_holds_budgets_against_the_month_and_other_prices_against_the_bill(
    limiter: Server, run_module: Run, known: bool
) -> None:
    if known:
        limiter.add("up", (0, 1), job="node")
    result = run_module(
        chargeback.main,
        prometheus_url=limiter.url,
        tiers=TIERS,
        budgets=[{"user": "bob", "amount": "0.025"}, {"tier": "free", "amount": "1"}],
        what_if_price_book={"currency": "USD", "entries": [{"name": "flat", "price": {"request": "0.001"}}]},
        **PERIOD,
    )
    bob, free = result["budgets"]
    assert (bob["spent"], bob["reached"]) == ("0.020", [50, 80])
    assert (bob["spent_upper"], bob["possibly_reached"]) == (("0.020", [50, 80]) if known else (None, [50, 80, 100]))
    before = "before the period, in the same month, for budgets and what is included: Prometheus has no samples from before"
    assert any(note.startswith(before) for note in result["data_quality"]["notes"]) != known
    assert result["data_quality"]["exact"] is True
    assert any("AT MOST" in line and "BUDGET OF" in line for line in result["table"]) != known
    assert (free["spent"], free["reached"], bob["month_start"]) == ("0.002", [], "1970-01-01T00:00:00Z")
    assert result["what_if"]["overall"] == {"cost": "0.022", "what_if": "0.012", "difference": "-0.010"}
    assert any("BUDGET OF" in line for line in result["table"])


def test_chargeback_writes_focus_and_a_page_with_a_timeline(limiter: Server, run_module: Run, tmp_path: pathlib.Path) -> None:
    outputs = {"output_focus": str(tmp_path / "focus.csv"), "output_html": str(tmp_path / "page.html")}
    options = {"prometheus_url": limiter.url, "tiers": TIERS, "billing_account": "acme", **PERIOD, **outputs}
    first = run_module(chargeback.main, **options)
    assert first["changed"] is True
    assert [bucket["authorized"] for bucket in first["timeline"]] == [12]
    assert "acme" in (tmp_path / "focus.csv").read_text()
    assert "'=ann" in (tmp_path / "focus.csv").read_text()
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert run_module(chargeback.main, **options)["changed"] is False


def test_chargeback_says_what_to_install_for_a_page(
    prometheus: Server, run_module: Run, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "pygal", None)
    result = run_module(chargeback.main, prometheus_url=prometheus.url, tiers=TIERS, output_html=str(tmp_path / "page.html"), **PERIOD)
    assert "output_html: Failed to import the required Python library (pygal)" in result["msg"]
    assert prometheus.queries == []


def test_chargeback_shows_bounds_and_notes(limiter: Server, run_module: Run) -> None:
    limiter.add("authorized_calls", (900_000, 7), (980_000, 1), user="cid", group="free", tier="free")
    result = run_module(chargeback.main, prometheus_url=limiter.url, tiers=TIERS, **PERIOD)
    assert "AT MOST" in result["table"][2]
    assert "unknown" in result["table"][4]
    assert any(line.startswith("Note: 10.0.0.1:8080 went back to older figures between 1970-01-01T00:15:00Z") for line in result["table"])
    assert result["data_quality"]["exact"] is False


def test_chargeback_files_change_once(limiter: Server, run_module: Run, tmp_path: pathlib.Path) -> None:
    outputs = {"output_csv": str(tmp_path / "bill.csv"), "output_json": str(tmp_path / "bill.json")}
    options = {"prometheus_url": limiter.url, "tiers": TIERS, **PERIOD, **outputs}

    predicted = run_module(chargeback.main, check=True, **options)
    assert predicted["changed"] is True
    assert list(tmp_path.iterdir()) == []

    first = run_module(chargeback.main, **options)
    assert first["changed"] is True
    assert first["diff"] == predicted["diff"]
    assert [entry["before"] for entry in first["diff"]] == ["", ""]
    assert ",'=ann,free,free,,requests,2,2,0,2,2,0.001,1,0.002,0.002,USD,free," in (tmp_path / "bill.csv").read_text()
    assert json.loads((tmp_path / "bill.json").read_text())["totals"] == first["totals"]
    assert first["diff"][0]["after"] == (tmp_path / "bill.csv").read_bytes().decode()

    again = run_module(chargeback.main, **options)
    assert (again["changed"], again["diff"]) == (False, [])

    cheaper = run_module(chargeback.main, check=True, **{**options, "tiers": [{**TIERS[0], "price": {"request": "0"}}, TIERS[1]]})
    assert cheaper["changed"] is True
    assert json.loads((tmp_path / "bill.json").read_text())["totals"] == first["totals"]


def test_check_mode_takes_a_missing_folder_for_one_that_an_earlier_step_creates(
    limiter: Server, run_module: Run, tmp_path: pathlib.Path
) -> None:
    path = str(tmp_path / "bills/bill.csv")
    result = run_module(chargeback.main, prometheus_url=limiter.url, tiers=TIERS, output_csv=path, check=True, **PERIOD)
    assert result["changed"] is True
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"output_csv": "/nowhere/bill.csv"}, "output_csv: the folder /nowhere does not exist", id="no-folder"),
        pytest.param({"output_json": "/"}, "output_json: / is a folder", id="a-folder"),
        pytest.param({"currency": "EURO"}, "currency: 'EURO' is not a currency code of ISO 4217", id="currency"),
        pytest.param({"tiers": None}, "tiers: is empty, and there is no price_book", id="no-prices"),
        pytest.param({"ledger_dir": "/nowhere"}, "mutually exclusive: prometheus_url|ledger_dir", id="two-sources"),
        pytest.param({"price_book": {"currency": "EUR", "entries": []}}, "llm_gateway_price_book: entries: is empty", id="price-book"),
        pytest.param({"budgets": [{"amount": "1"}]}, "llm_gateway_budgets[0]: user: name exactly one user, group or tier", id="budget"),
        pytest.param(
            {"what_if_price_book": {"currency": "EUR", "entries": [{"name": "a", "price": {"request": "1"}}]}},
            "what_if_price_book: its currency is EUR, that of the bill is USD",
            id="other-currency",
        ),
        pytest.param({"tiers": [{"name": "free", "price": {"request": "-1"}}]}, r"llm_gateway_tiers[0] (free): price.request", id="price"),
    ],
)
def test_chargeback_refuses_before_it_asks(prometheus: Server, run_module: Run, options: dict[str, t.Any], message: str) -> None:
    result = run_module(chargeback.main, **{"prometheus_url": prometheus.url, "tiers": TIERS, **PERIOD, **options})
    assert result["failed"] is True
    assert message in result["msg"]
    assert prometheus.queries == []


def test_chargeback_that_requires_prices_names_the_tier_without_one_and_writes_nothing(
    limiter: Server, run_module: Run, tmp_path: pathlib.Path
) -> None:
    path = str(tmp_path / "bill.csv")
    result = run_module(chargeback.main, prometheus_url=limiter.url, tiers=TIERS[:1], output_csv=path, require_prices=True, **PERIOD)
    assert result["msg"].startswith("Failed to price the usage: ")
    assert "10 requests of user bob are of tier premium, which is not in tiers" in result["msg"]
    assert list(tmp_path.iterdir()) == []


def test_chargeback_bills_the_others_where_one_has_no_price_and_warns(limiter: Server, run_module: Run) -> None:
    result = run_module(chargeback.main, prometheus_url=limiter.url, tiers=TIERS[:1], **PERIOD)
    assert [(line["user"], line["meter"], line["cost"], line["price_entry"]) for line in result["lines"]] == [
        ("=ann", "requests", "0.002", "free"),
        ("=ann", "limited_requests", "0.000", None),
        ("bob", "requests", "0.000", None),
    ]
    (missing,) = result["data_quality"]["missing_prices"]
    assert missing == "10 requests of user bob are of tier premium, which is not in tiers"
    assert missing in str(result["warnings"])
    assert result["data_quality"]["unpriced"] == [{"meter": "requests", "quantity": 10, "reason": NO_PRICE}]


def test_chargeback_keeps_the_file_it_cannot_read(limiter: Server, run_module: Run, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "bill.csv"
    path.write_bytes(b"\xff\xfe")
    result = run_module(chargeback.main, prometheus_url=limiter.url, tiers=TIERS, output_csv=str(path), **PERIOD)
    assert "cannot be read as a report" in result["msg"]
    assert path.read_bytes() == b"\xff\xfe"


@pytest.mark.parametrize("missing", [{}, {"start": "1970-01-01T00:15:00Z", "period": "1h"}], ids=["neither", "both"])
def test_period_is_given_in_one_way(prometheus: Server, run_module: Run, missing: dict[str, str]) -> None:
    result = run_module(usage_info.main, prometheus_url=prometheus.url, **missing)
    assert result["failed"] is True
    assert "start" in result["msg"]


def test_server_warnings_become_warnings(limiter: Server, run_module: Run) -> None:
    limiter.warnings = ["a store is down"]
    result = run_module(usage_info.main, prometheus_url=limiter.url, **PERIOD)
    assert any("a store is down" in json.dumps(warning) for warning in result["warnings"])


def test_token_stays_secret(prometheus: Server, run_module: Run) -> None:
    prometheus.answers = [(401, "who is canary-token?")]
    result = run_module(usage_info.main, prometheus_url=prometheus.url, prometheus_token="canary-token", **PERIOD)
    assert "401" in result["msg"]
    assert "canary-token" not in json.dumps(result)


def test_chargeback_without_any_user_is_an_error_not_a_bill_of_zero(prometheus: Server, run_module: Run) -> None:
    scrapes = range(800_000, 1_000_001, 10_000)
    prometheus.add("limitador_up", *((moment, 1) for moment in scrapes))
    prometheus.add("authorized_calls", *((moment, 7) for moment in scrapes if moment > 950_000))
    result = run_module(chargeback.main, prometheus_url=prometheus.url, tiers=TIERS, **PERIOD)
    assert result["failed"] is True
    assert result["msg"].startswith("Failed to measure usage: None of 7 calls has a user or a tier")
    assert "TelemetryPolicy" in result["msg"]


def test_chargeback_bills_from_a_ledger_what_was_closed(prometheus: Server, run_module: Run, tmp_path: pathlib.Path) -> None:
    scrapes = range(30_000, 7_800_000, 30_000)
    prometheus.now = 7_800_000
    prometheus.add("limitador_up", *((moment, 1) for moment in scrapes))
    prometheus.add(
        "authorized_calls", *((moment, 5 + 2 * (moment > 3_600_000)) for moment in scrapes if moment > 600_000), user="ann", tier="free"
    )
    period = {"start": "1970-01-01T00:00:00Z", "end": "1970-01-01T02:00:00Z"}
    directory = str(tmp_path / "ledger")
    closed = run_module(usage_ledger.main, prometheus_url=prometheus.url, ledger_dir=directory, period="hour", **period)
    assert closed.get("failed") is not True, closed["msg"]
    asked = len(prometheus.queries)
    book = {
        "currency": "EUR",
        "entries": [*BOOK["entries"][:1], {"name": "dear", "valid_from": "1970-01-01T01:00:00Z", "price": {"request": "1"}}],
    }
    result = run_module(chargeback.main, ledger_dir=directory, price_book=book, timeline="hour", **period)
    assert [(line["price_entry"], line["quantity"], line["cost"]) for line in result["lines"]] == [("list", 5, "0.05"), ("dear", 2, "2.00")]
    assert [bucket["authorized"] for bucket in result["timeline"]] == [5, 2]
    assert [len(close["sha256"]) for close in result["closes"]] == [64, 64]
    tiers = {"tiers": [{"name": "gold", "price": {"request": "1"}}], "start": period["start"], "end": "1970-01-01T03:00:00Z"}
    failed = run_module(chargeback.main, ledger_dir=directory, **tiers)["msg"]
    assert failed == (
        "Failed to read the ledger: end: 1970-01-01T03:00:00Z is after all that the ledger has closed, which ends at 1970-01-01T02:00:00Z"
    )
    tiers["end"] = period["end"]
    required = run_module(chargeback.main, ledger_dir=directory, require_prices=True, **tiers)
    assert required["msg"].startswith("Failed to price the usage: ")
    assert len(prometheus.queries) == asked


def test_chargeback_refuses_a_budget_of_a_tier_that_no_description_has(limiter: Server, run_module: Run) -> None:
    result = run_module(chargeback.main, prometheus_url=limiter.url, tiers=TIERS, budgets=[{"tier": "fre", "amount": "1"}], **PERIOD)
    assert result["msg"] == (
        "llm_gateway_budgets[0]: tier: 'fre' is not one of the tiers free, premium, so nothing would ever be spent of it"
    )


def test_chargeback_names_models_and_tiers_of_prices_and_budgets_that_were_not_used(limiter: Server, run_module: Run) -> None:
    scrapes = range(800_000, 1_000_001, 10_000)
    limiter.add("up", *((moment, 1) for moment in scrapes), job="vllm", instance="m:8000")
    for metric in ("vllm:prompt_tokens_total", "vllm:generation_tokens_total"):
        limiter.add(metric, *((moment, 7) for moment in scrapes), job="vllm", instance="m:8000", model_name="llama")
    entries = [{"name": "list", "price": {"request": "1"}}] + [
        {"name": f"of {model}", "model": model, "price": {"prompt_per_1k": "1"}} for model in ("llama", "lama")
    ]
    budgets = [{"tier": tier, "amount": "1000"} for tier in ("fre", "free")]
    result = run_module(
        chargeback.main, prometheus_url=limiter.url, price_book={"currency": "USD", "entries": entries}, budgets=budgets, **PERIOD
    )
    notes = result["data_quality"]["notes"]
    assert (
        "llm_gateway_price_book: of lama is for model lama, which no model server served and no user used in this time; they served llama"
        in notes
    )
    assert "a budget is of tier fre, which llm_gateway_price_book does not name and no user was in this month" in notes
    assert not any("of llama is for" in note or "of tier free," in note for note in notes)
