"""Twins of synthetic functions in two fidelities, for one point, written from the sources in other forms than ours."""

import math


def currin(x1: float, x2: float) -> float:
    """Currin et al. 1988, both polynomials by Horner's rule; to be maximised."""
    ratio = (60 + x1 * (2092 + x1 * (1900 + 2300 * x1))) / (20 + x1 * (4 + x1 * (500 + 100 * x1)))
    return ratio if x2 < 1e-9 else -math.expm1(-1 / (2 * x2)) * ratio


def currin_cheap(x1: float, x2: float) -> float:
    """Xiong, Qian and Wu 2013, equation 5."""
    below = max(0.0, x2 - 0.05)
    upper = currin(x1 + 0.05, x2 + 0.05) + currin(x1 - 0.05, x2 + 0.05)
    return (upper + currin(x1 + 0.05, below) + currin(x1 - 0.05, below)) / 4


def borehole(x: list[float], *, factor: float = 2 * math.pi, constant: float = 1.0) -> float:
    """One fraction with Kw rw^2 and Tl cleared; Xiong, Qian and Wu 2013 take 5 and 1.5 for the cheap one."""
    rw, r, tu, hu, tl, hl, length, kw = x
    log = math.log(r) - math.log(rw)
    below = constant * log * rw * rw * kw * tl + 2 * length * tu * tl + tu * log * rw * rw * kw
    return factor * tu * tl * rw * rw * kw * (hu - hl) / below


def wing_weight(x: list[float], *, exponent: float = 0.758, painted: bool = True) -> float:
    """By logarithms; Chen et al. 2024 take the exponent 0.9 and no paint for their third cheap one."""
    area, fuel, aspect, sweep, pressure, taper, thickness, load, gross, paint = x
    log = exponent * math.log(area) + 0.0035 * math.log(fuel) + 0.6 * math.log(aspect) + 0.006 * math.log(pressure)
    log += 0.04 * math.log(taper) - 0.3 * math.log(100 * thickness) + 0.49 * math.log(load * gross)
    log -= 0.9 * math.log(math.cos(sweep * math.pi / 180))
    return 0.036 * math.exp(log) + (area * paint if painted else 0.0)
