"""Several neighbouring numbers as one value: sums that stay in the registers of the processor for a whole loop.

A loop over an array that adds to an array loads and stores the sum at every addition. A value of type :class:`Lanes` is
some vectors of the compiler, each as long as a cache line, 64 bytes. A vector becomes as many registers as it needs on
whatever processor there is: one with AVX-512, two with AVX2, four with 128 bits.
"""

from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, types
from numba.core import config as settings
from numba.core.codegen import get_host_cpu_features
from numba.extending import models, register_model
from numba.np.arrayobj import populate_array

__all__ = [
    "Lanes",
    "add_multiple",
    "add_product",
    "array_at",
    "clamp",
    "has_wide_registers",
    "lanes",
    "load",
    "peek",
    "spread",
    "store",
    "store_first",
    "width",
]

_LINE_BITS = 512
_INDEX = ir.IntType(32)
_COUNT = ir.IntType(64)
# A multiplication and the addition that uses it may become one instruction, where the processor has it.
_FUSED = ("contract",)

intrinsic: Any = extending.intrinsic


def has_wide_registers() -> bool:
    """Return whether code is compiled for a processor with AVX-512."""
    # Code can be compiled for another processor than this one.
    chosen = getattr(settings, "CPU_FEATURES", None)
    return "+avx512f" in (get_host_cpu_features() if chosen is None else chosen)


