"""A folder to take home: every recipe of the front, its scores, the table and the plots."""

from __future__ import annotations

import json
from pathlib import Path

from evomerge.errors import RecipeError
from evomerge.recipe import mergekit, native
from evomerge.recipe.flat_layouts import TensorShapes
from evomerge.recipe.layout import Layout
from evomerge.recipe.model import DType
from evomerge.report.analysis import Analysis, RowAnalysis, analyse
from evomerge.report.document import document_of, row_document
from evomerge.report.front import Front
from evomerge.report.interactive import write_page
from evomerge.report.plots import draw_png
from evomerge.report.sheet import to_csv
from evomerge.report.table import text_of
from evomerge.report.whole_folder import whole_folder


def export_front(
    front: Front,
    directory: Path,
    layout: Layout | None = None,
    dtype: DType | None = None,
    shape: TensorShapes | None = None,
    *,
    replace: bool = False,
) -> tuple[str, ...]:
    """Write the front as a folder; it appears complete or not at all.

        README.md      the table, and how to rebuild each model
        front.csv      every row, baselines included
        front.json     the same with all that is known of it (see `evomerge.report.document`)
        front.png      the plot
        front.html     the plot to hover over, a recipe behind every point; needs no network
        trial-000037/  one folder per member: recipe.yaml, scores.json, and mergekit.yaml or,
                       where mergekit cannot express the recipe, mergekit-refused.txt; of a
                       population's individual lineage.yaml too, the recipe with its whole lineage

    Args:
        front: what to write.
        directory: must not exist, unless it is to be replaced; its parent is made where missing.
        layout: of the models; mergekit's format needs it for recipes with per-layer parameters.
        dtype: of the models; mergekit's format needs it where a recipe names no output dtype.
        shape: of the base; mergekit's format needs it for lineages.
        replace: an existing folder gives way.

    Returns:
        One line for each member that mergekit cannot express.

    Raises:
        RunDirectoryError: the directory exists, or its place cannot be written.
    """
    with whole_folder(directory, replace=replace) as folder:
        folder.mkdir()
        return _write(analyse(front), folder, directory.name, layout, dtype, shape)


def folder_of(row: RowAnalysis) -> str:
    """Return the name of a member's folder."""
    return f"trial-{row.row.trial:06d}"


def _write(
    analysis: Analysis,
    folder: Path,
    title: str,
    layout: Layout | None,
    dtype: DType | None,
    shape: TensorShapes | None,
) -> tuple[str, ...]:
    refused = []
    for row in analysis.members:
        place = folder / folder_of(row)
        place.mkdir()
        _text(place / "recipe.yaml", native.dumps(row.row.recipe))
        if row.row.ancestry is not None:
            _text(place / "lineage.yaml", native.dumps(row.row.ancestry))
        _text(place / "scores.json", _json(row_document(row, analysis.front)))
        try:
            text = mergekit.dumps(row.row.recipe, layout=layout, dtype=dtype, shape=shape)
            _text(place / "mergekit.yaml", text)
        except RecipeError as error:
            _text(place / "mergekit-refused.txt", f"{error}\n")
            refused.append(f"{row.row.name}: mergekit cannot express it: {error}")
    _text(folder / "front.csv", to_csv(analysis))
    _text(folder / "front.json", _json(document_of(analysis)))
    _text(folder / "README.md", _readme(analysis, title, refused))
    draw_png(analysis, folder / "front.png")
    write_page(analysis, folder / "front.html")
    return tuple(refused)


def _readme(analysis: Analysis, title: str, refused: list[str]) -> str:
    front = analysis.front
    lines = [
        f"# The front of {front.study}",
        "",
        "```text",
        text_of(analysis, 100).rstrip(),
        "```",
        "",
        "![front](front.png)",
        "",
        "[front.html](front.html) is the same plot, a click on a point shows its recipe; "
        "`front.csv` and `front.json` hold every number.",
        "",
        "## Rebuild",
        "",
        "Run from the folder that holds this one; relative model paths start there too.",
        "",
        "```sh",
        *(
            f"evomerge merge {title}/{folder_of(row)}/recipe.yaml out-{folder_of(row)}/"
            for row in analysis.members
        ),
        "```",
    ]
    if refused:
        lines += ["", "## Without mergekit.yaml", "", *(f"- {line}" for line in refused)]
    return "\n".join(lines) + "\n"


def _json(document: object) -> str:
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
