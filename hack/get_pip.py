# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand-in for the bootstrap script that ansible-test would download: the pip that comes with Python, then the versions asked for."""

from __future__ import annotations

import ensurepip
import os
import subprocess
import sys

ensurepip.bootstrap()  # points PIP_CONFIG_FILE at nothing as a side effect
os.environ.pop("PIP_CONFIG_FILE", None)
wanted = [argument for argument in sys.argv[1:] if "==" in argument]
if wanted:
    subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet", *wanted])
# Tried before ansible-test keeps the environment.
subprocess.check_call([sys.executable, "-m", "pip", "check", "--quiet"])
