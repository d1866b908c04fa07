"""Our import packages have everyday names: notice when one of them is not ours.

A stray ``render.py`` beside a script, or another distribution with a package of that name, would
otherwise surface as an AttributeError deep inside a node.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, PackagePath, distribution
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("mesh", "render", "infer", "discovery", "clients")


def refuse_foreign_packages(home: Path | None = None) -> None:
    """Raises ImportError unless each of our packages is found beside this one, as installed.

    home: the folder that holds ``framemesh`` (default: this one's). Imports none of them.
    """
    home = home or Path(__file__).resolve().parent.parent
    for name in PACKAGES:
        found = _place(find_spec(name))
        if found != home / name:
            raise _refusal(name, f"finds {found or 'nothing'} instead of {home / name}")
    for name in overwritten(home, _installed_files()):
        raise _refusal(name, f"finds {home / name}, which another distribution has overwritten")


def overwritten(home: Path, installed: Iterable[PackagePath]) -> list[str]:
    """The packages whose ``__init__.py`` is not the one that was installed.

    installed: the distribution's files; without hashes (an editable install) nothing can be said.
    """
    first = {f"{name}/__init__.py": name for name in PACKAGES}
    changed = []
    for file in installed:
        name = first.get(str(file))
        if name is not None and file.hash is not None:
            digest = hashlib.new(file.hash.mode, (home / file).read_bytes()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii") != file.hash.value:
                changed.append(name)
    return changed


def _installed_files() -> list[PackagePath]:
    try:
        return distribution("framemesh").files or []
    except PackageNotFoundError:  # run from a checkout on PYTHONPATH
        return []


def _place(spec: ModuleSpec | None) -> Path | None:
    """Where a package lives, or the file of what is no package."""
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin else None


def _refusal(name: str, finding: str) -> ImportError:
    return ImportError(
        f"framemesh cannot be used here: `import {name}` {finding}. Move a file or folder of that"
        " name out of the way, or install framemesh in an environment of its own.",
        name=name,
    )
