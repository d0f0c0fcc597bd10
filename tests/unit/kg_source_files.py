"""Tiny invented sources in the formats of the real ones, for test_kg_sources.py."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

FACTS = {
    "sources.toml": '[[source]]\nid = "made-up-2020"\ntitle = "A made-up review"\nyear = 2020\n',
    "blue.toml": """
[disease]
slug = "blue"
curie = "DOID:9001"
name = "blue spot"
synonyms = ["azure macule"]
xrefs = {mesh = "D1"}
[[fact]]
id = "blue-def-1"
predicate = "definition"
object = "a harmless blue mark"
source = "made-up-2020"
""",
    "grey.toml": """
disease = {slug = "grey", curie = "MONDO:9002", name = "grey spot"}
[[fact]]
id = "grey-treat-1"
predicate = "first-line treatment"
object = "cold for a minute"
source = "made-up-2020"
node = "cryotherapy"
""",
}

DO = {
    "HumanDO.tsv": 'id\tlabel\tsubClassOf\n"DOID:16"\t"integumentary system disease"\t"disease"\n'
    '"DOID:9001"\t"spot of blue"\t"integumentary system disease"\n'
    '"DOID:9003"\t"green spot"\t"integumentary system disease"\n'
    '"DOID:9003"\t"green spot"\t"blue spot of DO"\n'
    '"DOID:9004"\t"pink spot"\t"green spot"\n'
    '"DOID:9005"\t"lung trouble"\t"disease"\n'
    '"DOID:9006"\t"nail trouble"\t"disease"\n',
    "allXREFinDO.tsv": 'id\tlabel\txref\n"DOID:9001"\t"spot of blue"\t"MESH:D2"\n'
    '"DOID:9001"\t"spot of blue"\t"ICD10CM:L99"\n'
    '"DOID:9003"\t"green spot"\t"SNOMEDCT_US_2025_09_01:77"\n'
    '"DOID:9003"\t"green spot"\t"ICD10CM:L1"\n"DOID:9003"\t"green spot"\t"ICD10CM:L2"\n',
    "definitions.tsv": "id\tlabel\tdefinition\nDOID:9001\tspot of blue\tA skin disease that is blue.\n"
    "DOID:9003\tgreen spot\tA skin disease that is located_in skin. It is green.\n",
    "DO-subClassOf-anonymous.tsv": "ID\tLABEL\tSubClass Of [ANON]\n"
    "DOID:9006\tnail trouble\t'has symptom' some pain|'disease has location' some ('nail' or foot)\n"
    "DOID:9005\tlung trouble\t'disease has location' some lung\n",
    "disease-symptom.tsv": "disease_id\tdisease_label\tsymptom_id\tsymptom_label\n"
    "DOID:9003\tgreen spot\tSYMP:9001\titching\nDOID:9005\tlung trouble\tSYMP:9002\tcough\n",
    "do_skin_terms.tsv": "id\tlabel\tdefinition\tsynonyms\tparents\tbranch\tICD10CM\n"
    "DOID:9001\tspot of blue\t\tblue macula|Allergic|skin rashes\tDOID:16\tintegumentary\t\n"
    "DOID:9003\tgreen spot\t\tverdant macule|azure macule\tDOID:16\tintegumentary\t\n",
}

OBO = """format-version: 1.2
data-version: releases/2030-01-01/doid.obo

[Term]
id: DOID:16
name: integumentary system disease

[Term]
id: DOID:9001
name: spot of blue
def: "A skin disease that is blue." []
synonym: "blue macula" EXACT []
synonym: "indigo" RELATED []
xref: ICD10CM:L99
xref: MESH:D2
is_a: DOID:16 ! integumentary system disease

[Term]
id: DOID:9003
name: green spot
def: "A skin disease that is located_in skin. It is \\"green\\"." [url:x]
synonym: "verdant macule" EXACT []
xref: SNOMEDCT_US_2025_09_01:77
is_a: DOID:16 {source="x"} ! integumentary system disease

[Term]
id: DOID:9004
name: pink spot
is_a: DOID:9003 ! green spot

[Term]
id: DOID:9005
name: lung trouble

[Term]
id: DOID:9099
name: obsolete spot
is_a: DOID:16
is_obsolete: true

