"""One way to say no: the place in the file, the reason, the way out."""

from mesh.core.errors import ContentRefused

EXPORT_AGAIN = "Export the scene again; the Khronos glTF Validator shows such places."


def refused(place: str, why: str, fix: str = EXPORT_AGAIN) -> ContentRefused:
    """The error to raise for `place` ("accessors[3]", "nodes[7].matrix", "the GLB header")."""
    return ContentRefused(what=f"the scene was refused at {place}", why=why, fix=fix)
