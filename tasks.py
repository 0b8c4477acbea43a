"""What a developer does: `inv --list` shows all of it."""

import os
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from applianceforge.model.errors import ForgeError, exit_status_of
from tests.appliance import cache, legacy
from tests.appliance.lines import Lines

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


def _bytes_of(text: str) -> int:
    """Return the number of bytes that "200MB" means."""
    upper = text.upper()
    for unit, factor in _UNITS.items():
        number = upper.removesuffix(unit).strip()
        if number != upper and number.replace(".", "", 1).isdecimal():
            return round(float(number) * factor)
    if upper.isdecimal():
        return int(upper)
    raise Exit(f"{text!r} is no size; write it like 200MB", code=2)


@task(
    name="legacy",
    help={
        "size": "of the databases' content, such as 5MB, 200MB, 1GB",
        "seed": "what all content follows from",
        "major": "PostgreSQL's major version: 15 (Debian 12) or 13 (Debian 11)",
        "security": "take Debian's security updates for i386 too, where the mirror has them",
    },
)
def fixture_legacy(
    _context: Context, size: str = "200MB", seed: int = 1, major: int = 15, security: bool = False
) -> None:
    """Build the 32-bit appliance that tests and benchmarks migrate, or find it in the cache."""
    if major not in legacy.MAJORS:
        raise Exit(f"there is no appliance of PostgreSQL {major}", code=2)
    if security:
        os.environ["APPLIANCEFORGE_SECURITY"] = "1"
    try:
        appliance = legacy.legacy(_bytes_of(size), seed=seed, major=major, progress=Lines())
    except ForgeError as error:
        said = "\n".join((error.message, *error.evidence, error.hint))
        raise Exit(said, code=exit_status_of(error)) from error
    facts = appliance.facts()
    print(f"programs   {appliance.tree.root}")
    print(f"cluster    {appliance.data}")
    print(f"           PostgreSQL {major}, {facts.database_bytes / 1e6:.0f} MB on disk")
    for database, rows in sorted(facts.rows.items()):
        print(f"           {rows:>12,} rows in {database}")
    print(f"RRDs       {appliance.rrd}")
    print(f"           {facts.rrd_count} files, {facts.rrd_bytes / 1e6:.1f} MB")
    print(f"proof      {facts.proof}")
    print(f"built in   {facts.built_s} s, by seed {seed}")


@task(name="where")
def fixture_where(_context: Context) -> None:
    """Print the cache's directory; whatever is in it may be removed, and is built again."""
    directory: Path = cache.directory()
    print(directory)


fixture = Collection("fixture", fixture_legacy, fixture_where)
namespace = Collection(fixture)
