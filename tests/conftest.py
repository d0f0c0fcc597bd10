"""Settings of all tests: a busy machine, or an unlucky draw in CI, must not make a property test fail."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "clarify",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("clarify")
