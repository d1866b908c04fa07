"""`python -m discovery.dht.process SETTINGS`: a node of a distributed hash table (BEP 5, BEP 44).

A process of its own, for it parses what strangers send: it holds no key of the node's, and may be
killed and started again at any time. The hash table is libtorrent's. SETTINGS as JSON: listen
("ip:port"), bootstrap (list of "host:port"), restricted (at most one node of each network block is
believed, which a lab in one network cannot have), state (a file for what it knows of the table, so
that it finds its way back with no bootstrap node; "": none).

One JSON object a line, bytes in hex. In: {"join": true}, to ask the bootstrap nodes (again),
{"announce": target, "slot": n}, {"peers": target}, {"put": [private, public], "value": bytes},
{"get": public}. Out: {"peers": target, "slots": [n...]}, {"item": public, "value": bytes},
{"stored": public, "by": number of nodes}, {"failed": why}. It ends with its input.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libtorrent as lt

from mesh.core.files import write_private

MAX_LINE = 8192
ALERT_QUEUE = 2000
# From one node, before it is heard no more for five minutes. The default of 5 is for a table of
# millions: where ten nodes share everything, a look or two sends each of them as many.
PACKETS_PER_S = 200
UPLOAD_BYTES_PER_S = 1 << 20  # of answers: the default of 8,000 starves a mesh that begins
ALERTS = (
    lt.alert.category_t.dht_notification
    | lt.alert.category_t.dht_operation_notification
    | lt.alert.category_t.status_notification
    | lt.alert.category_t.error_notification
)
MAX_STATE = 1 << 20  # bytes
KEEP_S = 300.0
_READ_AT_ONCE = 65536


def open_session(settings: dict[str, Any]) -> lt.session:
    """A session that does nothing but keep its part of the table."""
    restricted = bool(settings["restricted"])
    parameters = remembered(settings)
    parameters.settings = {
        "enable_dht": True,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_incoming_tcp": False,
        "enable_outgoing_tcp": False,
        "enable_incoming_utp": False,
        "enable_outgoing_utp": False,
        "listen_interfaces": str(settings["listen"]),
        "dht_bootstrap_nodes": ",".join(settings["bootstrap"]),
        "dht_restrict_routing_ips": restricted,
        "dht_restrict_search_ips": restricted,
        "dht_upload_rate_limit": UPLOAD_BYTES_PER_S,
        "dht_block_ratelimit": PACKETS_PER_S,
        "alert_queue_size": ALERT_QUEUE,
        "alert_mask": int(ALERTS),
    }
    return lt.session(parameters)


def remembered(settings: dict[str, Any]) -> lt.session_params:
    """What was kept of the table; without, or if it cannot be read, nothing."""
    with contextlib.suppress(OSError, RuntimeError):
        kept = Path(settings["state"]).read_bytes() if settings.get("state") else b""
        if 0 < len(kept) <= MAX_STATE:
            return lt.read_session_params(kept, lt.save_state_flags_t.save_dht_state)
    return lt.session_params()


def keep(session: lt.session, settings: dict[str, Any]) -> None:
    """Write down what is known of the table; it helps, and nothing depends on it."""
    if not settings.get("state"):
        return
    state = session.session_state(lt.save_state_flags_t.save_dht_state)
    with contextlib.suppress(OSError):
        write_private(Path(settings["state"]), lt.write_session_params_buf(state))


def carry_out(session: lt.session, settings: dict[str, Any], asked: dict[str, Any]) -> None:
    """One line of the parent's."""
    match asked:
        case {"join": True}:
            for host, _, port in (address.rpartition(":") for address in settings["bootstrap"]):
                session.add_dht_node((host.strip("[]"), int(port)))
        case {"announce": str(target), "slot": int(slot)}:
            session.dht_announce(lt.sha1_hash(bytes.fromhex(target)), slot, 0)
        case {"peers": str(target)}:
            session.dht_get_peers(lt.sha1_hash(bytes.fromhex(target)))
        case {"put": [str(private), str(public)], "value": str(value)}:
            key, pair = bytes.fromhex(private), bytes.fromhex(public)
            session.dht_put_mutable_item(key, pair, bytes.fromhex(value), b"")
        case {"get": str(public)}:
            session.dht_get_mutable_item(bytes.fromhex(public), b"")
        case _:
            raise ValueError(f"not understood: {asked}")


def told(alert: lt.alert) -> dict[str, Any] | None:
    """What the parent hears of an alert, None for nothing."""
    match alert:
        case lt.dht_get_peers_reply_alert():
            slots = [port for _, port in alert.peers()]
            return {"peers": alert.info_hash.to_bytes().hex(), "slots": slots}
        case lt.dht_mutable_item_alert():
            if isinstance(alert.item, bytes):
                return {"item": alert.key.hex(), "value": alert.item.hex()}
        case lt.dht_put_alert():
            return {"stored": alert.public_key.hex(), "by": alert.num_success}
        case lt.listen_failed_alert():
            return {"failed": alert.message()}
    return None


def lines(descriptor: int) -> Iterator[list[bytes]]:
    """What has come at a time; ends with the input."""
    rest = b""
    while read := os.read(descriptor, _READ_AT_ONCE):
        *whole, rest = (rest + read).split(b"\n")
        if len(rest) > MAX_LINE:
            raise ValueError(f"a line of more than {MAX_LINE} bytes")
        yield whole


def main() -> None:
    """Until the input ends."""
    settings = json.loads(sys.argv[1])
    session = open_session(settings)
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    session.set_alert_fd(wake)
    asked = lines(sys.stdin.fileno())
    with selectors.DefaultSelector() as ready:
        ready.register(sys.stdin.fileno(), selectors.EVENT_READ)
        ready.register(woken, selectors.EVENT_READ)
        kept_s = time.monotonic()
        while True:
            if time.monotonic() - kept_s > KEEP_S:
                keep(session, settings)
                kept_s = time.monotonic()
            for key, _ in ready.select(KEEP_S):
                if key.fd == woken:
                    os.read(woken, _READ_AT_ONCE)
                    continue
                whole = next(asked, None)
                if whole is None:
                    keep(session, settings)
                    return
                for line in whole:
                    carry_out(session, settings, json.loads(line))
            for alert in session.pop_alerts():
                news = told(alert)
                if news is not None:
                    print(json.dumps(news), flush=True)


if __name__ == "__main__":
    main()
