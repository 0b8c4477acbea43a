"""The program trees: two 32-bit releases that appliances run, and the 64-bit one they go to.

The 32-bit ones have a Python too, for the tests of the probe.
"""

import os
from dataclasses import replace

from applianceforge.imaging import roottree
from applianceforge.imaging.roottree import Recipe
from applianceforge.migrate.tree import ProgramTree
from applianceforge.model.architecture import Architecture
from applianceforge.system.effects import Effects
from applianceforge.system.progress import ProgressSink
from tests.appliance import cache

LEGACY = Recipe("bookworm", Architecture.I386, ("postgresql-15", "python3", "rrdtool"))
LEGACY_13 = Recipe("bullseye", Architecture.I386, ("postgresql-13", "python3", "rrdtool"))
NATIVE = Recipe("bookworm", Architecture.AMD64, ("postgresql-15", "rrdtool"))
# Has a locale that NATIVE lacks.
LEGACY_GERMAN = replace(LEGACY, locales=("de_DE.UTF-8",))


def wanted(recipe: Recipe) -> Recipe:
    """Return the recipe with security updates where APPLIANCEFORGE_SECURITY=1 asks for them."""
    return replace(recipe, security=os.environ.get("APPLIANCEFORGE_SECURITY", "0") == "1")


def tree(recipe: Recipe, effects: Effects, progress: ProgressSink | None = None) -> ProgramTree:
    """Return a tree, built first if the cache lacks it."""
    return ProgramTree(roottree.build(wanted(recipe), cache.directory(), effects, progress))
