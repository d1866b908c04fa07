import base64
import hashlib
import hmac

import msgspec
import pytest

from mesh.core.turn import LIFETIME_S, IceServer, credentials


def test_a_server_without_a_secret_is_named_alone():
    assert IceServer("stun:stun.example.org:3478").link(0) == (
        '<stun:stun.example.org:3478>; rel="ice-server"'
    )


def test_credentials_say_when_they_end_and_prove_the_secret():
    username, password = credentials("north", 1_000)
    assert username == "1000:viewer"
    code = hmac.new(b"north", username.encode(), hashlib.sha1).digest()
    assert password == base64.b64encode(code).decode()
    link = IceServer("turn:[2001:db8::1]:3478?transport=udp", "north").link(1_000 - LIFETIME_S)
    assert link == (
        '<turn:[2001:db8::1]:3478?transport=udp>; rel="ice-server"; username="1000:viewer";'
        f' credential="{password}"; credential-type="password"'
    )


@pytest.mark.parametrize("url", ["http://x", "turn:", "turn:x>; rel=x", "turn:x\r\nA: b", "x"])
def test_what_is_no_server_is_refused(url):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"url": url}, IceServer)
