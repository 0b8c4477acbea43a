"""The floors of the house: who may import whom, what is pure, and no circles."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "applianceforge"

FLOORS = (
    ("model",),
    ("system",),
    ("cpuid", "formats"),
    ("slots", "preflight"),
    ("migrate", "release", "imaging"),
    ("fleet",),
    ("cli", "web"),
)
FLOOR_OF = {name: level for level, names in enumerate(FLOORS) for name in names}

# Pure modules: values in, values out. Whole packages end in a dot.
PURE = (
    "applianceforge.model.",
    "applianceforge.formats.",
    "applianceforge.cpuid.dumps",
    "applianceforge.cpuid.facts",
    "applianceforge.cpuid.features",
    "applianceforge.cpuid.hypervisors",
    "applianceforge.cpuid.procinfo",
    "applianceforge.cpuid.registers",
    "applianceforge.cpuid.remedies",
    "applianceforge.cpuid.verdict",
    "applianceforge.preflight.amounts",
    "applianceforge.preflight.checks",
    "applianceforge.preflight.checks_around",
    "applianceforge.preflight.checks_boot",
    "applianceforge.preflight.checks_files",
    "applianceforge.preflight.checks_postgres",
    "applianceforge.preflight.checks_processor",
    "applianceforge.preflight.checks_resources",
    "applianceforge.preflight.document",
    "applianceforge.preflight.dump",
    "applianceforge.preflight.explanation",
    "applianceforge.preflight.facts",
    "applianceforge.preflight.known_data",
    "applianceforge.preflight.known_machine",
    "applianceforge.preflight.json_values",
    "applianceforge.preflight.leapp",
    "applianceforge.preflight.messages",
    "applianceforge.preflight.render",
    "applianceforge.preflight.scan_findings",
    "applianceforge.preflight.scan_result",
    "applianceforge.preflight.scan_tally",
    "applianceforge.preflight.scan_texts",
    "applianceforge.migrate.settings",
    "applianceforge.migrate.inventory",
    "applianceforge.migrate.manifest",
    "applianceforge.migrate.outcome",
    "applianceforge.migrate.compare",
    "applianceforge.migrate.space",
    "applianceforge.migrate.postgres.checks",
    "applianceforge.migrate.postgres.columns",
    "applianceforge.migrate.postgres.ddl",
    "applianceforge.migrate.postgres.diagnosis",
    "applianceforge.slots.description",
    "applianceforge.imaging.recipe",
    "applianceforge.imaging.recipe_checks",
    "applianceforge.imaging.recipe_file",
    "applianceforge.imaging.recipe_table",
    "applianceforge.imaging.release_document",
    "applianceforge.imaging.wheel_file",
    "applianceforge.imaging.package_set",
    "applianceforge.imaging.plan",
    "applianceforge.imaging.manifest",
    "applianceforge.imaging.sbom",
    "applianceforge.slots.layout",
    "applianceforge.slots.states",
    "applianceforge.slots.reasons",
    "applianceforge.migrate.back_news",
    "applianceforge.migrate.boot_verdict",
    "applianceforge.slots.selector",
    "applianceforge.release.fetch.addresses",
    "applianceforge.release.fetch.answers",
    "applianceforge.release.fetch.arriving",
    "applianceforge.release.publish.building",
    "applianceforge.release.clock",
    "applianceforge.release.publish.cutting",
    "applianceforge.release.publish.expiry",
    "applianceforge.release.fetch.frames",
    "applianceforge.release.graph",
    "applianceforge.release.graph_file",
    "applianceforge.release.index",
    "applianceforge.release.fetch.limits",
    "applianceforge.release.manifest_file",
    "applianceforge.release.metadata_limits",
    "applianceforge.release.ordering",
    "applianceforge.release.publish.outlook",
    "applianceforge.release.publish.remedies",
    "applianceforge.release.planner",
    "applianceforge.release.planner_findings",
    "applianceforge.release.planner_picture",
    "applianceforge.release.update.readiness",
    "applianceforge.release.publish.state",
    "applianceforge.release.requests",
    "applianceforge.release.reuse",
    "applianceforge.release.update.settings",
    "applianceforge.release.share",
    "applianceforge.release.fetch.source",
    "applianceforge.release.update.window",
)
IMPURE = {"os", "subprocess", "socket", "shutil", "tempfile", "time", "logging"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Every module that a file names in an import, wherever in the file it stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


MODULES = {module_name(path): imports_of(path) for path in sorted(PACKAGE.rglob("*.py"))}


def floor_violations(modules: dict[str, set[str]]) -> list[str]:
    wrong = []
    for module, imported in modules.items():
        # `python -m applianceforge` is the command line under another name.
        mine = module.split(".")[1].replace("__main__", "cli") if "." in module else None
        for name in imported:
            parts = name.split(".")
            if parts[0] != "applianceforge" or len(parts) < 2 or mine is None:
                continue
            theirs = parts[1]
            if theirs != mine and FLOOR_OF[theirs] >= FLOOR_OF[mine]:
                wrong.append(f"{module} imports {name}")
    return wrong


# Of the release's parts: what the vendor runs and what a box runs do not know each other, and what
# both share knows neither.
KNOWN_TO = {
    "publish": {"publish"},
    "fetch": {"fetch", "update"},
    "update": {"update"},
}


def release_violations(modules: dict[str, set[str]]) -> list[str]:
    def part(name: str) -> str:
        parts = name.split(".")
        return parts[2] if parts[1:2] == ["release"] and len(parts) > 2 else ""

    return [
        f"{module} imports {name}"
        for module, imported in modules.items()
        if module.startswith("applianceforge.release.")
        for name in imported
        if part(module) not in KNOWN_TO.get(part(name), {part(module)})
    ]


def impurities(modules: dict[str, set[str]]) -> list[str]:
    return [
        f"{module} imports {name}"
        for module, imported in modules.items()
        if any(module == p or (p.endswith(".") and module.startswith(p)) for p in PURE)
        for name in imported
        if name.split(".")[0] in IMPURE
    ]


def circles(modules: dict[str, set[str]]) -> list[str]:
    graph = {module: imported & modules.keys() for module, imported in modules.items()}
    found, done = [], set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        if module in way:
            found.append(" -> ".join([*way[way.index(module) :], module]))
            return
        if module in done:
            return
        for name in graph[module]:
            visit(name, (*way, module))
        done.add(module)

    for module in graph:
        visit(module, ())
    return found


def test_every_package_has_a_floor() -> None:
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert packages <= FLOOR_OF.keys()


def test_imports_go_down() -> None:
    assert floor_violations(MODULES) == []


def test_vendor_and_box_do_not_know_each_other() -> None:
    assert release_violations(MODULES) == []


def test_pure_modules_import_nothing_of_the_machine() -> None:
    assert impurities(MODULES) == []


def test_pure_list_names_modules_that_exist() -> None:
    for name in PURE:
        assert name in MODULES or any(m.startswith(name) for m in MODULES), name


def test_no_circles() -> None:
    assert circles(MODULES) == []


def test_init_holds_a_docstring_and_nothing_else() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        body = ast.parse(path.read_text()).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path


# The way in to what must start at once on an old box: it imports what it was asked for, no more.
CHOOSE_BEFORE_THEY_IMPORT = {"entry.py", "standalone.py", "check.py"}


def test_no_import_inside_a_function() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "cli" and path.name in CHOOSE_BEFORE_THEY_IMPORT:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                lazy = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
                assert not lazy, f"{path}: {node.name}"


@pytest.mark.parametrize(
    ("modules", "finder"),
    [
        ({"applianceforge.model.a": {"applianceforge.cli.b"}}, floor_violations),
        ({"applianceforge.migrate.a": {"applianceforge.release.b"}}, floor_violations),
        ({"applianceforge.release.a": {"applianceforge.release.publish.b"}}, release_violations),
        (
            {"applianceforge.release.publish.a": {"applianceforge.release.update"}},
            release_violations,
        ),
        ({"applianceforge.formats.a": {"os.path"}}, impurities),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}}, circles),
    ],
)
def test_the_tests_can_fail(modules: dict[str, set[str]], finder: object) -> None:
    assert callable(finder)
    assert finder(modules)
