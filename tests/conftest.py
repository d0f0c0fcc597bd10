"""Settings of all tests: a slow or busy machine must not make a property test fail."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("clarify", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("clarify")
