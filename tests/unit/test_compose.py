"""docker-compose.yml: the tested version, local only, no password in it, no APOC."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SERVICE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["neo4j"]


def test_it_is_the_version_that_the_tests_run() -> None:
    tested = re.search(r"<version>(5\.\d+)\.\d+</version>", (ROOT / "tests/neo4j/pom.xml").read_text())
    assert tested and SERVICE["image"] == f"neo4j:{tested.group(1)}-community"


def test_it_listens_here_only_and_keeps_its_data() -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICE["ports"])
    assert any(volume.endswith(":/data") for volume in SERVICE["volumes"])
    assert "cypher-shell" in SERVICE["healthcheck"]["test"][1]


def test_the_password_comes_from_the_environment_and_there_is_no_apoc() -> None:
    assert re.fullmatch(r"neo4j/\$\{CLARIFY_NEO4J_PASSWORD:\?[^}]+\}", SERVICE["environment"]["NEO4J_AUTH"])
    assert "NEO4J_PLUGINS" not in SERVICE["environment"]
