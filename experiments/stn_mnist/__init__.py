"""Self-tuning networks on MNIST: against searches given the same seconds, and from five starts of one rate."""
