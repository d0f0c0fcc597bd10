"""Settings come from the environment, say what is wrong, and keep secrets out of sight."""

from __future__ import annotations

from pathlib import Path

import pytest

from clarify import settings as module
from clarify.errors import BadInput
from clarify.settings import Settings, load_settings

ROOT = Path(module.__file__).parent


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"CLARIFY_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_everything_has_a_default() -> None:
    s = load_settings()
    assert s.profile == "nano" and s.graph == "" and s.home == Path.home() / ".clarify"
    assert {s.graph_dir.parent, s.images_dir.parent, s.threads_file.parent} == {s.home}


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "CLARIFY_GRAPH=bolt://file:7687\nCLARIFY_PROFILE=hub:a/b\n", encoding="utf-8"
    )
    monkeypatch.setenv("CLARIFY_GRAPH", "bolt://env:7687")
    monkeypatch.setenv("CLARIFY_HOME", str(tmp_path / "h"))
    s = load_settings()
    assert (s.graph, s.profile, s.home) == ("bolt://env:7687", "hub:a/b", tmp_path / "h")


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARIFY_PROFILE", "")
    assert load_settings().profile == "nano"


def test_a_password_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARIFY_NEO4J_PASSWORD", "hunter2")
    s = load_settings()
    assert s.neo4j_password.get_secret_value() == "hunter2" and "hunter2" not in repr(s)


def test_a_bad_value_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    class Strict(Settings):
        retries: int = 1

    monkeypatch.setattr(module, "Settings", Strict)
    monkeypatch.setenv("CLARIFY_RETRIES", "many")
    with pytest.raises(BadInput, match="CLARIFY_RETRIES"):
        load_settings()


def test_the_example_file_lists_every_setting_and_no_other() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    listed = {line.lstrip("#").split("=")[0] for line in text.splitlines() if line.startswith("#CLARIFY_")}
    assert listed == {f"CLARIFY_{name.upper()}" for name in Settings.model_fields}
