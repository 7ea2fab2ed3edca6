"""HPOLib's table of networks on the data of naval propulsion: cost-aware search with real training times."""
