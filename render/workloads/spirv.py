"""Whether a stranger's fragment shader is one that may be drawn: its words, one by one. Pure.

spirv-val says whether a module is valid SPIR-V; this says that it can do nothing but compute a
colour: what is not listed here is refused. No buffers, images or shared memory, no derivatives of
extensions, no more memory than a small array, no more code than a driver compiles in a moment.
How long it *runs* nobody can say beforehand: the device's kill limit ends what overruns.

Numbers are those of the SPIR-V specification, version 1.6 revision 2 (Khronos).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from mesh.core.errors import ContentRefused

MAX_CODE_BYTES: Final = 64 * 1024
PUSH_BYTES: Final = 48  # of the block that `render.workloads.painter` fills
MAX_TYPE_BYTES = 16 * 1024  # of one array or structure
MAX_VARIABLE_BYTES = 64 * 1024  # of all variables together
MAX_FUNCTIONS = 256
MAX_INLINED = 100_000  # instructions, once every call is replaced by what it calls: drivers do

_MAGIC, _VERSION_1_6 = 0x07230203, 0x00010600
_SHADER, _MATRIX = 1, 0  # capabilities
_FRAGMENT = 4
_ORIGIN_UPPER_LEFT = 7
_INPUT, _OUTPUT, _PRIVATE, _FUNCTION, _PUSH_CONSTANT = 1, 3, 6, 7, 9
_STORAGE = {_INPUT, _OUTPUT, _PRIVATE, _FUNCTION, _PUSH_CONSTANT}
_BLOCK, _BUILTIN, _LOCATION, _OFFSET, _FRAG_COORD = 2, 11, 30, 35, 15
# RelaxedPrecision, Block, BuiltIn, Flat, Location, Offset, NoContraction
_DECORATIONS = {0, _BLOCK, _BUILTIN, 14, _LOCATION, _OFFSET, 42}

# Opcodes that need no look at their operands.
_HARMLESS = {
    *range(9),  # OpNop ... OpLine
    *(12, 19, 33),  # OpExtInst, OpTypeVoid, OpTypeFunction
    *(41, 42, 44, 46),  # constants: true, false, composite, null
    *(55, 56, 61, 62, 63, 65, 66),  # parameters, loads, stores, access chains
    *range(77, 85),  # vectors and composites
    *range(109, 116),  # conversions
    124,  # OpBitcast
    *range(126, 153),  # arithmetic
    *range(154, 158),  # any, all, is NaN, is infinite
    *range(164, 192),  # logic, comparisons
    *range(194, 206),  # bits
    *(207, 208, 209),  # OpDPdx, OpDPdy, OpFwidth
    *range(245, 256),  # control flow
    *(317, 330, 400),  # OpNoLine, OpModuleProcessed, OpCopyLogical
}


@dataclass(slots=True)
class _Function:
    instructions: int = 0
    calls: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Module:
    """What was seen so far."""

    sizes: dict[int, int] = field(default_factory=dict)  # bytes by type; pointers have none
    members: dict[int, Sequence[int]] = field(default_factory=dict)  # types, by structure
    plain: set[int] = field(default_factory=set)  # scalar and vector types
    pointees: dict[int, tuple[int, int]] = field(default_factory=dict)  # (storage, type)
    constants: dict[int, int] = field(default_factory=dict)  # of 32 bits
    builtins: set[int] = field(default_factory=set)  # variables that are gl_FragCoord
    locations: dict[int, int] = field(default_factory=dict)
    offsets: dict[tuple[int, int], int] = field(default_factory=dict)  # (structure, member)
    variable_bytes: int = 0
    entry_points: list[int] = field(default_factory=list)
    outputs: int = 0
    functions: dict[int, _Function] = field(default_factory=dict)
    current: _Function | None = None


def check_fragment_shader(code: bytes | memoryview) -> None:
    """Raises ContentRefused unless `code` is a module as described above."""
    module = _Module()
    for opcode, operands in _instructions(code):
        if module.current is not None:
            module.current.instructions += 1
        try:
            _look_at(module, opcode, operands)
        except _SENSELESS:
            raise _refused(f"its instruction {opcode} makes no sense") from None
    if len(module.entry_points) != 1:
        raise _refused(f"it has {len(module.entry_points)} entry points, and must have one")
    _inlined(module, module.entry_points[0], {}, ())


def _instructions(code: bytes | memoryview) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(opcode, operands) of each, in order."""
    if not 20 <= len(code) <= MAX_CODE_BYTES or len(code) % 4:
        raise _refused(f"it has {len(code)} bytes; whole words, {MAX_CODE_BYTES} bytes at most")
    words = struct.unpack(f"<{len(code) // 4}I", code)
    magic, version = words[:2]
    if magic != _MAGIC or version > _VERSION_1_6:
        raise _refused("it does not begin as SPIR-V up to 1.6 does, little endian")
    at = 5
    while at < len(words):
        length, opcode = words[at] >> 16, words[at] & 0xFFFF
        if not 1 <= length <= len(words) - at:
            raise _refused(f"word {at} is no instruction")
        yield opcode, words[at + 1 : at + length]
        at += length