[Typedef]
id: part_of
name: part of
"""

_SYN = {"pred": "hasExactSynonym"}
_PURL = "http://purl.obolibrary.org/obo/DOID_"
GRAPH = {
    "graphs": [
        {
            "meta": {"version": "releases/2030-01-01/doid.json"},
            "nodes": [
                {"id": f"{_PURL}16", "type": "CLASS", "lbl": "integumentary system disease"},
                {
                    "id": f"{_PURL}9001", "type": "CLASS", "lbl": "spot of blue",
                    "meta": {
                        "definition": {"val": "A skin disease that is blue."},
                        "synonyms": [
                            {**_SYN, "val": "blue macula"}, {"pred": "hasRelatedSynonym", "val": "indigo"},
                        ],
                        "xrefs": [{"val": "ICD10CM:L99"}, {"val": "MESH:D2"}],
                    },
                },
                {
                    "id": f"{_PURL}9003", "type": "CLASS", "lbl": "green spot",
                    "meta": {
                        "definition": {"val": "A skin disease that is located_in skin. It is green."},
                        "synonyms": [{**_SYN, "val": "verdant macule"}],
                        "xrefs": [{"val": "SNOMEDCT_US_2025_09_01:77"}],
                    },
                },
                {"id": f"{_PURL}9004", "type": "CLASS", "lbl": "pink spot"},
                {"id": f"{_PURL}9005", "type": "CLASS", "lbl": "lung trouble"},
                {"id": f"{_PURL}9099", "type": "CLASS", "lbl": "old", "meta": {"deprecated": True}},
                {"id": "http://purl.obolibrary.org/obo/BFO_0000050", "type": "PROPERTY", "lbl": "part of"},
            ],
            "edges": [
                {"sub": f"{_PURL}{a}", "pred": "is_a", "obj": f"{_PURL}{b}"}
                for a, b in ((9001, 16), (9003, 16), (9004, 9003), (9099, 16))
            ],
        }
    ]
}  # fmt: skip

_SSSOM = (
    "# license: https://creativecommons.org/publicdomain/zero/1.0/\n"
    "# mapping_set_version: mondo/releases/2030-01-01\n"
    "subject_id\tsubject_label\tpredicate_id\tobject_id\tmapping_justification\n"
)
MONDO = {
    "mondo_exactmatch_doid.sssom.tsv": _SSSOM + "MONDO:1\tblue spot\tskos:exactMatch\tDOID:9001\tx\n",
    "mondo_exactmatch_icd11.foundation.sssom.tsv": _SSSOM
    + "MONDO:1\tblue spot\tskos:exactMatch\ticd11.foundation:123\tx\n"
    + "MONDO:7\tother\tskos:exactMatch\ticd11.foundation:124\tx\n"
    + "MONDO:9002\tgrey spot\tskos:exactMatch\ticd11.foundation:125\tx\n",
    "mondo_exactmatch_mesh.sssom.tsv": _SSSOM + "MONDO:1\tblue spot\tskos:exactMatch\tmesh:D3\tx\n",
    "mondo_exactmatch_umls.sssom.tsv": _SSSOM
    + "MONDO:9002\tgrey spot\tskos:exactMatch\tUMLS:C1\tx\n"
    + "MONDO:9002\tgrey spot\tskos:exactMatch\tUMLS:C2\tx\n"
    + "MONDO:1\tblue spot\tskos:broadMatch\tUMLS:C3\tx\n",
}

SYMP = """data-version: releases/2030-01-01/symp.obo
[Term]
id: SYMP:0000488
name: skin and integumentary tissue symptom
[Term]
id: SYMP:9001
name: itching
synonym: "pruritus" EXACT []
is_a: SYMP:0000488 ! skin and integumentary tissue symptom
[Term]
id: SYMP:9002
name: cough
"""

HPO = {
    "hp_import.obo": "data-version: 2030-01-01\n[Term]\nid: HP:0001574\nname: Abnormality of the integument\n"
    "[Term]\nid: HP:0009001\nname: Thick sole\nis_a: HP:0001574 ! x\n"
    "[Term]\nid: HP:0009002\nname: Dry skin of the heart\n",
    "hpo_layperson_synonyms.tsv": "?term\t?term_label\t?layperson\n"
    '<http://purl.obolibrary.org/obo/HP_0009001>\t"Thick sole"@en\t"Hard foot bottom"\n'
    '<http://purl.obolibrary.org/obo/HP_0009002>\t"Dry skin of the heart"\t"Never mind"\n'
    '<http://purl.obolibrary.org/obo/HP_0009003>\t"Furrowed nail"\t"Groove"\n'
    '<http://purl.obolibrary.org/obo/HP_0009004>\t"Short femur"\t"Short thigh bone"\n',
}

UBERON = """[Term]
id: UBERON:0000014
name: zone of skin
[Term]
id: UBERON:9001
name: skin of hand
synonym: "hand skin" EXACT []
is_a: UBERON:0000014 ! zone of skin
relationship: BFO:0000050 UBERON:9002 ! part of hand
[Term]
id: UBERON:9002
name: hand
[Term]
id: UBERON:9003
name: liver
[Term]
id: BFO:0000001
name: entity
"""

HETIONET = {
    "nodes.tsv": "id\tname\tkind\nDisease::DOID:9001\tblue spot\tDisease\n"
    "Disease::DOID:9003\tgreen spot\tDisease\n"
    "Symptom::D9\tItch, Sudden\tSymptom\nAnatomy::UBERON:9002\thand\tAnatomy\n"
    "Compound::DB1\tAquacillin\tCompound\n"
    "Compound::DB2\tPetrolol\tCompound\nPharmacologic Class::N1\tWaters\tPharmacologic Class\n"
    "Gene::1\tA1\tGene\n",
    "edges.tsv": "source\tmetaedge\ttarget\nDisease::DOID:9001\tDpS\tSymptom::D9\n"
    "Disease::DOID:9001\tDlA\tAnatomy::UBERON:9002\nDisease::DOID:9001\tDrD\tDisease::DOID:9003\n"
    "Compound::DB1\tCtD\tDisease::DOID:9001\nCompound::DB1\tCpD\tDisease::DOID:9001\n"
    "Pharmacologic Class::N1\tPCiC\tCompound::DB1\nPharmacologic Class::N1\tPCiC\tCompound::DB2\n"
    "Compound::DB2\tCtD\tDisease::DOID:9003\nDisease::DOID:9001\tDaG\tGene::1\n",
}

SKINCON = {
    "skincon_fitzpatrick17k.csv": "ImageID,Papule,Warty/Papillomatous,Do not consider this image\n"
    "a1.jpg,1,0,0\na2.jpg,1,1,0\na3.jpg,0,0,0\na4.jpg,1,1,1\nb1.jpg,0,1,0\n",
    "fitzpatrick17k_labels.csv": "md5hash,fitzpatrick_scale,label,url\n"
    "a1,1,blue spots,http://x\na2,1,blue spots,http://x\na3,2,blue spots,http://x\n"
    "a4,2,blue spots,\nb1,3,odd rash,\n",
}

TRIPLES = """subject,subject_name,predicate,object,other,source,source_title,source_year,section
MY:1,violet spot,definition,a violet mark of the skin,,my-atlas-2021,My atlas,2021,Page 3
MY:1,,clinical sign,"a smooth, violet edge",,,,,
MY:1,,differs from,its colour,DOID:9001,,,,
MY:1,,synonym,purple macule,,,,,
MY:1,,is a,DOID:9001,,,,,
MY:1,,icd10cm,L98,,,,,
DOID:9001,,definition,a blue thing,,made-up-2020,,,
"""

GRAPHML = """<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key id="d0" for="node" attr.name="label" attr.type="string"/>
<key id="d1" for="node" attr.name="name" attr.type="string"/>
<graph edgedefault="directed">
<node id="MY:1"><data key="d0">Disease</data><data key="d1">violet spot</data>
<data key="synonyms">purple macule|lilac &amp; mauve</data><data key="icd10cm">L98</data></node>
<node id="MY:2"><data key="d0">Sign</data><data key="d1">smooth edge</data></node>
<edge source="MY:1" target="MY:2"><data key="type">HAS_SIGN</data>
<data key="object">a smooth edge</data></edge>
<edge source="MY:1" target="DOID:9001"><data key="type">IS_A</data></edge>
</graph></graphml>
"""

FILES: dict[str, dict[str, str]] = {
    "do": DO,
    "mondo": MONDO,
    "symp": {"symp.obo": SYMP},
    "hpo": HPO,
    "uberon": {"uberon_import.obo": UBERON},
    "hetionet": HETIONET,
    "skincon": SKINCON,
}
"""Source -> the files of its folder."""
SINGLE = {"triples": ("mine.csv", TRIPLES), "graphml": ("mine.graphml", GRAPHML)}
"""Source -> its one file."""


def write(folder: Path, files: dict[str, str], *, packed: bool = False) -> Path:
    """Writes files into a folder, with gzip when asked."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / name).write_text(text, encoding="utf-8")
    return folder


def graph_text() -> str:
    """The ontology as OBO graph JSON."""
    return json.dumps(GRAPH)
