"""SDP fragments from strangers: what is taken of them, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.stream.fragment import (
    MAX_BYTES,
    MAX_LINES,
    FragmentRefused,
    RestartRefused,
    TagMissing,
    TagOutdated,
    check_session,
    read_fragment,
)
from mesh.stream.offer import MAX_CANDIDATES

HOST = "a=candidate:1 1 udp 2113937151 192.0.2.7 54321 typ host generation 0 ufrag EsAw"
RELAY = "a=candidate:7 1 UDP 41885439 2001:db8::1 50000 typ relay raddr 192.0.2.7 rport 54321"


def fragment(*lines: str, ufrag: str = "EsAw") -> str:
    head = [f"a=ice-ufrag:{ufrag}", "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1"]
    return "".join(f"{line}\r\n" for line in (*head, "m=video 9 X 0", "a=mid:0", *lines))


def test_candidates_and_their_end_are_read():
    read = read_fragment(fragment(HOST, RELAY, "a=end-of-candidates"))
    assert read.ufrag == "EsAw"
    assert [(c.ip, c.port, c.type) for c in read.candidates] == [
        ("192.0.2.7", 54321, "host"),
        ("2001:db8::1", 50000, "relay"),
    ]
    assert read.ended
    assert not read_fragment(fragment(HOST)).ended


@pytest.mark.parametrize(
    "line",
    [
        "a=candidate:1 1 tcp 1518214911 192.0.2.7 9 typ host tcptype active",
        "a=candidate:1 2 udp 1 192.0.2.7 9 typ host",  # RTCP's own component
        "a=candidate:1 1 udp 1 3a1f0c9e-8a1e-4f43-9c55-0c8e4b3a2d10.local 9 typ host",
        "a=candidate:1 1 udp 1 victim.example 9 typ host",
        "a=candidate:1 1 udp 1 224.0.0.251 5353 typ host",
        "a=candidate:1 1 udp 1 0.0.0.0 9 typ host",
        "a=candidate:1 1 udp 1 fe80::1%eth0 9 typ host",
    ],
)
def test_a_candidate_that_must_not_be_asked_is_left_out(line):
    read = read_fragment(fragment(line, HOST))
    assert [c.ip for c in read.candidates] == ["192.0.2.7"]


def test_a_stranger_cannot_have_many_addresses_asked():
    many = [HOST.replace("192.0.2.7", f"192.0.2.{i}") for i in range(1, 100)]
    assert len(read_fragment(fragment(*many)).candidates) == MAX_CANDIDATES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n" + HOST,
        "a=ice-ufrag:EsAw\r\na=ice-ufrag:Other\r\n",
        "a=ice-ufrag:no spaces\r\n",
        fragment("a=candidate:"),
        fragment("a=candidate:1 1 udp 1 192.0.2.7 0 typ host"),
        fragment("a=candidate:1 1 udp 1 192.0.2.7 65536 typ host"),
        fragment("a=candidate:1 1 udp 4294967296 192.0.2.7 9 typ host"),
        fragment("a=candidate:1 1 udp 1 192.0.2.7 ９ typ host"),
        fragment("a=candidate:1 1 udp 1 192.0.2.7 9 typ guess"),
        fragment("a=" + "x" * 2000),
        fragment(*["a=x"] * MAX_LINES),
        fragment(*["a=" + "x" * 1000] * (MAX_BYTES // 1000 + 1)),
    ],
)
def test_what_cannot_be_read_is_refused(text):
    with pytest.raises(FragmentRefused):
        read_fragment(text)


@given(
    st.lists(
        st.one_of(
            st.text(max_size=60),
            st.text(max_size=60).map("a=candidate:".__add__),
            st.sampled_from([HOST, RELAY, "a=end-of-candidates", "a=ice-ufrag:EsAw"]),
        ),
        max_size=40,
    )
)
def test_whatever_comes_is_read_within_bounds_or_refused(lines):
    try:
        read = read_fragment("\r\n".join(lines))
    except FragmentRefused:
        return
    assert read.ufrag == "EsAw"
    assert len(read.candidates) <= MAX_CANDIDATES
    assert all(0 < c.port < 65536 and c.protocol == "udp" for c in read.candidates)


@pytest.mark.parametrize("if_match", [None, "*", '"new"', '"other", "new"'])
def test_a_fragment_of_the_ice_session_is_taken(if_match):
    check_session(read_fragment(fragment(HOST)), if_match, tag="new", ufrag="EsAw")


@pytest.mark.parametrize(
    ("if_match", "ufrag", "raised"),
    [
        (None, "Other", TagMissing),
        ('"old"', "EsAw", TagOutdated),
        ("new", "EsAw", TagOutdated),  # no entity tag: those are quoted
        ("", "EsAw", TagOutdated),
        ("*", "Other", RestartRefused),
        ('"new"', "Other", RestartRefused),
    ],
)
def test_a_fragment_of_another_ice_session_is_refused(if_match, ufrag, raised):
    with pytest.raises(raised):
        check_session(read_fragment(fragment(ufrag=ufrag)), if_match, tag="new", ufrag="EsAw")
