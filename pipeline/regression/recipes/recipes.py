"""Name the kinds of recipes, and write the inputs of a case from one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .described import DESCRIBED, read_description, write_described
from .masks import BURNED_IN, IMAGE, MASK, OVERLAY, write_burned_in, write_image, write_mask, write_overlay
from .mimics_bundle import BUNDLE, write_bundle
from .parameters import Parameter, read_parameters, refuse_recipe, refuse_value, text
from .segmentation import SEG, write_seg
from .structure_set import RTSTRUCT, write_rtstruct

WriteRecipe = Callable[[Path, Mapping[str, Any]], None]  # into a folder what parameters describe


class RecipeKind(NamedTuple):
    """One kind of inputs. words: what it writes. parameters: by name, with their defaults."""

    words: str
    parameters: Mapping[str, Parameter]
    write: WriteRecipe


RECIPES: dict[str, RecipeKind] = {
    "image": RecipeKind("an image series of many grey values", IMAGE, write_image),
    "mask": RecipeKind("a label series", MASK, write_mask),
    "seg": RecipeKind("a DICOM SEG, and its images", SEG, write_seg),
    "rtstruct": RecipeKind("a structure set, and its images", RTSTRUCT, write_rtstruct),
    "bundle": RecipeKind("a Mimics bundle", BUNDLE, write_bundle),
    "burned-in": RecipeKind(
        "an image whose body is one constant, to burned-in/, and the image itself, to clean/",
        BURNED_IN,
        write_burned_in,
    ),
    "overlay": RecipeKind("an image series with the mask in overlay planes", OVERLAY, write_overlay),
}
_DESCRIPTION = {"file": Parameter("", "the path of a file that verimask describe --json wrote", text)}


def make_inputs(recipe: Mapping[str, Any], folder: Path) -> None:
    """Write the input files of a case, the same bytes at every call and on every machine.

    Args:
        recipe: `kind`, a key of RECIPES, and the parameters of that kind; others have their defaults. Or the kind
            "described" and its `file`, the path of what `verimask describe --json` wrote.
        folder: that gets the files; it is made where it is not there.

    Raises: PipelineError BAD_OPTION, which names an unknown kind or parameter, or a value that is not allowed.
    """
    kind = recipe.get("kind")
    if not isinstance(kind, str) or kind not in (*RECIPES, DESCRIBED):
        raise refuse_recipe("recipe.kind", f"a recipe has no kind {kind!r}", {**RECIPES, DESCRIBED: None})
    given = {name: value for name, value in recipe.items() if name != "kind"}
    parameters = read_parameters(kind, given, _DESCRIPTION if kind == DESCRIBED else RECIPES[kind].parameters)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise refuse_value("folder", str(folder), "an empty folder")
    if kind == DESCRIBED:
        write_described(folder, read_description(Path(parameters["file"])))
    else:
        RECIPES[kind].write(folder, parameters)
