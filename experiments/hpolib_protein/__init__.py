"""HPOLib's table of networks on the data of protein structure: cost-aware search with real training times."""
