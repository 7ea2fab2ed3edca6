"""HPOLib's naval data."""

from experiments.hpolib.settings import comparison

EXPERIMENT = comparison("naval", "naval_propulsion")
