"""Write down every packet of a namespace's network until the input ends: `sniff.py FILE`."""

import select
import socket
import sys
from pathlib import Path

ALL = 3  # ETH_P_ALL
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)) as wire:
    wire.bind(("eth0", 0))
    with Path(sys.argv[1]).open("wb") as file:
        print("up", flush=True)
        while True:
            ready, _, _ = select.select([wire, sys.stdin], [], [])
            if sys.stdin in ready:
                break
            file.write(wire.recv(65_536))
