"""HPOLib's table of networks on naval propulsion data: cost-aware search with real training times."""
