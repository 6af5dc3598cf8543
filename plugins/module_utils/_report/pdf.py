# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The page as PDF, by WeasyPrint, which lays out HTML and CSS for print: the same tables and plots, on A4, without a browser.

It is loaded only where a PDF is asked for, for that takes a second and needs libraries of the system (Pango).
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import re
import traceback
import typing as t

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._report.files import write_bytes
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_style import PDF_STYLE, SVG_STYLE

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

# What a drawing begins with. In attributes of the page every ">" is escaped.
_DRAWING = re.compile(r"(<svg\b[^>]*>)")


def require_pdf() -> t.Any:
    """The library. Raises GatewayError that says what to install."""
    try:
        library = importlib.import_module("weasyprint")
    except ImportError as exc:
        raise GatewayError(f"PDF: {missing_required_lib('weasyprint')}", exception=traceback.format_exc()) from exc
    except OSError as exc:
        raise GatewayError(
            f"PDF: weasyprint does not find a library of the system: {exc}. Install Pango (Debian: libpango-1.0-0 and libpangoft2-1.0-0)."
        ) from exc
    # It tells of each property that only browsers know.
    logging.getLogger("weasyprint").setLevel(logging.CRITICAL)
    return library


def for_print(page: str) -> str:
    """The page with what is only for paper. A drawing has its colours in itself, for the page's style does not reach into it there."""
    return _DRAWING.sub(rf"\1<style>{SVG_STYLE}</style>", page.replace("</style>", f"{PDF_STYLE}</style>", 1))


def write_pdf(module: AnsibleModule, path: str, page: str) -> dict[str, str] | None:
    """As write_text: the diff, or None where the file is of this page already, which its identifier says."""
    library = require_pdf()
    page = for_print(page)
    identifier = hashlib.sha256(f"{library.__version__}\n{page}".encode("utf-8", "backslashreplace")).hexdigest()[:32].encode()

    def make() -> bytes:
        made: bytes = library.HTML(string=page, url_fetcher=_nothing).write_pdf(pdf_identifier=identifier)
        return made

    return write_bytes(module, path, make, identifier)


def _nothing(url: str, *_more: t.Any, **_options: t.Any) -> t.NoReturn:
    """The page is all there is: nothing is loaded, from wherever it may be."""
    raise ValueError(f"a report loads nothing, and not {url}")
