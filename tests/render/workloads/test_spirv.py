"""What a stranger's shader may not do, each refused by name; and spoilt modules."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core.errors import ContentRefused
from render.workloads.shadercode import RINGS, compiled
from render.workloads.spirv import MAX_CODE_BYTES, check_fragment_shader

SAMPLES = (
    "layout(set=0,binding=0) uniform sampler2D s; void main() { color = texture(s, vec2(0)); }"
)
OUT = "layout(location = 0) out vec4 color;\n"


@pytest.fixture(scope="module")
def rings() -> bytes:
    return compiled(RINGS)


def test_what_our_compiler_makes_of_an_honest_text_passes(rings: bytes) -> None:
    check_fragment_shader(rings)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("layout(set=0,binding=0) buffer B { float x[]; } b; void main() { color = vec4(b.x[3]); }",
         "decoration"),
        ("layout(set=0,binding=0) uniform B { float x; } b; void main() { color = vec4(b.x); }",
         "decoration"),
        (SAMPLES, "decoration"),
        ("layout(location=0) in vec2 at; void main() { color = at.xyxy; }", "input other than"),
        ("layout(location=1) out vec4 more; void main() { color = more = vec4(1); }", "outputs"),
        ("void main() { gl_FragDepth = 0.5; color = vec4(1); }", "built-in|mode"),
        ("void main() { color = vec4(gl_SampleID); }", "capability"),
        ("void main() { color = vec4(float(double(gl_FragCoord.x))); }", "capability"),
        ("#extension GL_KHR_shader_subgroup_basic : require\n"
         "void main() { color = vec4(gl_SubgroupInvocationID); }", "capability"),
        ("#extension GL_EXT_demote_to_helper_invocation : require\n"
         "void main() { demote; color = vec4(1); }", "capability"),
        ("layout(push_constant) uniform P { vec4 a[4]; } p; void main() { color = p.a[3]; }",
         "push constants|decoration"),
        ("layout(push_constant) uniform P { vec4 a, b, c, d; } p; void main() { color = p.d; }",
         "push constants"),
        ("layout(constant_id = 1) const int N = 3; void main() { color = vec4(N); }", "decoration"),
        ("float a[5000]; void main() { a[int(gl_FragCoord.x)] = 1; color = vec4(a[3]); }",
         "a type of 20000 bytes"),
        ("float a[4000], b[4000], c[4000], d[4000], e[4000]; void main() { "
         "a[0] = b[1] = c[2] = d[3] = e[4] = gl_FragCoord.x; color = vec4(a[0]); }",
         "variables take more"),
    ],
)  # fmt: skip
def test_what_a_shader_may_not_do_is_named(
    raw_shader: Callable[..., bytes], text: str, reason: str
) -> None:
    with pytest.raises(ContentRefused, match=reason):
        check_fragment_shader(raw_shader(OUT + text.replace("#ext", "\n#ext")))


def test_an_image_is_refused_whether_or_not_it_is_bound(raw_shader: Callable[..., bytes]) -> None:
    code = raw_shader(OUT + SAMPLES)
    words = struct.unpack(f"<{len(code) // 4}I", code)
    kept, at = list(words[:5]), 5
    while at < len(words):
        length, opcode = words[at] >> 16, words[at] & 0xFFFF
        if opcode != 71 or words[at + 2] not in {33, 34}:  # OpDecorate ... Binding, DescriptorSet
            kept += words[at : at + length]
        at += length
    with pytest.raises(ContentRefused, match="instruction 25 is not among"):  # OpTypeImage
        check_fragment_shader(struct.pack(f"<{len(kept)}I", *kept))


def test_calls_that_grow_without_bound_once_inlined_are_refused(
    raw_shader: Callable[..., bytes],
) -> None:
    levels = ["float f0(float x) { return sin(x); }"]
    levels += [
        f"float f{n}(float x) {{ return f{n - 1}(x) + f{n - 1}(-x); }}" for n in range(1, 20)
    ]
    code = raw_shader(OUT + "\n".join(levels) + "void main() { color = vec4(f19(1.0)); }")
    with pytest.raises(ContentRefused, match="call each other too often"):
        check_fragment_shader(code)


def test_another_stage_is_refused(raw_shader: Callable[..., bytes]) -> None:
    with pytest.raises(ContentRefused, match="not a fragment shader"):
        check_fragment_shader(raw_shader("void main() { gl_Position = vec4(0); }", "vert"))


@pytest.mark.parametrize(
    "code",
    [b"", b"\x03\x02\x23\x07", bytes(20), bytes(MAX_CODE_BYTES + 4),
     struct.pack("<6I", 0x07230203, 0x10600, 0, 9, 0, 0x00FF0011)],
)  # fmt: skip
def test_what_is_no_module_is_refused(code: bytes) -> None:
    with pytest.raises(ContentRefused):
        check_fragment_shader(code)


@given(st.data())
def test_a_spoilt_module_is_refused_or_passes_and_nothing_else(
    rings: bytes, data: st.DataObject
) -> None:
    words = list(struct.unpack(f"<{len(rings) // 4}I", rings))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(words) - 1))
        words[at] = data.draw(st.one_of(st.integers(0, 80), st.integers(0, 2**32 - 1)))
    try:
        check_fragment_shader(struct.pack(f"<{len(words)}I", *words))
    except ContentRefused as refused:
        assert refused.why
