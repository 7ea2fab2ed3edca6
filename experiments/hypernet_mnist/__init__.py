"""Lorraine and Duvenaud (2018): linear regression on MNIST's one-hot labels, L2 weights tuned through hypernetworks."""
