"""A fed workload in one piece: the result is the input's bytes backwards."""

from mesh.core.errors import ContentRefused
from mesh.core.workload import Contract, DeviceInfo, Piece, SessionSetup


class Mirror:
    name = "mirror"

    def find_devices(self):
        return [DeviceInfo("cpu", "cpu", "mirror", "none", 0, software=True)]

    def open_executor(self, device):
        return self

    def open_session(self, request):
        return MirrorSession(request.options)

    def prepare(self, session, spec, assets):
        pass

    def run(self, session, spec, inputs, output):
        output[: len(inputs)] = bytes(inputs)[::-1]
        return len(inputs)

    def forget(self, session):
        pass

    def close(self):
        pass


class MirrorSession:
    setup, picture = SessionSetup(b""), None

    def __init__(self, options):
        self.options = dict(options)
        self.contract = Contract(options.get("period_us", 1), 500_000, trigger="input")
        self.steered = {}

    def describe(self):
        return {"options": self.options}

    def apply_input(self, event, now_us):
        if "nonsense" in event:
            raise ContentRefused("the input is refused", "it is nonsense", "Send sense.")

    def offer_input(self, stamp_us, data):
        if not len(data):
            raise ContentRefused("the input is refused", "it is empty", "Send bytes.")
        self.data = data

    def open_frame(self, frame_id, now_us, hint, canvas, previous):
        if self.data == b"bug":
            raise ZeroDivisionError("a bug of the workload")
        return MirrorFrame(self.data)


class MirrorFrame:
    def __init__(self, data):
        self.result = b""
        self.pieces = [Piece(0, "mirror", 1.0, b"", len(data), data)]

    def accept(self, index, result):
        self.result = bytes(result)

    def fill(self, index):
        pass

    def finish(self):
        return self.result


def create(settings):
    return Mirror()
