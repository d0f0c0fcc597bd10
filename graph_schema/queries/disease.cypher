// Everything kept about one disease itself. $disease: id of a Disease node.
MATCH (d:Disease {id: $disease})
RETURN d.id AS curie, d.name AS name, d.slug AS slug, d.synonyms AS synonyms, d.parents AS parents, d.doid AS doid, d.icd10cm AS icd10cm,
       d.icd11 AS icd11, d.snomedct AS snomedct, d.mesh AS mesh, d.umls AS umls
