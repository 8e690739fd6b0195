"""Hypothesis profiles: `ci` gives the same examples every time; `thorough` looks for new ones."""

import os
from importlib import import_module
from pkgutil import walk_packages

from hypothesis import HealthCheck, Phase, settings

import linen_nnx

WITHOUT_SHRINKING = [Phase.explicit, Phase.reuse, Phase.generate]
"""For laws on disk: a large example now beats a small one in minutes."""
_PHASES = [*WITHOUT_SHRINKING, Phase.shrink]
_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]


def load() -> None:
    """Register the profiles and load the one that `HYPOTHESIS_PROFILE` names, else `ci`.

    To be called before test modules are imported: a test takes its settings from the profile of that moment.
    """
    _load_the_package()
    common = settings(deadline=None, phases=_PHASES, suppress_health_check=_SLOW_IS_FINE)
    settings.register_profile("ci", common, derandomize=True, max_examples=60)
    settings.register_profile("thorough", common, max_examples=1000)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def _load_the_package() -> None:
    """All of it, at once: hypothesis draws constants from the modules that are loaded.

    Otherwise examples would depend on which tests the same process has run before.
    """
    for module in walk_packages(linen_nnx.__path__, f"{linen_nnx.__name__}."):
        import_module(module.name)
