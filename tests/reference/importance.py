"""Plain NumPy float64 twins of importance sampling, written from Katharopoulos and Fleuret (ICML 2018)."""

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return -np.log(softmax(logits)[np.arange(len(labels)), labels])


def upper_bound(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Section 3.2: || softmax(z) - onehot(y) ||."""
    return np.linalg.norm(softmax(logits) - np.eye(logits.shape[-1])[labels], axis=-1)


def linear_gradient_norm(inputs: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Exact norm for logits = inputs @ kernel + bias: the gradient is (inputs, 1) outer (softmax - onehot)."""
    return upper_bound(logits, labels) * np.sqrt(1 + np.sum(inputs**2, axis=-1))


def tau(scores: np.ndarray) -> float:
    """Algorithm 1, line 17: (1 - |g - u|^2 / |g|^2)^(-1/2) with u = 1/N."""
    g = scores / scores.sum()
    return float((1 - np.sum((g - 1 / len(g)) ** 2) / np.sum(g**2)) ** -0.5)


def weights(scores: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Algorithm 1: w_i = 1 / (B g_i)."""
    g = scores / scores.sum()
    return 1 / (len(g) * g[indices])


def threshold(presample_size: int, batch_size: int) -> float:
    """Equation 29."""
    return (presample_size + 3 * batch_size) / (3 * batch_size)


def variance_reduction(gradients: np.ndarray, scores: np.ndarray) -> float:
    """Trace of the variance of a uniform draw over that of a weighted one, for per-example gradients in rows."""
    g = scores / scores.sum()
    mean = gradients.mean(axis=0)
    squares = np.sum(gradients**2, axis=1)
    uniform = squares.mean() - mean @ mean
    weighted = np.sum(squares / (len(g) ** 2 * g)) - mean @ mean
    return float(uniform / weighted)
