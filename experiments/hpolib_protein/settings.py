"""HPOLib's protein data."""

from experiments.hpolib.settings import comparison

EXPERIMENT = comparison("protein", "protein_structure")
