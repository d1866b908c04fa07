import numpy as np
import pytest

from infer.models.network import Network
from mesh.core.errors import ContentRefused, PieceFailed


def test_a_network_runs_and_is_warmed(build):
    network = Network(build().SerializeToString())
    network.warm()
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(network.run({"x": x})["y"], 2 * x)


@pytest.mark.parametrize(
    "x", [np.zeros((1, 4), np.float32), np.zeros((1, 3), np.float64), np.zeros(3, np.float32)]
)
def test_inputs_that_do_not_fit_are_an_error_that_says_so(build, x):
    with pytest.raises(PieceFailed, match="model failed"):
        Network(build().SerializeToString()).run({"x": x})


def test_what_the_runtime_does_not_know_is_refused(build):
    model = build()
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ContentRefused, match="cannot be run"):
        Network(model.SerializeToString())
