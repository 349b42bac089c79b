"""Numbers that lie packed, put back to the places that the bits of a word name: 64 at a time, in registers.

A processor with AVX-512 has an instruction that reads consecutive numbers and puts them to the lanes of a mask, in
order. Elsewhere the compiler would make a branch for each lane, which is slower than a loop over the bits that are set.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, types

from sparsetheory.numba_kernels.sparse_conv.lanes import Lanes

__all__ = ["expand", "first_bit", "reverse_bits", "tile_of"]

_WORD = ir.IntType(64)

intrinsic: Any = extending.intrinsic


def _call(builder: ir.IRBuilder, name: str, result: ir.Type, args: list[ir.Value]) -> ir.Value:
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


@intrinsic
def tile_of(_: Any, array: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return 64 lanes of the type of an array, whatever they hold."""
    if not (isinstance(array, types.Array) and isinstance(array.dtype, types.Float)):
        return None
    kind = Lanes(array.dtype, array.dtype.bitwidth // 8)

    def generate(context: Any, _builder: ir.IRBuilder, _: Any, _args: Any) -> ir.Value:
        return ir.Constant(context.get_value_type(kind), ir.Undefined)

    return kind(array), generate


@intrinsic
def reverse_bits(_: Any, word: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return a word of 64 bits with the order of its bits reversed."""
    if word != types.uint64:
        return None

    def generate(_context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        return _call(builder, "llvm.bitreverse.i64", _WORD, [args[0]])

    return types.uint64(word), generate


@intrinsic
def first_bit(_: Any, word: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return the number of zeros above the highest bit of a word that is set; 64 for none."""
    if word != types.uint64:
        return None

    def generate(_context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        return _call(builder, "llvm.ctlz.i64", _WORD, [args[0], ir.Constant(ir.IntType(1), 0)])

    return types.int64(word), generate


@intrinsic
def expand(_: Any, array: Any, at: Any, bits: Any, like: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Return lanes that hold the entries of `array` from `at` on where a bit is set, and zeros elsewhere.

    Lane i belongs to bit i of `bits`, counted from the lowest. `like` has 64 lanes. No entry is read that is not used.
    """
    fits = isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C" and bits == types.uint64
    if not (fits and isinstance(like, Lanes) and array.dtype == like.scalar and at == types.int64):
        return None
    if like.lines * like.per_line != _WORD.width:
        return None
    n, width = like.per_line, like.scalar.bitwidth

    def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Any) -> ir.Value:
        data = context.make_array(array)(context, builder, value=args[0]).data
        place, word = args[1], args[2]
        value = ir.Constant(context.get_value_type(like), ir.Undefined)
        vector = context.get_value_type(like).element
        for j in range(like.lines):
            part = builder.trunc(builder.lshr(word, ir.Constant(_WORD, j * n)), ir.IntType(n))
            mask = builder.bitcast(part, ir.VectorType(ir.IntType(1), n))
            arguments = [builder.gep(data, [place]), mask, ir.Constant(vector, None)]
            line = _call(builder, f"llvm.masked.expandload.v{n}f{width}", vector, arguments)
            value = builder.insert_value(value, line, j)
            count = _call(builder, f"llvm.ctpop.i{n}", part.type, [part])
            place = builder.add(place, builder.zext(count, _WORD))
        return value

    return like(array, at, bits, like), generate