def _look_at(module: _Module, opcode: int, operands: tuple[int, ...]) -> None:
    match opcode:
        case 11 | 14 | 15 | 16 | 17:
            _look_at_mode(module, opcode, operands)
        case 71:  # OpDecorate
            _decorate(module, *operands)
        case 72:  # OpMemberDecorate
            _decorate_member(module, *operands)
        case 20 | 21 | 22 | 23 | 24 | 28 | 30 | 32:  # OpType...
            _declare_type(module, opcode, operands)
        case 43:  # OpConstant
            module.constants[operands[1]] = operands[2]
        case 59:  # OpVariable
            _declare_variable(module, operands)
        case 54:  # OpFunction
            module.current = module.functions[operands[1]] = _Function()
            _need(len(module.functions) <= MAX_FUNCTIONS, "it has too many functions")
        case 57 if module.current is not None:  # OpFunctionCall
            module.current.calls.append(operands[2])
        case _:
            _need(opcode in _HARMLESS, f"instruction {opcode} is not among those allowed")


def _look_at_mode(module: _Module, opcode: int, operands: tuple[int, ...]) -> None:
    match opcode:
        case 11:  # OpExtInstImport
            _need(_text(operands[1:]) == "GLSL.std.450", "it imports more than GLSL.std.450")
        case 14:  # OpMemoryModel
            _need(operands == (0, 1), "its memory model is not Logical GLSL450")
        case 15:  # OpEntryPoint
            fragment = operands[0] == _FRAGMENT and _text(operands[2:]) == "main"
            _need(fragment, "its entry point is not a fragment shader named main")
            module.entry_points.append(operands[1])
        case 16:  # OpExecutionMode
            _need(operands[1:] == (_ORIGIN_UPPER_LEFT,), f"it wants mode {operands[1]}")
        case 17:  # OpCapability
            _need(operands[0] in {_SHADER, _MATRIX}, f"it wants capability {operands[0]}")


def _decorate(module: _Module, target: int, decoration: int, *values: int) -> None:
    _need(decoration in _DECORATIONS, f"it uses decoration {decoration}")
    if decoration == _BUILTIN:
        _need(values == (_FRAG_COORD,), f"it reads or writes built-in {values[0]}")
        module.builtins.add(target)
    elif decoration == _LOCATION:
        module.locations[target] = values[0]


def _decorate_member(
    module: _Module, target: int, member: int, decoration: int, *values: int
) -> None:
    plain = decoration in _DECORATIONS - {_BUILTIN, _LOCATION}
    _need(plain, f"a structure's member has decoration {decoration}")
    if decoration == _OFFSET:
        module.offsets[target, member] = values[0]


def _declare_type(module: _Module, opcode: int, operands: tuple[int, ...]) -> None:
    made, size = operands[0], 0
    match opcode:
        case 20:  # truth value
            size = 4
        case 21 | 22:  # integer, float
            _need(operands[1] == 32, f"it uses numbers of {operands[1]} bits")
            size = 4
            module.plain.add(made)
        case 23 | 24:  # vector, matrix
            size = module.sizes[operands[1]] * operands[2]
            if opcode == 23:
                module.plain.add(made)
        case 28:  # array
            size = module.sizes.get(operands[1], 4) * module.constants[operands[2]]
        case 30:  # structure
            module.members[made] = operands[1:]
            size = sum(module.sizes.get(member, 4) for member in operands[1:])
        case 32:  # pointer
            _need(operands[1] in _STORAGE, f"it uses storage class {operands[1]}")
            module.pointees[made] = operands[1], operands[2]
    _need(size <= MAX_TYPE_BYTES, f"a type of {size} bytes; {MAX_TYPE_BYTES} are allowed")
    module.sizes[made] = size


def _declare_variable(module: _Module, operands: tuple[int, ...]) -> None:
    pointer, made, storage = operands[:3]
    within, kind = module.pointees[pointer]
    _need(within == storage, "a variable lies elsewhere than its type says")
    module.variable_bytes += module.sizes.get(kind, 4)
    _need(
        module.variable_bytes <= MAX_VARIABLE_BYTES,
        f"its variables take more than {MAX_VARIABLE_BYTES} bytes",
    )
    if storage == _INPUT:
        _need(made in module.builtins, "it has an input other than gl_FragCoord")
    elif storage == _OUTPUT:
        module.outputs += 1
        alone = module.outputs == 1 and module.locations.get(made) == 0
        _need(alone and kind in module.plain and module.sizes[kind] == 16, _ONE_OUTPUT)
    elif storage == _PUSH_CONSTANT:
        for index, member in enumerate(module.members[kind]):
            end = module.offsets[kind, index] + module.sizes[member]
            fits = member in module.plain and end <= PUSH_BYTES
            _need(fits, f"its push constants are not numbers and vectors in {PUSH_BYTES} bytes")


# What comes of missing operands, and of ids used before they are declared.
_SENSELESS = (IndexError, KeyError, TypeError, ValueError)
_ONE_OUTPUT = "its outputs are not one vec4 at location 0"


def _inlined(module: _Module, name: int, known: dict[int, int], above: tuple[int, ...]) -> int:
    """Instructions of a function and all it calls."""
    _need(name not in above, "a function calls itself")
    _need(name in module.functions, "a function is called that it does not have")
    if name not in known:
        function = module.functions[name]
        calls = (_inlined(module, callee, known, (*above, name)) for callee in function.calls)
        known[name] = function.instructions + sum(calls)
        _need(known[name] <= MAX_INLINED, "its functions call each other too often")
    return known[name]


def _text(words: Sequence[int]) -> str:
    """A literal string: up to its first zero byte."""
    literal = struct.pack(f"<{len(words)}I", *words).partition(b"\0")[0]
    return literal.decode("ascii", "replace")


def _need(condition: bool, why: str) -> None:
    if not condition:
        raise _refused(why)


def _refused(why: str) -> ContentRefused:
    return ContentRefused(
        what="the shader is refused",
        why=why,
        fix="Send a fragment shader that computes one colour from the frame's push constants.",
    )
