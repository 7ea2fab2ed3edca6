"""A small network on scikit-learn's digits: the experiments' protocol in minutes, another split of the data a seed."""
