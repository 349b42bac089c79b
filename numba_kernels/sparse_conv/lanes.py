"""Several neighbouring numbers as one value: sums that stay in the registers of the processor for a whole loop.

A loop over an array that adds to an array loads and stores the sum at every addition. A value of type :class:`Lanes` is
a vector of the compiler, of any length: it becomes as many registers as it needs on whatever processor there is.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import types
from numba.extending import models, register_model

__all__ = ["Lanes", "add_multiple", "clamp", "lanes", "load", "peek", "spread", "store", "width"]

intrinsic: Any = extending.intrinsic
# A multiplication and the addition that uses it may become one instruction, where the processor has it.
_FUSED = ("contract",)
_INDEX = ir.IntType(32)


class Lanes(types.Type):
    """Type of `n` numbers of one kind, next to each other.

    Parameters
    ----------
    scalar : numba.types.Float
        Type of each.
    n : int
        How many.
    """

    def __init__(self, scalar: types.Float, n: int) -> None:
        self.scalar, self.n = scalar, n
        super().__init__(name=f"Lanes({scalar}, {n})")


@register_model(Lanes)
class _Vector(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        scalar = manager.lookup(kind.scalar).get_value_type()
        super().__init__(manager, kind, ir.VectorType(scalar, kind.n))


def _repeat(builder: ir.IRBuilder, number: ir.Value, vector: ir.VectorType) -> ir.Value:
    none = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(none, number, ir.Constant(_INDEX, 0))
    everywhere = ir.Constant(ir.VectorType(_INDEX, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, none, everywhere)


def _pointer(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value, at: ir.Value, to: ir.Type) -> ir.Value:
    data = context.make_array(kind)(context, builder, value=array).data
    return builder.bitcast(builder.gep(data, [at]), to.as_pointer())


def _read(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value, at: ir.Value, to: ir.Type) -> ir.Value:
    return builder.load(_pointer(context, builder, kind, array, at, to), align=kind.dtype.bitwidth // 8)


def _contiguous(array: Any) -> bool:
    return isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"


@intrinsic(prefer_literal=True)
def lanes(_: Any, number: Any, n: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return `n` lanes that hold `number` each; `n` is a constant."""
    if not (isinstance(number, types.Float) and isinstance(n, types.IntegerLiteral)):
        return None
    kind = Lanes(number, n.literal_value)

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        return _repeat(builder, args[0], context.get_value_type(kind))

    return kind(number, n), generate


@intrinsic
def spread(_: Any, number: Any, like: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return as many lanes as `like` has, which hold `number` each."""
    if not (isinstance(like, Lanes) and number == like.scalar):
        return None

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        return _repeat(builder, args[0], args[1].type)

    return like(number, like), generate


@intrinsic
def peek(_: Any, array: Any, at: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return ``array[at]``; indices from the end are not understood, which spares a test."""
    if not _contiguous(array):
        return None

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        to = context.get_data_type(array.dtype)
        return _read(context, builder, array, args[0], args[1], to)

    return array.dtype(array, at), generate


@intrinsic
def load(_: Any, array: Any, at: Any, like: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return the entries of `array` from `at` on, as many as `like` has lanes."""
    if not (_contiguous(array) and isinstance(like, Lanes) and array.dtype == like.scalar):
        return None

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        return _read(context, builder, array, args[0], args[1], args[2].type)

    return like(array, at, like), generate


@intrinsic
def store(_: Any, array: Any, at: Any, value: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Write the lanes of `value` to the entries of `array` from `at` on."""
    if not (_contiguous(array) and isinstance(value, Lanes) and array.dtype == value.scalar):
        return None

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        pointer = _pointer(context, builder, array, args[0], args[1], args[2].type)
        builder.store(args[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, at, value), generate


@intrinsic
def add_multiple(_: Any, value: Any, factor: Any, other: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return ``value + factor * other``, lane by lane."""
    if not (isinstance(value, Lanes) and value == other and factor == value.scalar):
        return None

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        product = builder.fmul(_repeat(builder, args[1], args[0].type), args[2], flags=_FUSED)
        return builder.fadd(args[0], product, flags=_FUSED)

    return value(value, factor, other), generate


@intrinsic
def clamp(_: Any, value: Any, lower: Any, upper: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return the lanes of `value` between two bounds; NaN stays."""
    if not (isinstance(value, Lanes) and lower == upper == value.scalar):
        return None

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        low, high = (_repeat(builder, bound, args[0].type) for bound in args[1:])
        above = builder.select(builder.fcmp_ordered("<", args[0], low), low, args[0])
        return builder.select(builder.fcmp_ordered(">", above, high), high, above)

    return value(value, lower, upper), generate


@intrinsic
def width(_: Any, value: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return the number of lanes."""
    if not isinstance(value, Lanes):
        return None

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        return context.get_constant(types.int64, value.n)

    return types.int64(value), generate
