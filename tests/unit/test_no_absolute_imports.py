"""House rules that hold for every file: imports, length, nothing that belongs to one machine."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"agent", "apps", "bench", "graph_schema", "tools", "training"}
LAYERS = ("apps", "agent", "tools", "graph_schema")  # each may import itself and what comes after it
TEXT = {".py", ".toml", ".txt", ".md", ".yaml", ".yml", ".json", ".cypher", ".sh", ".xml", ".cfg", ""}
# Written in pieces, so that this file names no registry and no path of one machine either.
HOSTS = (
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("download", "pytorch", "org"),
    ("maven", "apache", "org/repo"),
)
FOLDERS = ("work", "root", "home", "tmp/w", "opt/wheels", "Users")
MACHINE = re.compile(
    rf"(?:^|[\s\"'=(:])/(?:{'|'.join(FOLDERS)})/|"
    rf"(?:{'|'.join(re.escape('.'.join(host)) for host in HOSTS)}|repo1?\.{'maven'}|index-url|extra-index)"
)


@cache
def files() -> tuple[Path, ...]:
    """Every file git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    return tuple(p for name in sorted(set(listed.split("\0")) - {""}) if (p := ROOT / name).is_file())


def python_files() -> list[Path]:
    return [path for path in files() if path.suffix == ".py"]


def imports(source: str) -> list[tuple[int, int, str]]:
    """(line, level, module) of every import of a source text, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, 0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.lineno, node.level, node.module or ""))
    return found


def absolute(source: str) -> list[int]:
    """Lines that import one of our folders as if it were a top-level package."""
    return [
        line for line, level, module in imports(source) if level == 0 and module.split(".")[0] in PACKAGES
    ]


def layer_breaks(parts: tuple[str, ...], source: str) -> list[str]:
    """Imports of a file (its path parts from the root) that run against the one direction."""
    if parts[0] not in LAYERS:
        return []
    allowed = set(LAYERS[LAYERS.index(parts[0]) :])
    broken = []
    for line, level, module in imports(source):
        names = module.split(".") if module else []
        if level == 0:
            target = names[1] if names[0] == "clarify" and len(names) > 1 else ""
        else:
            reached = [*parts[: len(parts) - level], *names]
            target = reached[0] if reached else ""
        if target in PACKAGES and target not in allowed:
            broken.append(f"line {line}: {target}")
    return broken


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_imports_the_house_only_as_clarify_and_downwards(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert absolute(source) == [], "use relative imports, or `from clarify...` in tests"
    assert layer_breaks(path.relative_to(ROOT).parts, source) == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import agent.graph", [1]),
        ("from tools import registry", [1]),
        ("def f():\n    import graph_schema.stores as s", [2]),
        ("from clarify.agent import graph\nfrom . import agent\nimport agents", []),
    ],
)
def test_absolute_imports_are_seen(source: str, lines: list[int]) -> None:
    assert absolute(source) == lines


@pytest.mark.parametrize(
    ("parts", "source", "broken"),
    [
        (("tools", "x.py"), "from ..agent import answer", 1),
        (("agent", "nodes", "x.py"), "from ...tools import render\nfrom ..answer import Kind", 0),
        (("graph_schema", "stores", "x.py"), "from ...apps import cli\nfrom clarify.tools import render", 2),
        (("apps", "x.py"), "from ..training import synthetic", 1),
        (("bench", "x.py"), "from ..training import synthetic", 0),
    ],
)
def test_imports_against_the_direction_are_seen(parts: tuple[str, ...], source: str, broken: int) -> None:
    assert len(layer_breaks(parts, source)) == broken


@pytest.mark.parametrize(
    "path", [p for p in python_files() if p.relative_to(ROOT).parts[0] != "tests"], ids=lambda p: p.name
)
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 420  # the rule: about 400


def test_nothing_names_a_registry_or_a_place_on_one_machine() -> None:
    here = Path(__file__).name
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in files()
        if path.suffix in TEXT and path.name not in {here, "LICENSE"} and path.stat().st_size < 2_000_000
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        (f'DATA = Path("/{FOLDERS[0]}/shared")', True),
        ("--index-url https://somewhere", True),
        (f"<url>https://repo.{'.'.join(HOSTS[3][:2])}.org/maven2</url>", True),
        ("a path like weights/nano or https://example.org/home/page", False),
    ],
)
def test_the_pattern_sees_what_it_should(line: str, seen: bool) -> None:
    assert bool(MACHINE.search(line)) is seen
