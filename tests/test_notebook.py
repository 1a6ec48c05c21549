"""A mask in a notebook: its picture is what the voxels are, and is still there in an export without kernel and network."""

from __future__ import annotations

import gzip
import sys
from base64 import b64decode
from collections.abc import Iterator
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import Code, Image, Mask, PipelineError, Policy, Session, show
from pipeline.arrays.notebook_view import NotebookView
from tests.helpers.phantom import ORIENTATIONS, Spec, write

PIL = pytest.importorskip("PIL.Image")
FIRST, SECOND = (230, 159, 0), (86, 180, 233)  # of the palette
LABELS = Spec(shape=(12, 10, 8), content="mask", radius_mm=4, labels=(1, 2), iop=ORIENTATIONS["double oblique"])


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session(Policy(crosscheck="off")) as shared:
        yield shared


def picture_of(view: NotebookView) -> NDArray[Any]:
    return np.asarray(PIL.open(BytesIO(b64decode(view._repr_mimebundle_()["image/png"]))))


def is_near(pixels: NDArray[Any], colour: tuple[int, int, int], by: int = 0) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = (np.abs(pixels.astype(int) - colour) <= by).all(axis=-1)
    return near


def write_file(path: Path, values: NDArray[Any], affine: NDArray[Any]) -> Path:
    import nibabel

    nibabel.save(nibabel.Nifti1Image(values, affine), path)  # type: ignore[attr-defined]
    return path


# --- what the picture shows ------------------------------------------------------------------------------------------


def test_a_corner_voxel_is_seen_where_it_lies_in_the_patient(tmp_path: Path) -> None:
    """One voxel, to the patient's left, front and head: by hand on every cut, whatever the order of axes in the file."""
    for affine in (np.diag([1.0, 2, 3, 1]), np.diag([-1.0, -2, 3, 1]), np.diag([1.0, 2, 3, 1])[[1, 2, 0, 3]]):
        values = np.zeros((9, 9, 9), np.uint8)
        ras = np.array([[i, j, k] for i in range(9) for j in range(9) for k in range(9)])
        places = ras @ affine[:3, :3].T
        found = ras[np.lexsort((places[:, 0], -places[:, 1], -places[:, 2]))[0]]  # most to the head, front and left
        values[tuple(found)] = 1
        picture = picture_of(show(write_file(tmp_path / "a.nii", values, affine)))
        coloured = is_near(picture, FIRST)
        rows = np.flatnonzero(coloured.any(axis=1))
        assert coloured.any()
        assert rows[-1] < picture.shape[0] / 2  # at the top of each cut: front, or head
        axial, sagittal, coronal = _panes(picture)
        assert _side_of(coloured, axial) == "right"  # radiological: the patient's left
        assert _side_of(coloured, sagittal) == "left"  # the front
        assert _side_of(coloured, coronal) == "right"


def _panes(picture: NDArray[Any]) -> list[tuple[int, int]]:
    """The first and the last column of each cut: paper lies between them."""
    middle = picture[picture.shape[0] // 2 - 12 : picture.shape[0] // 2 + 12]
    inside = np.flatnonzero((middle != 17).any(axis=(0, 2)))
    cuts = np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1)
    return [(int(c[0]), int(c[-1])) for c in cuts if len(c) > 40]


def _side_of(coloured: NDArray[np.bool_], pane: tuple[int, int]) -> str:
    columns = np.flatnonzero(coloured[:, pane[0] : pane[1] + 1].any(axis=0))
    return "left" if columns.mean() < (pane[1] - pane[0]) / 2 else "right"


def test_voxels_are_boxes_of_the_true_shape(tmp_path: Path) -> None:
    """A voxel of 2 mm by 5 mm is two and a half times as high as wide, with one colour and a sharp edge."""
    values = np.zeros((11, 11, 5), np.uint8)
    values[5, 5, 2] = 1
    picture = picture_of(show(write_file(tmp_path / "a.nii", values, np.diag([-2.0, -5, 5, 1]))))
    coloured = is_near(picture, FIRST)
    left, right = _panes(picture)[0]
    box = coloured[:, left : right + 1]
    height, width = int(box.any(axis=1).sum()), int(box.any(axis=0).sum())
    assert height / width == pytest.approx(2.5, rel=0.1)
    inside = picture[:, left : right + 1][np.ix_(box.any(axis=1), box.any(axis=0))].reshape(-1, 3)
    assert len(np.unique(inside, axis=0)) == 2  # the rim and what it holds


def test_labels_have_the_colours_of_the_record_and_lie_over_their_image(session: Session, tmp_path: Path) -> None:
    write(tmp_path / "in", LABELS)
    mask = session.read(tmp_path / "in")
    image = session.read(tmp_path / "in", policy=Policy(as_="image", crosscheck="off"))
    assert isinstance(mask, Mask)
    assert isinstance(image, Image)
    alone, over = picture_of(show(mask)), picture_of(show(mask, image))
    assert alone.shape == over.shape
    for colour in (FIRST, SECOND):
        np.testing.assert_array_equal(is_near(alone, colour), is_near(over, colour))
        assert is_near(over, colour).sum() > 50
    assert (alone != over).any()
    shown = show(mask, image)._repr_mimebundle_()
    assert "1 label 1" in shown["text/html"]
    assert "12 × 10 × 8 voxels" in shown["text/html"]
    assert "UNCONFIRMED" in shown["text/plain"]


