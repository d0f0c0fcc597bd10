"""What a wheel would carry, and that what is installed matches what the code imports."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CODE = ("agent", "apps", "bench", "graph_schema", "tools", "training")
SHIPPED = ("*.toml", "*.cypher", "*.txt", "*.jinja")
DISTRIBUTIONS = {
    "PIL": "pillow",
    "open_clip": "open-clip-torch",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
}
"""Import names whose distribution is called otherwise."""


def tracked(*folders: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *folders],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel_files() -> set[str]:
    """Paths, relative to the root, that setuptools would put into the wheel."""
    script = (
        "from setuptools import Distribution\n"
        "d = Distribution({'script_name': 'setup.py'}); d.parse_config_files(['pyproject.toml'])\n"
        "b = d.get_command_obj('build_py'); b.ensure_finalized()\n"
        "print('\\n'.join(b.get_source_files()))\n"
        "for _, folder, _, names in b.data_files:\n"
        "    print('\\n'.join(f'{folder}/{name}' for name in names))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {str(Path(line)) for line in done.stdout.splitlines()}


def test_every_package_folder_is_listed() -> None:
    found = {"clarify"} | {
        "clarify." + ".".join(Path(name).parent.parts)
        for name in tracked(*CODE)
        if Path(name).name == "__init__.py"
    }
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(found)


def test_every_python_file_of_the_code_is_in_a_package(wheel_files: set[str]) -> None:
    missing = {name for name in tracked(*CODE) if name.endswith(".py")} - wheel_files
    assert missing == set()


def test_data_that_the_code_reads_is_in_the_wheel(wheel_files: set[str]) -> None:
    data = [name for name in tracked(*CODE) if any(fnmatch(name, kind) for kind in SHIPPED)]
    data += tracked("prompts", "weights", "examples", "py.typed")
    assert set(data) - wheel_files == set()
    assert any(name.endswith("system.txt") for name in data) and "py.typed" in wheel_files


def test_the_script_points_at_a_function() -> None:
    module, _, name = PROJECT["project"]["scripts"]["clarify"].partition(":")
    assert module == "clarify.apps.cli"
    tree = ast.parse((ROOT / "apps" / "cli.py").read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def _requirements(lines: list[str]) -> set[str]:
    cut = str.maketrans({c: " " for c in "<>=!~[;"})
    return {line.translate(cut).split()[0].lower().replace("_", "-") for line in lines}


def _imported(folders: tuple[str, ...]) -> dict[str, str]:
    """Distribution -> a file that imports it, for everything outside the standard library and the house."""
    found: dict[str, str] = {}
    for name in [*tracked(*folders), "errors.py", "settings.py", "__init__.py"]:
        if not name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module or ""]
            for module in modules:
                top = module.split(".")[0]
                if top not in sys.stdlib_module_names and top not in {"clarify", *CODE}:
                    parts = module.split(".")
                    dist = DISTRIBUTIONS.get(top, top)
                    if top == "langgraph" and parts[1:3] == ["checkpoint", "sqlite"]:
                        dist = "langgraph-checkpoint-sqlite"
                    found.setdefault(dist.replace("_", "-").lower(), name)
    return found


def test_what_the_product_imports_is_declared() -> None:
    declared = _requirements(PROJECT["project"]["dependencies"])
    optional = _requirements(PROJECT["project"]["optional-dependencies"]["server"])
    missing = {
        d: f for d, f in _imported(("agent", "apps", "tools", "graph_schema")).items() if d not in declared
    }
    assert {d: f for d, f in missing.items() if d not in optional} == {}


def test_what_training_bench_and_tests_import_is_declared() -> None:
    declared = _requirements(PROJECT["project"]["dependencies"])
    for lines in PROJECT["project"]["optional-dependencies"].values():
        declared |= _requirements(lines)
    missing = {d: f for d, f in _imported(("training", "bench", "tests")).items() if d not in declared}
    assert missing == {}


def test_constraints_are_plain_tested_versions() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines and all(
        line.count("==") == 1 and "/" not in line and not line.startswith("-") for line in lines
    )
    pinned = _requirements(lines)
    wanted = _requirements(PROJECT["project"]["dependencies"])
    for extra in PROJECT["project"]["optional-dependencies"].values():
        wanted |= _requirements(extra)
    assert wanted - pinned - {"clarify-derm", "setuptools"} == set()


def test_the_shipped_weights_stay_small() -> None:
    total = sum((ROOT / name).stat().st_size for name in tracked("weights"))
    assert total < 28 * 2**20
