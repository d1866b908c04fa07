"""From glTF animations, skins and morph weights to a scene's `Motion` (glTF 3.7.3, 3.11)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from render.gltf.accessors import Accessors
from render.gltf.document import Animation as Source
from render.gltf.document import AnimationSampler, Channel, Document, pick
from render.gltf.limits import (
    MAX_COORDINATE,
    MAX_JOINTS,
    MAX_KEY_NUMBERS,
    MAX_MOVING_DEPTH,
    MAX_MOVING_NODES,
    MAX_TRACKS,
)
from render.gltf.refusal import refused
from render.gltf.tree import Placed, parent_from_node, unit_rotation
from render.motion import Animation, Floats, Interpolation, Ints, Motion, Property, Track

_PROPERTIES = {
    "translation": (Property.TRANSLATION, "VEC3"),
    "rotation": (Property.ROTATION, "VEC4"),
    "scale": (Property.SCALE, "VEC3"),
    "weights": (Property.WEIGHTS, "SCALAR"),
}
_SIMPLIFY = "Simplify the scene, or split it."


class Moving:
    """Finds what moves, then hands out numbers for nodes, skins and weights to the draws."""

    def __init__(
        self,
        document: Document,
        accessors: Accessors,
        nodes: Sequence[Placed],
        warn: Callable[[str], None],
    ) -> None:
        self._document, self._accessors, self._warn = document, accessors, warn
        self._placed = {placed.index: placed for placed in nodes}
        self._joint_nodes: list[int] = []
        self._inverse_binds: list[Floats] = []
        self._skin_of: dict[int, int] = {}
        self._weights: list[float] = []
        self._weights_of: dict[int, tuple[int, int]] = {}  # by node: first, how many
        self._key_numbers = 0
        self._channels = [
            list(self._kept(source, f"animations[{number}]"))
            for number, source in enumerate(document.animations)
        ]
        self._listed = self._list_nodes()

    def node(self, index: int) -> int:
        """The number of `nodes[index]` among what moves, -1 if it stands still."""
        return self._listed.get(index, -1)

    def joints(self, skin: int, place: str) -> int:
        """How many joints `skins[skin]` has."""
        return len(pick(self._document.skins, skin, "skins", place).joints)

    def skin(self, index: int) -> int:
        """The number of the first joint of `skins[index]` among all joints."""
        if index not in self._skin_of:
            self._skin_of[index] = len(self._joint_nodes)
            skin = self._document.skins[index]
            self._joint_nodes += [self._listed[joint] for joint in skin.joints]
            if len(self._joint_nodes) > MAX_JOINTS:
                raise refused(
                    f"skins[{index}]", f"the skins have over {MAX_JOINTS} joints", _SIMPLIFY
                )
            self._inverse_binds.append(self._inverse_bind(index))
        return self._skin_of[index]

    def weights(self, node: int, rest: Sequence[float]) -> int:
        """The number of the first of a node's morph weights among all weights."""
        if node not in self._weights_of:
            self._weights_of[node] = (len(self._weights), len(rest))
            self._weights += rest
        return self._weights_of[node][0]

    def motion(self) -> Motion | None:
        """What moves, once all draws are placed; None if nothing does and no vertex can."""
        if not self._listed and not self._weights:
            return None
        nodes = [self._placed[index] for index in self._listed]
        parents = np.array([self._listed.get(p.parent, -1) for p in nodes], np.int64)
        base = np.tile(np.eye(4)[:3], (len(nodes), 1, 1))
        for number in np.flatnonzero(parents < 0).tolist():
            parent = nodes[number].parent
            if parent >= 0:
                base[number] = self._placed[parent].world_from_node[:3]
        fixed = [number for number, p in enumerate(nodes) if p.node.matrix is not None]
        return Motion(
            parents=parents,
            base=base,
            translation=np.array([p.node.translation for p in nodes]).reshape(-1, 3),
            rotation=np.array(
                [unit_rotation(p.node.rotation, f"nodes[{p.index}]") for p in nodes]
            ).reshape(-1, 4),
            scale=np.array([p.node.scale for p in nodes]).reshape(-1, 3),
            fixed=np.array(fixed, np.int64),
            matrices=np.array(
                [parent_from_node(nodes[i].node, f"nodes[{nodes[i].index}]")[:3] for i in fixed]
            ).reshape(-1, 3, 4),
            levels=_levels(parents),
            joints=np.array(self._joint_nodes, np.int64),
            inverse_bind=np.concatenate([np.zeros((0, 3, 4)), *self._inverse_binds]),
            weights=np.array(self._weights, np.float64),
            animations=tuple(
                self._animation(source, channels, f"animations[{number}]")
                for number, (source, channels) in enumerate(
                    zip(self._document.animations, self._channels, strict=True)
                )
            ),
        )

    def _kept(self, source: Source, place: str) -> Sequence[Channel]:
        """The channels that change something drawn; the others are named."""
        kept = []
        for number, channel in enumerate(source.channels):
            target = channel.target
            if target.node is None:  # an extension's target; the extension is named elsewhere
                continue
            here = f"{place}.channels[{number}]"
            node = pick(self._document.nodes, target.node, "nodes", here)
            if target.path not in _PROPERTIES:
                self._warn(f"{here} changes {target.path[:80]!r}, which is not known")
            elif target.path != "weights" and node.matrix is not None:
                self._warn(f"{here}: nodes[{target.node}] has a matrix, so it cannot be animated")
            elif target.node in self._placed:
                kept.append(channel)
        return kept

    def _list_nodes(self) -> Mapping[int, int]:
        """Numbers, parents first, of the nodes that move and of joints."""
        moved = {
            channel.target.node
            for channels in self._channels
            for channel in channels
            if channel.target.path != "weights"
        }
        joints = self._all_joints()
        listed: dict[int, int] = {}
        for placed in self._placed.values():  # parents first
            if placed.index in moved or placed.parent in moved:
                moved.add(placed.index)
            if placed.index in moved or placed.index in joints:
                listed[placed.index] = len(listed)
        if len(listed) > MAX_MOVING_NODES:
            raise refused("animations", f"they move over {MAX_MOVING_NODES} nodes", _SIMPLIFY)
        return listed

    def _all_joints(self) -> set[int]:
        used = {p.node.skin for p in self._placed.values() if p.node.mesh is not None}
        joints: set[int] = set()
        for index in sorted(used - {None}):  # type: ignore[type-var]  # None is taken out
            assert index is not None
            skin = pick(self._document.skins, index, "skins", "nodes")
            for joint in skin.joints:
                if joint not in self._placed:
                    raise refused(f"skins[{index}]", f"its joint nodes[{joint}] is in no scene")
            joints.update(skin.joints)
        return joints

    def _inverse_bind(self, index: int) -> Floats:
        """float64 (joints, 3, 4)."""
        skin = self._document.skins[index]
        count = len(skin.joints)
        if skin.inverse_bind_matrices is None:
            return np.tile(np.eye(4)[:3], (count, 1, 1))
        place = f"skins[{index}].inverseBindMatrices"
        given = self._accessors.count(skin.inverse_bind_matrices, place)
        if not count <= given <= MAX_JOINTS:
            raise refused(place, f"it has {given} matrices for {count} joints")
        columns = self._accessors.floats(skin.inverse_bind_matrices, ("MAT4",), place)
        matrices = columns[:count].reshape(-1, 4, 4).transpose(0, 2, 1).astype(np.float64)
        if np.abs(matrices).max() > MAX_COORDINATE:
            raise refused(place, f"it holds a number beyond {MAX_COORDINATE:g}")
        return matrices[:, :3]

    def _animation(self, source: Source, channels: Sequence[Channel], place: str) -> Animation:
        """Channels of one kind that share their times become one track."""
        joined: dict[tuple[Property, Interpolation, bytes], list[Track]] = {}
        for channel in channels:
            track = self._track(source, channel, place)
            if track is not None:
                key = (track.change, track.interpolation, track.times.tobytes())
                joined.setdefault(key, []).append(track)
        if len(joined) > MAX_TRACKS:
            raise refused(place, f"it has over {MAX_TRACKS} tracks of different times", _SIMPLIFY)
        tracks = tuple(_joined(parts) for parts in joined.values())
        duration = max((float(track.times[-1]) for track in tracks), default=0.0)
        return Animation(source.name, duration, tracks)

    def _track(self, source: Source, channel: Channel, place: str) -> Track | None:
        change, accessor_type = _PROPERTIES[channel.target.path]
        sampler = pick(source.samplers, channel.sampler, f"{place}.samplers", place)
        here = f"{place}.samplers[{channel.sampler}]"
        assert channel.target.node is not None
        if change is Property.WEIGHTS:
            if channel.target.node not in self._weights_of:
                return None  # its mesh is not drawn
            first, width = self._weights_of[channel.target.node]
            targets = np.arange(first, first + width)
        else:
            targets = np.array([self._listed[channel.target.node]])
        times = self._times(sampler, here)
        cubic = sampler.interpolation == "CUBICSPLINE"
        keys = len(times) * (3 if cubic else 1) * (len(targets) if accessor_type == "SCALAR" else 1)
        count = self._accessors.count(sampler.output, f"{here}.output")
        if count != keys:
            raise refused(f"{here}.output", f"it has {count} values and must have {keys}")
        self._charge(4 * count, here)
        values = self._accessors.floats(sampler.output, (accessor_type,), f"{here}.output")
        if np.abs(values).max() > MAX_COORDINATE:
            raise refused(f"{here}.output", f"it holds a number beyond {MAX_COORDINATE:g}")
        shape = (len(times), *((3,) if cubic else ()), len(targets), values.shape[1])
        return Track(
            change,
            Interpolation[sampler.interpolation],
            targets,
            times,
            values.reshape(shape).astype(np.float64),
        )

    def _times(self, sampler: AnimationSampler, here: str) -> Floats:
        place = f"{here}.input"
        self._charge(self._accessors.count(sampler.input, place), here)
        times = self._accessors.floats(sampler.input, ("SCALAR",), place)[:, 0].astype(np.float64)
        if times[0] < 0.0 or (np.diff(times) <= 0.0).any():
            raise refused(place, "its times do not rise from 0 or later")
        return times

    def _charge(self, numbers: int, place: str) -> None:
        self._key_numbers += numbers
        if self._key_numbers > MAX_KEY_NUMBERS:
            raise refused(
                place,
                f"with it the animations have {self._key_numbers} numbers; "
                f"the limit is {MAX_KEY_NUMBERS}",
                _SIMPLIFY,
            )


def _joined(tracks: Sequence[Track]) -> Track:
    """One track of all targets; all share property, interpolation and times."""
    first = tracks[0]
    return Track(
        first.change,
        first.interpolation,
        np.concatenate([track.targets for track in tracks]),
        first.times,
        np.ascontiguousarray(np.concatenate([track.values for track in tracks], axis=-2)),
    )


def _levels(parents: Ints) -> tuple[Ints, ...]:
    """Node numbers by depth; parents have lower numbers than their children."""
    depth = np.zeros(len(parents), np.int64)
    for number, parent in enumerate(parents.tolist()):
        if parent >= 0:
            depth[number] = depth[parent] + 1
    deepest = int(depth.max(initial=-1)) + 1
    if deepest > MAX_MOVING_DEPTH:
        raise refused(
            "nodes", f"what moves is nested {deepest} deep; the limit is {MAX_MOVING_DEPTH}"
        )
    return tuple(np.flatnonzero(depth == level) for level in range(deepest))
