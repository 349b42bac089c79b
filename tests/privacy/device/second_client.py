"""A second client, written from docs/ldp_message_format.md in plain Python: no array, and nothing of the package.

Integers do what the page asks to be exact. The functions are slow and short.
"""

import hashlib
import math
import struct
from decimal import ROUND_FLOOR, Decimal, localcontext
from functools import cache

_MASK = 2**64 - 1
_POINT = 320  # fractional bits of the error function
_DIRECTIONS, _NOISE = (11, 31, 12981), (13, 63, 75001)
_LARGEST = 1.7976931348623157e308


# ---------------------------------------------------------------- 1: the fingerprint


def fingerprint(text):
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


# ---------------------------------------------------------------- 2: public words


def public_words(seed, user, count):
    words = []
    block = 1
    while len(words) < count:
        c0, c1, c2, c3 = block, 0, user, 0
        k0, k1 = seed & _MASK, seed >> 64
        for _ in range(10):
            wide0, wide1 = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
            c0, c1, c2, c3 = (wide1 >> 64) ^ c1 ^ k0, wide1 & _MASK, (wide0 >> 64) ^ c3 ^ k1, wide0 & _MASK
            k0, k1 = (k0 + 0x9E3779B97F4A7C15) & _MASK, (k1 + 0xBB67AE8584CAA73B) & _MASK
        words += [c0, c1, c2, c3]
        block += 1
    return words[:count]


# ---------------------------------------------------------------- 3: normal numbers


@cache
def _root_of_half_pi():
    """Return sqrt(pi / 2) in fixed point, with pi by the formula of Machin."""
    guard = _POINT + 32

    def arctan_of_reciprocal(n):
        total, term, k = 0, (1 << guard) // n, 1
        while term:
            total += term // k if k % 4 == 1 else -(term // k)
            term //= n * n
            k += 2
        return total

    pi = 4 * (4 * arctan_of_reciprocal(5) - arctan_of_reciprocal(239)) >> 32
    return math.isqrt(pi << (_POINT - 1))


def _threshold(m, fine, bits):
    """Return floor(2^bits erf(x / sqrt 2)) for x = (m + 1) 2^-fine, by the series of the integral of exp(-t^2 / 2)."""
    x = (m + 1) << (_POINT - fine)
    square = x * x >> _POINT
    total, term, k = 0, x, 0
    while term:
        total += (term if k % 2 == 0 else -term) // (2 * k + 1)
        k += 1
        term = (term * square >> _POINT) // (2 * k)
    return (total << bits) // _root_of_half_pi()


def normal(word, table):
    """Return the odd integer of a word, with a bisection among thresholds that are computed when needed."""
    fine, bits, size = table
    low, high = 0, size - 1  # the last threshold is above all words
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if _threshold(middle, fine, bits) <= word >> 1 else (low, middle)
    return (2 * low + 1) * (-1 if word & 1 else 1)


