"""`clarify doctor`: is every part there, and what to do about those that are not."""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ClarifyError, Unavailable
from .console import Progress, emit, printable

PACKAGES = tuple(
    "torch torchvision transformers bitsandbytes timm open-clip-torch xgrammar".split()
    + "langgraph ladybug neo4j".split()
)


@dataclass(frozen=True)
class Part:
    """What was found of one part.

    Attributes:
        name: The part.
        ok: Whether CLARIFY can work with what was found.
        found: What was found.
        todo: What to do, empty when nothing is to be done.
    """

    name: str
    ok: bool
    found: str
    todo: str = ""


def check_python() -> Part:
    """Python is new enough."""
    fine = sys.version_info >= (3, 11)
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Part("python", fine, found, "" if fine else "Install Python 3.11 or newer and run make install.")


def check_packages() -> Part:
    """The large dependencies are installed; they are not imported here."""
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Part("packages", False, f"missing: {', '.join(missing)}", "Run make install.")
    return Part("packages", True, ", ".join(found))


def check_settings() -> Part:
    """Settings can be read."""
    from ..settings import load_settings

    settings = load_settings()
    return Part("settings", True, f"profile {settings.profile}, graph {settings.graph or 'embedded'}")


def check_home() -> Part:
    """The data folder can be written to."""
    from ..settings import load_settings

    home = load_settings().home
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        return Part("home", False, f"{home}: {error.strerror}", "Set CLARIFY_HOME to a writable folder.")
    return Part("home", True, str(home))


def check_specialist() -> Part:
    """The classifier's files have the recorded SHA-256."""
    from ..tools.specialist import DEFAULT, FILES, HINT

    return _recorded("specialist", DEFAULT, FILES, HINT)


def check_segmenter() -> Part:
    """The segmentation network's files have the recorded SHA-256."""
    from ..tools.segmenter import DEFAULT, FILES, HINT

    return _recorded("segmenter", DEFAULT, FILES, HINT)


def check_concepts() -> Part:
    """The dual encoder's files have the recorded SHA-256."""
    from ..settings import load_settings
    from ..tools.concepts.concepts import CALIBRATION
    from ..tools.concepts.encoder import DEFAULT, FILES, HINT

    if chosen := load_settings().encoder:
        return Part("dual encoder", True, f"{chosen}, which is loaded when it is first needed")
    return _recorded("dual encoder", DEFAULT, (*FILES, CALIBRATION), HINT)


def _recorded(name: str, folder: Path, files: Sequence[str], hint: str) -> Part:
    """Shipped weights whose files have the recorded SHA-256."""
    from ..tools.weights import verified

    sha256 = verified(folder, files, name, hint)
    return Part(name, True, f"{_megabytes(folder)}, sha256 {sha256}")


def check_generalist() -> Part:
    """The shipped VLM's files have the recorded SHA-256."""
    from ..agent.generalist.loading import check_folder

    folder = Path(__file__).resolve().parent.parent / "weights" / "nano"
    return Part("generalist nano", True, f"{_megabytes(folder)}, sha256 {check_folder(folder)}")


def check_graph() -> Part:
    """The graph opens and holds diseases and facts."""
    from ..graph_schema.retrieval import stats
    from ..graph_schema.stores import open_graph
    from ..settings import load_settings

    settings = load_settings()
    kg = open_graph()
    try:
        held = stats(kg)
    finally:
        kg.close()
    facts, diseases = sum(held.sources.values()), held.labels.get("Disease", 0)
    where = settings.graph or f"embedded in {settings.graph_dir}"
    found = f"{where}: {facts} facts on {diseases} diseases, version {held.version[:12]}"
    todo = "" if facts else "Load the facts: clarify kg load, or clarify kg build for the embedded graph."
    return Part("graph", facts > 0, found, todo)


def check_gpu() -> Part:
    """Which device computes; none is no fault."""
    import torch

    if not torch.cuda.is_available():
        return Part("gpu", True, f"none; {torch.get_num_threads()} CPU threads compute")
    device = torch.cuda.get_device_properties(0)
    return Part("gpu", True, f"{device.name}, {device.total_memory / 2**30:.0f} GiB")


def _megabytes(folder: Path) -> str:
    return f"{sum(f.stat().st_size for f in folder.rglob('*') if f.is_file()) / 1e6:.1f} MB"


CHECKS: tuple[tuple[str, Callable[[], Part]], ...] = (
    ("python", check_python),
    ("packages", check_packages),
    ("settings", check_settings),
    ("home", check_home),
    ("specialist", check_specialist),
    ("segmenter", check_segmenter),
    ("dual encoder", check_concepts),
    ("generalist nano", check_generalist),
    ("graph", check_graph),
    ("gpu", check_gpu),
)


def examine(name: str, check: Callable[[], Part]) -> Part:
    """Runs one check; whatever goes wrong in it is that part's finding."""
    try:
        return check()
    except ClarifyError as error:
        return Part(name, False, str(error), error.hint or "Run clarify doctor --debug for more.")
    except Exception as error:  # a broken package must not keep the other parts from being examined
        return Part(name, False, f"{type(error).__name__}: {error}", "Run make install again.")


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check every part and say what to do."""
    from .console import out

    parts = []
    with Progress() as progress:
        for name, check in CHECKS:
            progress(f"checking {name}")
            parts.append(examine(name, check))
    if as_json:
        emit([asdict(part) for part in parts])
    else:
        console = out()
        for part in parts:
            console.print(
                f"{'ok' if part.ok else 'NOT OK':<7}", style="green" if part.ok else "bold red", end=""
            )
            console.print(
                printable(f"{part.name:<16} {part.found}" + (f"\n{'':<24}{part.todo}" if part.todo else ""))
            )
    if not all(part.ok for part in parts):
        raise typer.Exit(Unavailable.exit_code)


def register(app: typer.Typer) -> None:
    """Adds the command to the root."""
    app.command()(doctor)
