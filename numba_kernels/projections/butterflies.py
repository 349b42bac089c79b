"""Pieces of the Walsh-Hadamard transform that never leave the registers of the processor.

A vector of the compiler holds as many numbers as a cache line, 64 bytes. It becomes as many registers as it needs on
whatever processor there is: one with AVX-512, two with AVX2, four with 128 bits.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import types

__all__ = ["LINE_BYTES", "combine", "transform_lines"]

LINE_BYTES = 64
_PLACE = ir.IntType(32)
# A multiplication and the addition that uses it may become one instruction, where the processor has it.
_FUSED = ("contract",)

intrinsic: Any = extending.intrinsic


def _line(context: Any, builder: ir.IRBuilder, array: Any, data: ir.Value, at: ir.Value) -> ir.Value:
    """Return a pointer to the cache line of an array that starts at an entry."""
    start = builder.gep(context.make_array(array)(context, builder, value=data).data, [at])
    number = context.get_value_type(array.dtype)
    return builder.bitcast(start, ir.VectorType(number, LINE_BYTES * 8 // array.dtype.bitwidth).as_pointer())


def _transform_between(builder: ir.IRBuilder, vectors: list[ir.Value]) -> list[ir.Value]:
    """Transform vectors entry by entry, as if each were a number."""
    half = len(vectors) // 2
    if not half:
        return vectors
    pairs = list(zip(vectors[:half], vectors[half:], strict=True))
    sums, differences = ([build(a, b) for a, b in pairs] for build in (builder.fadd, builder.fsub))
    return _transform_between(builder, sums) + _transform_between(builder, differences)


def _transform_within(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    """Transform the entries of one vector: in each step, an entry and its partner, at the place with one bit flipped.

    The partner is added to the upper entry of a pair; from it, the lower one is subtracted.
    """
    n, bit = vector.type.count, 1
    while bit < n:
        places = ir.Constant(ir.VectorType(_PLACE, n), [i ^ bit for i in range(n)])
        signs = ir.Constant(vector.type, [-1.0 if i & bit else 1.0 for i in range(n)])
        partners = builder.shuffle_vector(vector, vector, places)
        vector = builder.fadd(partners, builder.fmul(vector, signs, flags=_FUSED), flags=_FUSED)
        bit *= 2
    return vector


def _contiguous(array: Any) -> bool:
    return isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"


@intrinsic(prefer_literal=True)
def transform_lines(
    _: Any, source: Any, first: Any, target: Any, start: Any, lines: Any
) -> tuple[Any, Callable[..., Any]] | None:
    """Write the transform of some cache lines of `source`, from `first` on, to `target`, from `start` on.

    `lines` is a constant, a power of two; `target` may be `source`.
    """
    if not (_contiguous(source) and _contiguous(target) and isinstance(lines, types.IntegerLiteral)):
        return None
    size = source.dtype.bitwidth // 8

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        given = _line(context, builder, source, args[0], args[1])
        out = _line(context, builder, target, args[2], args[3])
        places = [ir.Constant(_PLACE, i) for i in range(lines.literal_value)]
        vectors = [builder.load(builder.gep(given, [place]), align=size) for place in places]
        vectors = [_transform_within(builder, vector) for vector in vectors]
        for place, vector in zip(places, _transform_between(builder, vectors), strict=True):
            builder.store(vector, builder.gep(out, [place]), align=size)
        return context.get_dummy_value()

    return types.void(source, first, target, start, lines), generate


@intrinsic(prefer_literal=True)
def combine(_: Any, array: Any, first: Any, stride: Any, count: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Transform `count` cache lines of `array`, at ``first``, ``first + stride``, ..., entry by entry, in place.

    `count` is a constant, a power of two.
    """
    if not (_contiguous(array) and isinstance(count, types.IntegerLiteral)):
        return None
    size = array.dtype.bitwidth // 8

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        steps = [builder.mul(args[2], ir.Constant(args[2].type, i)) for i in range(count.literal_value)]
        lines = [_line(context, builder, array, args[0], builder.add(args[1], step)) for step in steps]
        vectors = [builder.load(line, align=size) for line in lines]
        for line, vector in zip(lines, _transform_between(builder, vectors), strict=True):
            builder.store(vector, line, align=size)
        return context.get_dummy_value()

    return types.void(array, first, stride, count), generate
