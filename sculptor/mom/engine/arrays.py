"""Small functions over numpy arrays that several layers share; each keeps the dtype it is given.

Functions that say *in place* overwrite their argument and return it. Overflow in an exponential
is meant where it happens (``1 / (1 + inf)`` is zero) and is silenced once, by the model.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Ints = NDArray[np.int64]


def sigmoid(x: Array) -> Array:
    """Return ``1 / (1 + exp(-x))``."""
    y = np.negative(x)
    np.exp(y, out=y)
    y += 1
    np.reciprocal(y, out=y)
    return y


def silu(x: Array) -> Array:
    """Return ``x * sigmoid(x)``."""
    y = np.negative(x)
    np.exp(y, out=y)
    y += 1
    np.divide(x, y, out=y)
    return y


def softplus(x: Array) -> Array:
    """Return ``log(1 + exp(x))``."""
    y: Array = np.logaddexp(x, np.zeros((), x.dtype))
    return y


def softmax(x: Array) -> Array:
    """Return the softmax over the last axis."""
    y: Array = np.exp(x - x.max(axis=-1, keepdims=True))
    y /= y.sum(axis=-1, keepdims=True)
    return y


def rms_norm(x: Array, *, weight: Array, eps: float) -> Array:
    """Return ``x`` over its root mean square along the last axis, times ``weight``."""
    mean = np.einsum("...d,...d->...", x, x)[..., None] / x.shape[-1]
    y: Array = x * (1 / np.sqrt(mean + x.dtype.type(eps)))
    y *= weight
    return y


def unit_length(x: Array, *, eps: float = 1e-6) -> Array:
    """Bring every row along the last axis to length one, in place; ``eps`` is added squared."""
    x *= 1 / np.sqrt(np.einsum("...d,...d->...", x, x) + x.dtype.type(eps))[..., None]
    return x
