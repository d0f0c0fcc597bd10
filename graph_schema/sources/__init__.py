"""Importers: one per source, by the name that `--source NAME=PATH` uses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import BadInput
from .disease_ontology import read_disease_ontology
from .graphml import read_graphml
from .hetionet import read_hetionet
from .items import Importer
from .mondo import read_mondo
from .phenotypes import read_anatomy, read_phenotypes, read_symptoms
from .skincon import read_skincon
from .triples import read_triples

_CC0 = "CC0 1.0"
_OWN = "as stated by whoever wrote the file"
_HETIONET = (
    "CC0 1.0 for the original content; DrugCentral classes CC BY 4.0; MEDLINE co-occurrence public domain"
)
_SKINCON = "SkinCon: none stated; Fitzpatrick17k labels: CC BY-NC-SA 3.0"
_HPO = "HPO licence: free use with citation and version shown, content not altered"

# fmt: off
_TABLE = (
    Importer("do", "Human Disease Ontology", "Institute for Genome Sciences, University of Maryland", _CC0, read_disease_ontology, identifier="doi:10.1093/nar/gkab1063"),  # noqa: E501
    Importer("mondo", "Mondo Disease Ontology, exact matches", "Monarch Initiative", "matches CC0 1.0; Mondo CC BY 4.0", read_mondo, identifier="doi:10.1101/2022.04.13.22273750"),  # noqa: E501
    Importer("hetionet", "Hetionet v1.0", "Himmelstein et al.", _HETIONET, read_hetionet, year=2017, identifier="doi:10.7554/eLife.26726"),  # noqa: E501
    Importer("symp", "Symptom Ontology", "Institute for Genome Sciences, University of Maryland", _CC0, read_symptoms),  # noqa: E501
    Importer("hpo", "Human Phenotype Ontology, lay wordings", "Human Phenotype Ontology Consortium", _HPO, read_phenotypes, identifier="doi:10.1093/nar/gkad1005"),  # noqa: E501
    Importer("uberon", "Uberon multi-species anatomy ontology", "Uberon developers", "CC BY 3.0", read_anatomy, identifier="doi:10.1186/gb-2012-13-1-r5"),  # noqa: E501
    Importer("skincon", "SkinCon joined with Fitzpatrick17k", "Daneshjou et al.; Groh et al.", _SKINCON, read_skincon, year=2022),  # noqa: E501
    Importer("triples", "Table of facts", "", _OWN, read_triples, per_file=True),
    Importer("graphml", "GraphML of facts", "", _OWN, read_graphml, per_file=True),
)
# fmt: on

IMPORTERS: dict[str, Importer] = {importer.name: importer for importer in _TABLE}
"""In the order in which they build on each other: what follows hangs on diseases and nodes that are there."""


def chosen_sources(words: Sequence[str]) -> list[tuple[Importer, Path]]:
    """Reads `NAME=PATH` words, and puts them into the order of `IMPORTERS`.

    Raises:
        BadInput: Another form, an unknown name, or a path that does not exist.
    """
    chosen = []
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or not path:
            raise BadInput(f"{word!r} is no source.", hint=f"Write NAME=PATH; names: {', '.join(IMPORTERS)}.")
        if name not in IMPORTERS:
            raise BadInput(f"unknown source {name!r}.", hint=f"Sources: {', '.join(IMPORTERS)}.")
        if not Path(path).expanduser().exists():
            raise BadInput(f"there is no {path} for the source {name}.", hint="Give a file or folder.")
        chosen.append((IMPORTERS[name], Path(path).expanduser()))
    order = list(IMPORTERS)
    return sorted(chosen, key=lambda pair: (order.index(pair[0].name), str(pair[1])))
