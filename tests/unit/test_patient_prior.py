"""Age, sex and site refine the specialist: what counts as known, and that it moves the right way."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarify.apps.patient import patient_of
from clarify.errors import BadInput
from clarify.tools.patient_prior import PatientPrior, log_ratios, site_of
from clarify.training.specialist.calibrate import fit_patient, fit_refinement

PRIOR = PatientPrior(
    strength=0.5,
    decade=[[float(k), 0.0] for k in range(9)],
    sex={"female": [0.0, 1.0], "male": [1.0, 0.0]},
    site={"back": [2.0, 0.0], "upper extremity": [0.0, 2.0]},
)


@pytest.mark.parametrize(
    ("said", "site"),
    [
        ("left forearm", "upper extremity"),
        ("back of hand", "hand"),
        ("shoulder blade", "back"),
        ("sole of foot", "foot"),
        ("Cheek", "face"),
        ("upper extremity", "upper extremity"),
        ("lower back", "back"),
        ("hip", ""),
        ("whole body", ""),
        ("", ""),
    ],
)
def test_a_site_in_everyday_words(said, site):
    assert site_of(said) == site


@given(st.text(max_size=40))
def test_any_words_are_a_site_or_none(said):
    assert site_of(said) == "" or site_of(site_of(said)) == site_of(said)


@pytest.mark.parametrize("age", [0, -3, 130, "old", None, True, math.nan, math.inf])
def test_an_age_that_is_none_is_not_used(age):
    assert PRIOR.known({"age": age}) == {}


def test_only_what_is_known_shifts():
    assert PRIOR.known({"age": 67, "sex": "male", "site": "left forearm", "bleeds": True}) == {
        "age": 67.0,
        "sex": "male",
        "site": "upper extremity",
    }
    assert not PRIOR.shift({}).any() and not PRIOR.shift(PRIOR.known(None)).any()
    assert PRIOR.shift({"age": 67.0}).tolist() == [3.0, 0.0]
    assert PRIOR.shift({"age": 104.0, "sex": "male"}).tolist() == [4.5, 0.0]


def test_ratios_say_how_much_likelier_a_value_is_in_a_class():
    ratios = log_ratios(np.array([[900.0, 10.0], [100.0, 90.0]]))
    assert ratios[0][0] > 0 > ratios[0][1] and ratios[1][1] > 1 > 0 > ratios[1][0]
    assert np.allclose(log_ratios(np.array([[500.0, 50.0], [500.0, 50.0]])), 0)


def test_a_value_that_nobody_had_says_nothing():
    assert log_ratios(np.array([[5.0, 5.0], [0.0, 0.0]]))[1] == [0.0, 0.0]


def test_fitting_finds_what_the_patients_tell():
    """Class 1 is old and on the back; the pictures tell nothing, so that the patient must."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 2000)
    people = [
        {
            "age": float(np.clip(rng.normal(70 if label else 30, 12), 1, 99)),
            "site": "back" if label else "face",
        }
        for label in labels
    ]
    for person in people[:300]:
        person.clear()
    prior = fit_patient(people[:1000], labels[:1000], 2)
    blank = np.zeros((1000, 2), np.float32)
    fitted = {"offset": [0.0, 0.0], "temperature": 1.0, "second_temperature": 1.0, "coverage": 0.9}
    out = fit_refinement(prior, fitted, (blank, blank), people[1000:], labels[1000:])
    tuned = PatientPrior.model_validate(out["patient"])
    shifts = np.stack([tuned.shift(tuned.known(person)) for person in people[1000:]])
    assert (shifts.argmax(1) == labels[1000:]).mean() > 0.95 and 0.2 < tuned.strength <= 1.5
    assert len(out["refined_conformal"]) == 2 and 0 < min(out["refined_conformal"])


def test_options_that_say_nothing_are_refused():
    assert patient_of(50, "female", "left arm") == {"age": 50, "sex": "female", "site": "left arm"}
    assert patient_of(None, None, None) == {}
    for options in ((None, "f", None), (None, None, "hip")):
        with pytest.raises(BadInput):
            patient_of(*options)
