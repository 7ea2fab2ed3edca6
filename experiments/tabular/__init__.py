"""Real trainings of the MNIST network, recorded once and interpolated, on which every method runs many seeds."""
