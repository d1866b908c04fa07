"""A workload whose device costs next to nothing: for nodes that are there to be linked."""

from mesh.core.errors import SessionRefused
from mesh.core.workload import DeviceInfo

INFO = DeviceInfo(unit="light", api="cpu", name="light device", driver="light 1", index=0)


class LightExecutor:
    """Holds no session and runs no piece: nobody asks it to."""

    def close(self):
        pass


class Light:
    name = "light"

    def find_devices(self):
        return [INFO]

    def open_executor(self, device):
        return LightExecutor()

    def open_session(self, request):
        raise SessionRefused(what="no session", why="there is nothing to do", fix="Ask another.")


def create(settings):
    return Light()
