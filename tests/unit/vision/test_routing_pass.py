"""The steps from a frame to its routing patches, in their one place."""

from __future__ import annotations

import numpy as np

from inspector.vision.images.resizing import Pyramid
from inspector.vision.routing.profile import routing_copy, routing_profile
from inspector.vision.routing.routing_pass import RoutingPass
from tests.unit.drawings import FakeEngine, draw


def test_patches_of_a_frame_are_those_of_its_routing_copy(fake_engine: FakeEngine) -> None:
    frame = draw("mesh", 3, size=(300, 500))
    routing_pass = RoutingPass.on(fake_engine)
    (raw,) = fake_engine.embedder(routing_profile().graph)(routing_copy(frame)[None])
    expected = routing_profile().patches(raw[0])
    for patches in (
        routing_pass.patches(frame),
        routing_pass.patches(Pyramid(frame)),
        routing_pass.patches_of_copy(routing_copy(frame)),
    ):
        np.testing.assert_array_equal(patches, expected)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1.0, rtol=1e-5)
