"""framemesh: a mesh of nearby GPUs for frames with deadlines.

What is exported here is the interface for programs and plug-ins; everything is loaded when first
used, and importing this package alone loads no GPU library, no codec and no WebRTC stack.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from framemesh._shadow import refuse_foreign_packages

if TYPE_CHECKING:
    from clients.sdk.connect import connect as connect
    from clients.sdk.offload import offload as offload
    from clients.sdk.session import Notice as Notice
    from clients.sdk.session import Refusal as Refusal
    from clients.sdk.session import Result as Result
    from clients.sdk.session import Session as Session
    from clients.sdk.session import SessionEnded as SessionEnded
    from mesh.core.config import NodeConfig as NodeConfig
    from mesh.core.config import read_config as read_config
    from mesh.core.errors import ConfigError as ConfigError
    from mesh.core.errors import ContentRefused as ContentRefused
    from mesh.core.errors import DeviceLost as DeviceLost
    from mesh.core.errors import DeviceUnavailable as DeviceUnavailable
    from mesh.core.errors import IdentityError as IdentityError
    from mesh.core.errors import LinkLost as LinkLost
    from mesh.core.errors import MeshError as MeshError
    from mesh.core.errors import Misuse as Misuse
    from mesh.core.errors import NotAuthorized as NotAuthorized
    from mesh.core.errors import PeerRefused as PeerRefused
    from mesh.core.errors import PieceFailed as PieceFailed
    from mesh.core.errors import ProtocolViolation as ProtocolViolation
    from mesh.core.errors import SessionRefused as SessionRefused
    from mesh.core.errors import WrongRoad as WrongRoad
    from mesh.core.offload import Offloading as Offloading
    from mesh.core.workload import Asset as Asset
    from mesh.core.workload import Batching as Batching
    from mesh.core.workload import Contract as Contract
    from mesh.core.workload import Criticality as Criticality
    from mesh.core.workload import CutHint as CutHint
    from mesh.core.workload import DeviceInfo as DeviceInfo
    from mesh.core.workload import Executor as Executor
    from mesh.core.workload import Feedable as Feedable
    from mesh.core.workload import Finder as Finder
    from mesh.core.workload import FinderSession as FinderSession
    from mesh.core.workload import Followable as Followable
    from mesh.core.workload import Following as Following
    from mesh.core.workload import Frame as Frame
    from mesh.core.workload import PictureFormat as PictureFormat
    from mesh.core.workload import Piece as Piece
    from mesh.core.workload import PieceCall as PieceCall
    from mesh.core.workload import Preloading as Preloading
    from mesh.core.workload import Recording as Recording
    from mesh.core.workload import Rung as Rung
    from mesh.core.workload import SessionRequest as SessionRequest
    from mesh.core.workload import SessionSetup as SessionSetup
    from mesh.core.workload import SessionWork as SessionWork
    from mesh.core.workload import Timing as Timing
    from mesh.core.workload import Workload as Workload
    from mesh.node import Node as Node
    from mesh.node import open_node as open_node

    __version__: str

_EXPORTS = {
    "clients.sdk.connect": ("connect",),
    "clients.sdk.offload": ("offload",),
    "clients.sdk.session": ("Notice", "Refusal", "Result", "Session", "SessionEnded"),
    "mesh.core.config": ("NodeConfig", "read_config"),
    "mesh.core.errors": (
        "ConfigError",
        "ContentRefused",
        "DeviceLost",
        "DeviceUnavailable",
        "IdentityError",
        "LinkLost",
        "MeshError",
        "Misuse",
        "NotAuthorized",
        "PeerRefused",
        "PieceFailed",
        "ProtocolViolation",
        "SessionRefused",
        "WrongRoad",
    ),
    "mesh.core.offload": ("Offloading",),
    "mesh.core.workload": (
        "Asset",
        "Batching",
        "Contract",
        "Criticality",
        "CutHint",
        "DeviceInfo",
        "Executor",
        "Feedable",
        "Finder",
        "FinderSession",
        "Followable",
        "Following",
        "Frame",
        "PictureFormat",
        "Piece",
        "PieceCall",
        "Preloading",
        "Recording",
        "Rung",
        "SessionRequest",
        "SessionSetup",
        "SessionWork",
        "Timing",
        "Workload",
    ),
    "mesh.node": ("Node", "open_node"),
}
_HOME = {name: module for module, names in _EXPORTS.items() for name in names}

refuse_foreign_packages()


def __getattr__(name: str) -> Any:
    """Load an export on first use (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  it is slow to load

        value: Any = version("framemesh")
    elif name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module 'framemesh' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*_HOME, "__version__"])
