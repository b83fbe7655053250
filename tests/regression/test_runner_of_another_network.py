"""Two networks whose C is equal but whose inputs have other names: the second was called with the first one's names."""

import numpy as np
from road import draws, small

import aot


def test_equal_code_under_other_names() -> None:
    for name in ("\N{SNOWMAN}", "\N{UMBRELLA}"):
        model = small(name)
        net = aot.compile(model, draws(model), name="net")
        assert net.run({name: np.zeros((1, 6))}).shape == (1, 5)
