"""Options of commands that may be told about the patient."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..errors import BadInput

Age = Annotated[float | None, typer.Option("--age", help="Age in years, where known.", min=0.01, max=120)]
Sex = Annotated[str | None, typer.Option("--sex", help="female or male, where known.")]
Site = Annotated[str | None, typer.Option("--site", help="Where on the body, where known.")]


def patient_of(age: float | None, sex: str | None, site: str | None) -> dict[str, Any]:
    """Returns what the options say as a patient's context.

    Raises:
        BadInput: A sex or a site that nothing is known about; without the option the rest still counts.
    """
    from ..tools.patient_prior import site_of

    if sex is not None and sex not in ("female", "male"):
        raise BadInput(
            f"--sex {sex} says nothing to the specialist.", hint="Give female or male, or leave it out."
        )
    if site is not None and not site_of(site):
        raise BadInput(
            f"--site {site} is no site that was learnt.", hint="For example back, face, upper extremity."
        )
    given = {"age": age, "sex": sex, "site": site}
    return {name: value for name, value in given.items() if value is not None}
