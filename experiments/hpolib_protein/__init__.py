"""HPOLib's table of networks on protein structure data: cost-aware search with real training times."""