def test_a_file_is_shown_by_its_record_and_one_without_says_so(session: Session, tmp_path: Path) -> None:
    write(tmp_path / "in", LABELS)
    made = session.convert(tmp_path / "in", tmp_path / "m.nii.gz").output
    with_record, array = show(made), session.read(tmp_path / "in")
    np.testing.assert_array_equal(picture_of(with_record), picture_of(show(array)))
    assert "m.nii.gz: UNCONFIRMED" in repr(with_record)
    made.with_name("m.json").unlink()
    assert "not proven" in repr(show(made))
    np.testing.assert_array_equal(picture_of(show(made)), picture_of(with_record))


def test_what_cannot_be_shown_is_refused(session: Session, tmp_path: Path) -> None:
    write(tmp_path / "in", LABELS)
    made = session.convert(tmp_path / "in", tmp_path / "m.nii.gz").output
    made.write_bytes(made.read_bytes() + b"\0")
    for shown, code in (
        (tmp_path / "gone.nii", Code.NO_SUCH_INPUT),
        (tmp_path / "in", Code.NOT_THIS_KIND),
        (made, Code.NOT_THE_PROVEN_FILE),
    ):
        with pytest.raises(PipelineError) as error:
            show(shown)
        assert error.value.finding.code is code


def test_without_its_packages_it_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = show(write_file(tmp_path / "a.nii", np.ones((3, 3, 3), np.uint8), np.eye(4)))
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    monkeypatch.setitem(sys.modules, "ipyniivue", None)
    for call in (view._repr_mimebundle_, view.widget):
        with pytest.raises(PipelineError) as error:
            call()
        assert error.value.finding.code is Code.NO_NOTEBOOK_PACKAGE
        assert "verimask[notebook]" in error.value.finding.hint


def test_names_are_text(session: Session, tmp_path: Path) -> None:
    def edit(k: int, dataset: Any) -> None:
        dataset.SeriesDescription = "<script>alert(1)</script>"

    write(tmp_path / "in", LABELS, edit=edit)
    assert "<script" not in show(session.read(tmp_path / "in"))._repr_mimebundle_()["text/html"]


# --- in a notebook ---------------------------------------------------------------------------------------------------

needs_notebook = pytest.mark.skipif(
    not all(map(find_spec, ("nbclient", "nbconvert", "ipykernel", "ipyniivue"))), reason="no notebook packages here"
)


@needs_notebook
@pytest.mark.parametrize("live", [False, True])
def test_an_exported_notebook_shows_the_overlay_without_kernel_and_network(
    browser: Any, live: bool, session: Session, tmp_path: Path
) -> None:
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    write(tmp_path / "in", LABELS)
    made = session.convert(tmp_path / "in", tmp_path / "m.nii.gz").output
    cell = nbformat.v4.new_code_cell(f"import verimask\nverimask.show({str(made)!r}, live={live})")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    kinds = [set(output["data"]) for output in cell.outputs]
    assert kinds[-1] == {"text/plain", "text/html", "image/png"}
    assert [("application/vnd.jupyter.widget-view+json" in kind) for kind in kinds] == (
        [True, False] if live else [False]
    )
    page = tmp_path / "export.html"
    page.write_text(HTMLExporter().from_notebook_node(notebook)[0], "utf-8")
    seen, expected = _screenshot(browser, page), picture_of(show(made))
    assert all(is_near(expected, colour).sum() > 100 for colour in (FIRST, SECOND))
    np.testing.assert_array_equal(seen, expected)


def _screenshot(browser: Any, page: Path) -> NDArray[Any]:
    """The picture as a browser draws it, at its own size; nothing but the page itself can be loaded."""
    context = browser.new_context(offline=True, viewport={"width": 1400, "height": 1000})
    tab = context.new_page()
    tab.goto(page.as_uri())
    tab.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth)")
    shot = tab.locator("figure img").screenshot()
    context.close()
    return np.asarray(PIL.open(BytesIO(shot)).convert("RGB"))


@needs_notebook
def test_the_widget_holds_the_same_labels_with_nearest_voxels(session: Session, tmp_path: Path) -> None:
    import nibabel

    write(tmp_path / "in", LABELS)
    mask = session.read(tmp_path / "in")
    image = session.read(tmp_path / "in", policy=Policy(as_="image", crosscheck="off"))
    widget = show(mask, image).widget()
    under, over = widget.volumes
    assert (under.name, over.name) == ("image.nii.gz", "mask.nii.gz")
    shown = nibabel.Nifti1Image.from_bytes(gzip.decompress(over.data))
    own = nibabel.as_closest_canonical(mask.to_nibabel())
    canonical = nibabel.as_closest_canonical(shown)
    np.testing.assert_array_equal(np.asarray(canonical.dataobj), np.asarray(own.dataobj))
    np.testing.assert_allclose(canonical.affine, own.affine, atol=1e-4)
    assert over.colormap_label.labels == ["", "label 1", "label 2"]
