"""Find and read the recipes of a directory.

What a recipe says is decoded by `recipe_file`; here are the files.
"""

import hashlib
from pathlib import Path

from applianceforge.imaging import recipe, recipe_file
from applianceforge.imaging.recipe import ImageRecipe
from applianceforge.imaging.recipe_table import Problem
from applianceforge.system import files

# Those of the reference appliance.
RECIPES = Path(__file__).parent.parent.parent / "images"


def find(name: str, directory: Path = RECIPES) -> Path:
    """Return the file of a recipe by its name or its path.

    Raises:
        RecipeError: There is none of that name.
    """
    file = Path(name) if name.endswith(".toml") else directory / f"{name}.toml"
    if not file.is_file():
        known = sorted(path.stem for path in directory.glob("*.toml"))
        problem = Problem.unknown(str(file), "is not there", Path(name).stem, known)
        raise recipe.error_of("recipes", [problem])
    return file


def read(file: Path) -> ImageRecipe:
    """Read a recipe.

    Raises:
        RecipeError: It is wrong; all problems are named at once.
    """
    text = _text_of(file)
    base = recipe_file.base_of(text, file.name)
    if base and not (file.parent / base).is_file():
        problem = Problem("base", f"is {base!r}, which is not there", f"make {file.parent / base}")
        raise recipe.error_of(file.name, [problem])
    directories = [
        str(path.relative_to(file.parent)) for path in file.parent.rglob("*") if path.is_dir()
    ]
    shared = _text_of(file.parent / base) if base else ""
    found = recipe_file.decode(text, file.name, directories, shared)
    if found.name != file.stem:
        problem = Problem("name", f"is {found.name!r}", f"write {file.stem!r}, as the file is")
        raise recipe.error_of(file.name, [problem])
    return found


def digest_of(file: Path) -> str:
    """Digest a recipe together with its base."""
    text = _text_of(file)
    base = recipe_file.base_of(text, file.name)
    shared = _text_of(file.parent / base) if base else ""
    return hashlib.sha256((text + shared).encode()).hexdigest()


def _text_of(file: Path) -> str:
    with files.named_errors(file, "read"):
        return file.read_text(encoding="utf-8", errors="replace")
