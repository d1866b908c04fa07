"""The ROS 2 messages of an MCAP file (https://mcap.dev/spec), one after the other.

Records come as they were written, which needs no index: a recording that was cut off is read up to
there. Sizes are held against bounds before anything is unpacked.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NamedTuple

import zstandard

from infer.readers.refusal import unreadable
from infer.readers.ros_definitions import DEFINITIONS
from mesh.core.errors import ContentRefused

MAX_RECORD_BYTES = 256 << 20  # of a chunk, packed or not, or of a message
MAX_CHANNELS = 4096
INSTALL = "Install what reads it, `pip install 'framemesh[readers]'`."


class RosMessage(NamedTuple):
    """One message. content: its fields by name, nested. logged_us: when the recorder had it."""

    topic: str
    kind: str
    logged_us: int
    content: Any


def read_messages(path: Path) -> Iterator[RosMessage]:
    """Those of the kinds in DEFINITIONS, in CDR; others are passed over.

    Raises ContentRefused: at once if it cannot be opened or what reads it is not installed.
    """
    try:
        from mcap.exceptions import EndOfFile, McapError  # noqa: PLC0415  an extra
        from mcap.records import Channel, Chunk, Message, Schema  # noqa: PLC0415
        from mcap.stream_reader import StreamReader, breakup_chunk  # noqa: PLC0415
    except ImportError as problem:
        raise ContentRefused(what=f"{path} is not read", why=str(problem), fix=INSTALL) from problem
    decoders = _decoders()

    def records() -> Iterator[Any]:
        with path.open("rb") as file:
            stream: Any = _Bounded(file)
            reader = StreamReader(stream, emit_chunks=True, record_size_limit=MAX_RECORD_BYTES)
            for record in reader.records:
                if isinstance(record, Chunk):
                    plain = replace(record, compression="", data=_unpacked(path, record))
                    yield from breakup_chunk(plain)
                else:
                    yield record

    def messages() -> Iterator[RosMessage]:
        kinds: dict[int, str] = {}
        channels: dict[int, tuple[str, str]] = {}
        for record in records():
            match record:
                case Schema() if record.encoding == "ros2msg" and record.name in decoders:
                    kinds[record.id] = record.name
                case Channel() if record.message_encoding == "cdr" and record.schema_id in kinds:
                    channels[record.id] = record.topic, kinds[record.schema_id]
                    if len(channels) > MAX_CHANNELS:
                        raise unreadable(path, f"it has more than {MAX_CHANNELS} channels")
                case Message() if record.channel_id in channels:
                    topic, kind = channels[record.channel_id]
                    content = decoders[kind](record.data)
                    yield RosMessage(topic, kind, record.log_time // 1000, content)

    def bounded() -> Iterator[RosMessage]:
        try:
            yield from messages()
        except EndOfFile:
            return  # cut off: all that was whole has been read
        except (McapError, OSError, ValueError, struct.error, IndexError, OverflowError) as problem:
            raise unreadable(path, str(problem) or type(problem).__name__) from problem

    _check_begin(path)
    return bounded()


class _Bounded:
    """A file that is never asked for more than a record has: lengths inside of records may lie."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, MAX_RECORD_BYTES))


def _decoders() -> dict[str, Callable[[bytes], Any]]:
    from mcap.records import Schema  # noqa: PLC0415  an extra
    from mcap_ros2.decoder import DecoderFactory  # noqa: PLC0415

    factory = DecoderFactory()
    decoders: dict[str, Any] = {}
    for number, (name, text) in enumerate(DEFINITIONS.items(), start=1):
        schema = Schema(data=text.encode(), encoding="ros2msg", id=number, name=name)
        decoders[name] = factory.decoder_for("cdr", schema)
    return decoders


def _check_begin(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(8)
    except OSError as problem:
        raise unreadable(path, str(problem)) from problem
    if magic != b"\x89MCAP0\r\n":
        raise unreadable(path, "it does not begin as an MCAP file does")


def _unpacked(path: Path, chunk: Any) -> bytes:
    """A chunk's records, of the size that it states. Raises ContentRefused."""
    size = chunk.uncompressed_size
    if size > MAX_RECORD_BYTES:
        raise unreadable(path, f"a chunk of {size} bytes is not unpacked")
    if chunk.compression == "":
        data: bytes = chunk.data
    elif chunk.compression == "zstd":
        data = _unpacked_zstd(path, chunk.data, size)
    elif chunk.compression == "lz4":
        data = _unpacked_lz4(path, chunk.data, size)
    else:
        raise unreadable(path, f"a chunk is compressed by {chunk.compression[:40]!r}")
    if len(data) != size:
        raise unreadable(path, f"a chunk holds {len(data)} bytes, not {size}")
    return data


def _unpacked_zstd(path: Path, data: bytes, size: int) -> bytes:
    try:
        if zstandard.frame_content_size(data) not in {size, -1}:
            raise unreadable(path, f"a chunk does not hold the {size} bytes that it says")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=size) if size else b""
    except zstandard.ZstdError as problem:
        raise unreadable(path, f"a chunk is damaged ({problem})") from problem


def _unpacked_lz4(path: Path, data: bytes, size: int) -> bytes:
    import lz4.frame  # noqa: PLC0415  comes with what reads MCAP

    try:
        unpacked: bytes = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=size + 1)
    except (RuntimeError, EOFError) as problem:
        raise unreadable(path, f"a chunk is damaged ({problem})") from problem
    return unpacked