def public_normals(seed, user, count):
    halves = [half for word in public_words(seed, user, (count + 1) // 2) for half in (word & 0xFFFFFFFF, word >> 32)]
    return [normal(half, _DIRECTIONS) for half in halves[:count]]


# ---------------------------------------------------------------- 4: the record


def _given(*bounds):
    return min(bound for bound in bounds if bound is not None)


class _Units:
    def __init__(self, s):
        d = s["n_features"]
        by_root = None if s["clip_entries"] is None else s["clip_entries"] * math.sqrt(d)
        self.entry = _given(s["clip_x"], s["clip_entries"])
        self.norm = _given(s["clip_x"], by_root)
        self.constant = min(self.entry, self.norm / math.sqrt(d)) if s["fit_intercept"] else 0.0
        self.radius = math.hypot(self.norm, self.constant)


def _cut(value, bound):
    return max(-bound, min(bound, value))


def features(s, x, by_entries):
    units = _Units(s)
    scale = s["scale_x"] if isinstance(s["scale_x"], list) else [s["scale_x"]] * len(x)
    values = [_cut(value / unit, _LARGEST) for value, unit in zip(x, scale, strict=True)]
    if by_entries or s["clip_entries"] is not None:
        values = [_cut(value, units.entry) for value in values]
    largest = max(map(abs, values))
    if not by_entries and s["clip_x"] is not None and largest > 0:
        relative = [value / largest for value in values]
        norm = math.sqrt(math.fsum(value * value for value in relative))
        if norm * largest > units.norm:
            values = [value * (units.norm / norm) for value in relative]
    if s["fit_intercept"]:
        values.append(units.constant)
    return [value / (units.entry if by_entries else units.radius) for value in values]


# ---------------------------------------------------------------- 5: the secret coin


def _keep(eps):
    with localcontext() as context:
        context.prec, context.rounding = 80, ROUND_FLOOR
        odds = Decimal(eps).exp()
        return int(2**64 * odds / (1 + odds))


def _secret_sign(true, agreement, eps, a, b):
    agrees = (a >> 11) * 2.0**-53 < agreement
    return true if agrees == (b < _keep(eps)) else -true


# ---------------------------------------------------------------- 6: one-bit messages


def _on_lattice(values, radius):
    step = 2.0 ** (math.frexp(radius)[1] - 28)
    return [round(value / step) * step for value in values]


def _joint_vector(s, x, response):
    f = features(s, x, by_entries=False)
    if s["moments"] == "cross":
        return [response * value for value in f], 1.0
    root = math.sqrt(2.0)
    products = [f[i] * f[j] * (root if i < j else 1.0) for i in range(len(f)) for j in range(i, len(f))]
    w = s["response_weight"]
    return products + [w * (value * response) for value in f], math.sqrt(1 + w * w)


def _dot(numbers, values):
    return math.fsum(number * value for number, value in zip(numbers, values, strict=True))


def _norm(values):
    return math.sqrt(math.fsum(value * value for value in values))


def _one_bit(s, x, response, user):
    seed, w = s["public_seed"], s["response_weight"]
    if s["mechanism"] == "sphere_joint":
        v, radius = _joint_vector(s, x, response)
        v = _on_lattice(v, radius)
        true = -1 if _dot(public_normals(seed, user, len(v)), v) < 0 else 1
        return true, 0.5 + _norm(v) / (2 * radius)
    if s["mechanism"] == "sketch":
        radius = math.sqrt(1 + w * w)
        z = _on_lattice([*features(s, x, by_entries=False), w * response], radius)
        g = public_normals(seed, user, 2 * len(z))
        differ = (_dot(g[: len(z)], z) < 0) != (_dot(g[len(z) :], z) < 0)
        return -1 if differ else 1, 0.5 + _norm(z) ** 2 / (2 * radius**2)
    f = features(s, x, by_entries=True)
    c, place = public_words(seed, user, 2)
    if s["moments"] == "cross" or c < int(w * w / (1 + w * w) * 2.0**64):
        return 1, 0.5 + f[place * len(f) >> 64] * response / 2
    pairs = [(i, j) for i in range(len(f)) for j in range(i, len(f))]
    i, j = pairs[place * len(pairs) >> 64]
    return 1, 0.5 + f[i] * f[j] / 2


# ---------------------------------------------------------------- 7: Gaussian messages


def _normal_cdf(t):
    return math.erfc(-t / math.sqrt(2)) / 2


def _mu(eps, delta):
    low, high = 1e-6, 100.0
    for _ in range(200):
        mu = (low + high) / 2
        private = _normal_cdf(mu / 2 - eps / mu) - math.exp(eps) * _normal_cdf(-mu / 2 - eps / mu) <= delta
        low, high = (mu, high) if private else (low, mu)
    return low


def _releases(s, x, response):
    """Return pairs of a vector and the standard deviation of its noise."""
    w, eps, delta = s["response_weight"], s["eps"], s["delta"]
    if s["mechanism"] == "gauss_tight":
        v, _ = _joint_vector(s, x, response)
        distance = (2 + w * w) / math.sqrt(2) if w * w <= 2 else 2 * w
        distance = 2.0 if s["moments"] == "cross" else distance
        mu = _mu(eps, delta - (1 + math.exp(eps)) * len(v) * _NOISE[2] * 2.0**-63)
        return [(v, distance * (1 + 1e-9) / (mu - math.sqrt(len(v)) * 2.0**-13))]
    crossed = [value * response for value in features(s, x, by_entries=True)]
    f = features(s, x, by_entries=False)
    vectors = [(crossed, math.sqrt(len(f)))]
    if s["moments"] == "joint":
        vectors.insert(0, ([f[i] * f[j] for i in range(len(f)) for j in range(i, len(f))], 1.0))
    share = len(vectors)
    factor = math.sqrt(2 * math.log(1.25 / (delta / share))) / (eps / share)
    return [(vector, 2 * bound * factor) for vector, bound in vectors]


def _gaussian(s, x, response, coin):
    releases = _releases(s, x, response)
    words = iter(coin(1 + sum(len(vector) for vector, _ in releases)))
    shift = (next(words) >> 11) * 2.0**-53
    return [
        2 * math.floor(value / (2 * (std / 2**14)) + shift) + normal(next(words), _NOISE)
        for vector, std in releases
        for value in vector
    ]


# ---------------------------------------------------------------- 8: bytes


def encode(text, schema, x, y, user, coin):
    """Return the message of a record; `schema` is the text as a dict, and `coin` returns lists of words."""
    response = _cut(y / schema["clip_y"], 1.0)
    if schema["mechanism"] in ("gauss_tight", "paper"):
        numbers = _gaussian(schema, x, response, coin)
        payload = struct.pack(f"<{len(numbers)}i", *numbers)
    else:
        true, agreement = _one_bit(schema, x, response, user)
        payload = bytes([_secret_sign(true, agreement, schema["eps"], *coin(2)) > 0])
    return fingerprint(text) + struct.pack("<Q", user) + payload
