# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller of the local stack: what operators of pods and Kuadrant's own filter would do on a cluster.

Pure decisions live in ``cel``, ``routes``, ``translate`` and ``envoy``; the rest watches the API server and writes.
"""

from __future__ import annotations
