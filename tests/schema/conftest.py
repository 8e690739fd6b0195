"""Load the hypothesis profile."""

from tests.properties.profiles import load

load()
