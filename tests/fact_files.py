"""Small made-up fact files that a graph can be built from."""

from __future__ import annotations

from pathlib import Path

SOURCES = '[[source]]\nid = "made-up-2020"\ntitle = "A made-up review"\nyear = 2020\n'


def write_facts(folder: Path, word: str, diseases: int, signs: int = 3) -> Path:
    """Writes diseases called "<word> spot number <i>", each with signs "<word> mark <k>"."""
    folder.mkdir()
    (folder / "sources.toml").write_text(SOURCES, encoding="utf-8")
    for i in range(diseases):
        facts = "".join(
            f'[[fact]]\nid = "d{i}-sign-{k}"\npredicate = "clinical sign"\nobject = "{word} mark {k}"\n'
            'source = "made-up-2020"\n'
            for k in range(1, signs + 1)
        )
        text = f'[disease]\nslug = "d{i}"\ncurie = "TEST:{i}"\nname = "{word} spot number {i}"\n{facts}'
        (folder / f"d{i}.toml").write_text(text, encoding="utf-8")
    return folder
