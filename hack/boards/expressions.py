# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PromQL that several dashboards ask."""

from __future__ import annotations


def of_server(quantile: float, metric: str) -> str:
    return f"histogram_quantile({quantile}, sum by (le, model_name) (rate(vllm:{metric}_bucket[$__rate_interval])))"


def limited_share(limited: str, admitted: str) -> str:
    """Limited of all, 0 to 1; 0 where none was limited."""
    return f"(sum({limited}) or vector(0)) / (((sum({limited}) or vector(0)) + sum({admitted})) > 0)"
