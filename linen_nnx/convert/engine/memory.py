"""How much memory this process has taken."""

import resource
import sys


def most_resident() -> int:
    """Most bytes that were ever resident at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes, but for macOS.
    return peak if sys.platform == "darwin" else peak * 1024
