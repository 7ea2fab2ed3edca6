"""Self-tuning networks on MNIST: against searches of equal seconds, and from five starts of one rate."""
