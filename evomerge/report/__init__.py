"""What a study found, as users read it: tables, JSON, plots and a folder to take home."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from evomerge.report.analysis import Analysis, RowAnalysis, analyse
from evomerge.report.certainty import Rival
from evomerge.report.document import to_json
from evomerge.report.estimates import Estimate, Gain
from evomerge.report.front import Front, FrontRow
from evomerge.report.table import print_table, to_text
from evomerge.report.volumes import Volumes

if TYPE_CHECKING:
    from evomerge.report.collect import collect_front
    from evomerge.report.export import export_front
    from evomerge.report.interactive import save_html
    from evomerge.report.plots import save_png

__all__ = [
    "Analysis",
    "Estimate",
    "Front",
    "FrontRow",
    "Gain",
    "Rival",
    "RowAnalysis",
    "Volumes",
    "analyse",
    "collect_front",
    "export_front",
    "print_table",
    "save_html",
    "save_png",
    "to_json",
    "to_text",
]

# Loaded on first use: a table needs neither the plotting libraries nor a study.
_LATE = {
    "collect_front": "evomerge.report.collect",
    "export_front": "evomerge.report.export",
    "save_html": "evomerge.report.interactive",
    "save_png": "evomerge.report.plots",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
