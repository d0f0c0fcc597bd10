"""Settings of a process: environment variables with the prefix `CLARIFY_`, or the same names in `.env`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import BadInput


class Settings(BaseSettings):
    """Where things are kept and which parts are used; every field has a working default.

    Fields are read from `CLARIFY_<NAME>`; `.env.example` lists them all.
    """

    model_config = SettingsConfigDict(
        env_prefix="CLARIFY_",
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
    )

    home: Path = Field(default=Path("~/.clarify"), description="Built graph, pictures and conversations.")
    graph: str = Field(default="", description="bolt:// or neo4j:// address; empty: the embedded graph.")
    neo4j_user: str = Field(default="neo4j", description="User of the Neo4j server.")
    neo4j_password: SecretStr = Field(default=SecretStr(""), description="Password of the Neo4j server.")
    neo4j_database: str = Field(default="neo4j", description="Database on the Neo4j server.")
    experts: str = Field(
        default="", description="Modules with further experts, separated by commas; see the README."
    )
    encoder: str = Field(
        default="", description="Dual encoder: a folder or a model of open_clip; empty: the shipped one."
    )
    profile: str = Field(default="nano", description="Generalist; see the README, section Profiles.")

    @field_validator("home")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser()

    @property
    def graph_dir(self) -> Path:
        """Folder of the embedded graph that is built on first use."""
        return self.home / "graph"

    @property
    def images_dir(self) -> Path:
        """Folder of the pictures of conversations, stored by SHA-256."""
        return self.home / "images"

    @property
    def threads_file(self) -> Path:
        """SQLite file with the conversations of the command line."""
        return self.home / "threads.sqlite"


def load_settings() -> Settings:
    """Reads the settings afresh.

    Raises:
        BadInput: A value cannot be used; the message names the variable.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "CLARIFY_" + "_".join(str(part) for part in first["loc"]).upper()
        raise BadInput(f"setting {name} cannot be used: {first['msg']}.", hint="See .env.example.") from error
