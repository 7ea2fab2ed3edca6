"""Real trainings of the MNIST network, recorded once and interpolated, so that every method can run many seeds."""