class Lanes(types.Type):
    """Type of the numbers of some cache lines, next to each other.

    Parameters
    ----------
    scalar : numba.types.Float
        Type of each number.
    lines : int
        How many cache lines they fill.
    """

    def __init__(self, scalar: types.Float, lines: int) -> None:
        self.scalar, self.lines = scalar, lines
        super().__init__(name=f"Lanes({scalar}, {lines})")

    @property
    def per_line(self) -> int:
        """Numbers in a cache line."""
        return int(_LINE_BITS // self.scalar.bitwidth)


@register_model(Lanes)
class _Vectors(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        scalar = manager.lookup(kind.scalar).get_value_type()
        super().__init__(manager, kind, ir.ArrayType(ir.VectorType(scalar, kind.per_line), kind.lines))


def _repeat(builder: ir.IRBuilder, number: ir.Value, n: int) -> ir.Value:
    vector = ir.VectorType(number.type, n)
    none = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(none, number, ir.Constant(_INDEX, 0))
    return builder.shuffle_vector(first, none, ir.Constant(ir.VectorType(_INDEX, n), [0] * n))


def _joined(builder: ir.IRBuilder, vectors: list[ir.Value]) -> ir.Value:
    value = ir.Constant(ir.ArrayType(vectors[0].type, len(vectors)), ir.Undefined)
    for j, vector in enumerate(vectors):
        value = builder.insert_value(value, vector, j)
    return value


def _parts(builder: ir.IRBuilder, value: ir.Value) -> list[ir.Value]:
    return [builder.extract_value(value, j) for j in range(value.type.count)]


def _lines(
    context: Any, builder: ir.IRBuilder, array: Any, data: ir.Value, at: ir.Value, like: Any
) -> Iterator[ir.Value]:
    """Yield pointers to the cache lines of an array from an entry on."""
    start = builder.gep(context.make_array(array)(context, builder, value=data).data, [at])
    vector = context.get_value_type(like).element.as_pointer()
    for j in range(like.lines):
        yield builder.bitcast(builder.gep(start, [ir.Constant(_COUNT, j * like.per_line)]), vector)


def _fits(array: Any, like: Any) -> bool:
    return isinstance(like, Lanes) and _contiguous(array) and bool(array.dtype == like.scalar)


def _contiguous(array: Any) -> bool:
    return isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"


@intrinsic(prefer_literal=True)
def lanes(_: Any, number: Any, lines: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return as many numbers as fill `lines` cache lines, a constant; each is `number`."""
    if not (isinstance(number, types.Float) and isinstance(lines, types.IntegerLiteral)):
        return None
    kind = Lanes(number, lines.literal_value)

    def generate(_context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        return _joined(builder, [_repeat(builder, args[0], kind.per_line)] * kind.lines)

    return kind(number, lines), generate


@intrinsic
def spread(_: Any, number: Any, like: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return as many lanes as `like` has, which hold `number` each."""
    if not (isinstance(like, Lanes) and number == like.scalar):
        return None

    def generate(_context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        return _joined(builder, [_repeat(builder, args[0], like.per_line)] * like.lines)

    return like(number, like), generate


@intrinsic
def width(_: Any, value: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return the number of lanes."""
    if not isinstance(value, Lanes):
        return None

    def generate(context: Any, _builder: ir.IRBuilder, _: Any, _args: Any) -> ir.Value:
        return context.get_constant(types.int64, value.lines * value.per_line)

    return types.int64(value), generate


@intrinsic
def array_at(_: Any, address: Any, size: Any, like: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return the `size` numbers at an address as an array, of the type of the entries of `like`."""
    if not (isinstance(address, types.Integer) and isinstance(size, types.Integer) and _contiguous(like)):
        return None
    kind = types.Array(like.dtype, 1, "C")

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        array = context.make_array(kind)(context, builder)
        data = builder.inttoptr(args[0], array.data.type)
        step = context.get_constant(types.intp, like.dtype.bitwidth // 8)
        populate_array(array, data=data, shape=[args[1]], strides=[step], itemsize=step, meminfo=None)
        return array._getvalue()

    return kind(address, size, like), generate


@intrinsic
def peek(_: Any, array: Any, at: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return ``array[at]``; indices from the end are not understood, which spares a test."""
    if not _contiguous(array):
        return None

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        return builder.load(builder.gep(context.make_array(array)(context, builder, value=args[0]).data, [args[1]]))

    return array.dtype(array, at), generate


@intrinsic
def load(_: Any, array: Any, at: Any, like: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return the entries of `array` from `at` on, as many as `like` has lanes."""
    if not _fits(array, like):
        return None

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        pointers = _lines(context, builder, array, args[0], args[1], like)
        size = array.dtype.bitwidth // 8
        return _joined(builder, [builder.load(pointer, align=size) for pointer in pointers])

    return like(array, at, like), generate


@intrinsic
def store(_: Any, array: Any, at: Any, value: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Write the lanes of `value` to the entries of `array` from `at` on."""
    if not _fits(array, value):
        return None

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        pointers = _lines(context, builder, array, args[0], args[1], value)
        for pointer, part in zip(pointers, _parts(builder, args[2]), strict=True):
            builder.store(part, pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, at, value), generate


@intrinsic
def store_first(_: Any, array: Any, at: Any, value: Any, count: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Write the first `count` lanes of `value` to the entries of `array` from `at` on."""
    if not (_fits(array, value) and isinstance(count, types.Integer)):
        return None
    n, bits = value.per_line, value.scalar.bitwidth

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        pointers = _lines(context, builder, array, args[0], args[1], value)
        number = builder.trunc(args[3], _INDEX)
        for j, (pointer, part) in enumerate(zip(pointers, _parts(builder, args[2]), strict=True)):
            places = ir.Constant(ir.VectorType(_INDEX, n), [j * n + i for i in range(n)])
            mask = builder.icmp_signed("<", places, _repeat(builder, number, n))
            kinds = [part.type, pointer.type, _INDEX, mask.type]
            name = f"llvm.masked.store.v{n}f{bits}.p0v{n}f{bits}"
            masked = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), kinds), name)
            builder.call(masked, [part, pointer, ir.Constant(_INDEX, bits // 8), mask])
        return context.get_dummy_value()

    return types.void(array, at, value, count), generate


@intrinsic
def add_multiple(_: Any, value: Any, factor: Any, other: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return ``value + factor * other``, lane by lane."""
    if not (isinstance(value, Lanes) and value == other and factor == value.scalar):
        return None

    def generate(_context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        repeated = _repeat(builder, args[1], value.per_line)
        pairs = zip(_parts(builder, args[0]), _parts(builder, args[2]), strict=True)
        products = [(part, builder.fmul(repeated, x, flags=_FUSED)) for part, x in pairs]
        return _joined(builder, [builder.fadd(part, product, flags=_FUSED) for part, product in products])

    return value(value, factor, other), generate


@intrinsic
def add_product(_: Any, value: Any, factor: Any, other: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return ``value + factor * other``, lane by lane, for factors that are lanes themselves."""
    if not (isinstance(value, Lanes) and value == factor == other):
        return None

    def generate(_context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        parts = [_parts(builder, arg) for arg in args]
        products = [builder.fmul(x, y, flags=_FUSED) for x, y in zip(*parts[1:], strict=True)]
        return _joined(builder, [builder.fadd(x, y, flags=_FUSED) for x, y in zip(parts[0], products, strict=True)])

    return value(value, factor, other), generate


@intrinsic
def clamp(_: Any, value: Any, lower: Any, upper: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return the lanes of `value` between two bounds; NaN stays."""
    if not (isinstance(value, Lanes) and lower == upper == value.scalar):
        return None

    def generate(_context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        low, high = (_repeat(builder, bound, value.per_line) for bound in args[1:])
        clamped = []
        for part in _parts(builder, args[0]):
            above = builder.select(builder.fcmp_ordered("<", part, low), low, part)
            clamped.append(builder.select(builder.fcmp_ordered(">", above, high), high, above))
        return _joined(builder, clamped)

    return value(value, lower, upper), generate
