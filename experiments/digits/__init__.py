"""A small network on scikit-learn's digits: the experiments' protocol in minutes, with another split of the data for
each seed."""
