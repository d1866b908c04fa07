"""`framemesh models add|list|warm|remove`: the learned models of this node."""

from __future__ import annotations

import argparse
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from infer.models.checks import MAX_BYTES, check_model
from infer.models.network import Network
from infer.models.store import ModelStore
from mesh.core.config import default_state_dir
from mesh.core.errors import ContentRefused

if TYPE_CHECKING:
    from typing import TypeAlias

    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

FETCH_S = 60.0  # without a byte


def register(commands: Commands) -> None:
    """Add the command and its actions."""
    models = commands.add_parser("models", help="keep learned models (ONNX) for this node")
    actions = models.add_subparsers(required=True, metavar="ACTION")
    add = actions.add_parser("add", help="check a model and keep it")
    add.add_argument("source", metavar="PATH|URL", help="an ONNX file, or its https address")
    add.add_argument("--name", help="what it is called here (default: its file's name)")
    add.set_defaults(run=run_add)
    shown = actions.add_parser("list", help="print names, digests, sizes, inputs and outputs")
    shown.set_defaults(run=run_list)
    warm = actions.add_parser("warm", help="run models once and say how long each took")
    warm.add_argument("name", nargs="*", help="which (default: all)")
    warm.add_argument("--threads", type=int, default=1, choices=range(1, 257), metavar="N")
    warm.set_defaults(run=run_warm)
    remove = actions.add_parser("remove", help="forget a model")
    remove.add_argument("name")
    remove.set_defaults(run=run_remove)
    for action in (add, shown, warm, remove):
        action.add_argument(
            "--state",
            type=Path,
            metavar="DIR",
            default=default_state_dir(),
            help="where this node keeps what is its own (default: %(default)s)",
        )


def run_add(arguments: argparse.Namespace) -> int:
    """Check before anything is kept."""
    data = _fetched(arguments.source)
    facts = check_model(data)
    kept = _store(arguments).add(arguments.name or Path(_path(arguments.source)).stem, data)
    print(f"{kept.name}  {kept.digest[:16]}  {kept.nbytes} bytes, {facts.nodes} nodes")
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """One line per model."""
    store = _store(arguments)
    for kept in store:
        facts = check_model(store.read(kept.digest))
        ways = [
            " ".join(f"{name}{list(shape)}" for name, shape in each.items())
            for each in (facts.inputs, facts.outputs)
        ]
        print(f"{kept.name}  {kept.digest[:16]}  {kept.nbytes} bytes  {' -> '.join(ways)}")
    return 0


def run_warm(arguments: argparse.Namespace) -> int:
    """Load, run once, and run again."""
    store = _store(arguments)
    for name in arguments.name or [kept.name for kept in store]:
        began = time.monotonic()
        network = Network(store.read(name), threads=arguments.threads)
        network.warm()
        warmed = time.monotonic()
        network.warm()
        again_ms = (time.monotonic() - warmed) * 1000
        ready_ms = (warmed - began) * 1000
        print(f"{name}  {network.provider}  ready in {ready_ms:.0f} ms, then {again_ms:.1f} ms")
    return 0


def run_remove(arguments: argparse.Namespace) -> int:
    """Forget it."""
    _store(arguments).remove(arguments.name)
    return 0


def _store(arguments: argparse.Namespace) -> ModelStore:
    return ModelStore(arguments.state / "models")


def _path(source: str) -> str:
    return urlsplit(source).path if "://" in source else source


def _fetched(source: str) -> bytes:
    """The bytes of a file, or of an https address; one more than may be, at most."""
    try:
        if "://" not in source:
            with Path(source).open("rb") as file:
                return file.read(MAX_BYTES + 1)
        if urlsplit(source).scheme != "https":
            raise ValueError("only https addresses are fetched")
        with urllib.request.urlopen(source, timeout=FETCH_S) as answer:  # noqa: S310  https
            if urlsplit(answer.url).scheme != "https":
                raise ValueError(f"it leads to {answer.url[:200]}")
            return bytes(answer.read(MAX_BYTES + 1))
    except (OSError, ValueError, urllib.error.URLError) as problem:
        raise ContentRefused(
            what=f"no model was read from {source[:200]}",
            why=str(problem),
            fix="Give the path of an ONNX file, or its https address.",
        ) from problem
