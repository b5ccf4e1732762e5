"""Every notebook runs from top to bottom without a key or a network, and was saved with what it shows."""

import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.kernel

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
WIDGETS = "application/vnd.jupyter.widget-state+json"


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def complaints(notebook: Any) -> list[str]:
    """Errors, and whatever was written to stderr: a warning would be there."""
    errors = [f"{output.ename}: {output.evalue}" for output in outputs(notebook) if output.output_type == "error"]
    return errors + [output.text for output in outputs(notebook) if output.get("name") == "stderr"]


def shown_ticks(notebook: Any) -> list[int]:
    """The tick that each panel of the notebook shows, by the saved state of its widgets."""
    widgets = notebook.metadata.get("widgets", {}).get(WIDGETS, {}).get("state", {})
    return [widget["state"]["snap"]["tick"] for widget in widgets.values() if "snap" in widget["state"]]


def still_pictures(notebook: Any) -> list[str]:
    """What is left of each panel where no widget is; it has the last numbers."""
    pages = [output.data.get("text/html", "") for output in outputs(notebook) if "data" in output]
    return [page for page in pages if "livetrade-picture" in page and "closed" in page]


def test_there_are_notebooks() -> None:
    numbers = [path.name[:2] for path in NOTEBOOKS]
    assert numbers == sorted({f"{int(number):02}" for number in numbers}), "each has a number of its own"
    assert len(NOTEBOOKS) >= 7


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FYERS_")}
    environment |= {
        "IPYTHONDIR": os.fspath(tmp_path / "ipython"),
        "LIVETRADE_CACHE_DIR": os.fspath(tmp_path / "cache"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }
    where = {"metadata": {"path": os.fspath(tmp_path)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=where).execute(env=environment)
    assert complaints(notebook) == []
    if path.stem.endswith("panel"):
        assert max(shown_ticks(notebook)) > 0
        assert still_pictures(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_saved_as_it_should_be(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]

    assert notebook.cells[0].cell_type == "markdown"
    assert re.match(r"# \w[^\n]+\n\n[\w`]", notebook.cells[0].source)  # a title, and what the notebook shows
    assert "## To try" in notebook.cells[-1].source
    assert code[-1].source == "engine.close()"
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*-\d+", cell.id) for cell in notebook.cells)

    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert outputs(notebook)
    assert complaints(notebook) == []
    assert not re.search(r"/(home|root|tmp|Users|work)/", path.read_text(encoding="utf-8"))
    if path.stem.endswith("panel"):
        assert max(shown_ticks(notebook)) > 0
        assert still_pictures(notebook)
