"""The report room: the folder of a run or of a grid in, one HTML page out.

    run folder ─read→ RunRecord ─routing, accuracy→ numbers ─words, figures→ page
    grid folder ─comparison→ page

`read` alone touches the run folder. `routing` and `accuracy` turn what was recorded into what can be compared;
`words` says it in sentences, `figures` draws it, and `page` with its parts puts both in their places. Nothing here
needs torch.
"""

from __future__ import annotations

from pathlib import Path

from dpsl.errors import DpslError
from dpsl.train.run_folder import RunFolder, write_text
from priorlang.pages.drawings import drawings
from priorlang.pages.figure import MissingMatplotlibError

__all__ = ["findings_of_run", "write_figures", "write_report"]


def write_report(folder: Path, output: Path | None = None) -> Path:
    """Write the page of a run or of a grid, finished or not. The same folder gives the same bytes.

    Args:
        folder: the run's or the grid's.
        output: where to write; `report.html` in the folder by default. It appears whole or not at all.

    Returns:
        Where it was written.

    Raises:
        DpslError: neither is in the folder, matplotlib is missing, or the page cannot be written.
    """
    try:
        page = _page(Path(folder))
    except MissingMatplotlibError as error:
        raise DpslError("report", str(error), "pip install 'priorlang[train]'") from None
    place = Path(output) if output is not None else RunFolder(Path(folder)).report
    _write(place, page, "name another file")
    return place


def write_figures(page: Path, folder: Path) -> list[Path]:
    """Write every figure of a page to a folder, as NAME.svg; what else is there stays.

    Returns:
        Where they are, in the page's order.

    Raises:
        DpslError: the folder cannot be written.
    """
    found = {
        folder / f"{name}.svg": drawing
        for name, drawing in drawings(page.read_text(encoding="utf-8")).items()
    }
    for place, drawing in found.items():
        _write(place, drawing, "name another folder")
    return list(found)


def _write(place: Path, text: str, fix: str) -> None:
    try:
        write_text(place, text)
    except OSError as error:
        raise DpslError(str(place), f"cannot be written ({error.strerror})", fix) from None


def _page(folder: Path) -> str:
    from dpsl.report.comparison.page import render_comparison
    from dpsl.report.comparison.read import is_grid, read_grid_folder
    from dpsl.report.page import render_page
    from dpsl.report.read import read_run

    return render_comparison(read_grid_folder(folder)) if is_grid(folder) else render_page(read_run(folder))


def findings_of_run(run_folder: Path) -> list[str]:
    """What the page says first, as sentences: whether routing follows the prior, and how accuracy moved.

    Raises:
        DpslError: there is no run in the folder.
    """
    from dpsl.report.accuracy import held_out_sets
    from dpsl.report.read import read_run
    from dpsl.report.routing import measured_stages
    from dpsl.report.words import findings

    run = read_run(Path(run_folder))
    return findings(run, held_out_sets(run), measured_stages(run.stages))
