"""Numbers from all over a short vector, side by side in registers: 16 at a time, each at the place that a byte names.

A processor with AVX-512 has an instruction for 16 numbers. Elsewhere they are read one by one.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, types

from sparsetheory.numba_kernels.sparse_conv.lanes import Lanes, has_wide_registers

__all__ = ["GATHERED", "gather", "zeros_of"]

GATHERED = 16
_WORD = ir.IntType(64)
_WIDE = has_wide_registers()

intrinsic: Any = extending.intrinsic


@intrinsic
def zeros_of(_: Any, array: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return 16 lanes of zeros, of the type of an array."""
    if not (isinstance(array, types.Array) and isinstance(array.dtype, types.Float)):
        return None
    kind = Lanes(array.dtype, GATHERED * array.dtype.bitwidth // 512)

    def generate(context: Any, _builder: ir.IRBuilder, _: Any, _args: Any) -> ir.Value:
        return ir.Constant(context.get_value_type(kind), None)

    return kind(array), generate


@intrinsic
def gather(_: Any, array: Any, first: Any, places: Any, at: Any, like: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return the entries ``array[first + places[at + i]]`` in lane i, of 16; `places` are bytes."""
    vectors = all(isinstance(a, types.Array) and a.ndim == 1 and a.layout == "C" for a in (array, places))
    if not (vectors and isinstance(like, Lanes) and array.dtype == like.scalar and places.dtype == types.uint8):
        return None
    if not first == at == types.int64:
        return None

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        data = context.make_array(array)(context, builder, value=args[0]).data
        start = builder.gep(data, [args[1]])
        packed = builder.gep(context.make_array(places)(context, builder, value=args[2]).data, [args[3]])
        vector, read = context.get_value_type(like).element, _at_once if _WIDE else _one_by_one
        value = ir.Constant(context.get_value_type(like), ir.Undefined)
        for j in range(like.lines):
            bytes_of_line = builder.gep(packed, [ir.Constant(_WORD, j * like.per_line)])
            value = builder.insert_value(value, read(builder, start, bytes_of_line, vector), j)
        return value

    return like(array, first, places, at, like), generate


def _at_once(builder: ir.IRBuilder, start: ir.Value, places: ir.Value, vector: ir.VectorType) -> ir.Value:
    small, large = (ir.VectorType(ir.IntType(bits), vector.count) for bits in (8, 32))
    numbers = builder.zext(builder.load(builder.bitcast(places, small.as_pointer()), align=1), large)
    where = builder.bitcast(start, ir.IntType(8).as_pointer())
    every = ir.Constant(ir.VectorType(ir.IntType(1), vector.count), [1] * vector.count)
    size = 64 // vector.count
    arguments = [ir.Constant(vector, None), where, numbers, every, ir.Constant(ir.IntType(32), size)]
    name = f"llvm.x86.avx512.mask.gather.dp{'s' if size == 4 else 'd'}.512"
    kind = ir.FunctionType(vector, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _one_by_one(builder: ir.IRBuilder, start: ir.Value, places: ir.Value, vector: ir.VectorType) -> ir.Value:
    line: ir.Value = ir.Constant(vector, ir.Undefined)
    for i in range(vector.count):
        lane = ir.Constant(_WORD, i)
        place = builder.zext(builder.load(builder.gep(places, [lane])), _WORD)
        line = builder.insert_element(line, builder.load(builder.gep(start, [place])), lane)
    return line
