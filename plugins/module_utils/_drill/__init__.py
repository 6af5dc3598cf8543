# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Fault drills on a local stack: a part is killed, frozen, stopped or out of disk space while calls are made, and what is seen is held
against what playbooks/vars/drills.yml and drills_behind.yml document.

:mod:`.model` reads the documents, :mod:`.inject` does the harm and undoes it, :mod:`.bill` reads what was billed, :mod:`.judge` compares
(pure), and :mod:`.run` is one drill from its beginning to its end.
"""
