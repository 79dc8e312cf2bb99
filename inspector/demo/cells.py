"""Photographs of solar cells from the package `elpv-dataset`, split into training and test images by module.

The package has 2,624 electroluminescence images of mono- and polycrystalline cells, each with an expert's defect
probability (Buerhop-Lutz et al., 2018). Its licence is CC BY-NC-SA 4.0, so it is optional and never part of this
package. Probability 0 counts as good and 1 as defective; images that the experts doubted (1/3, 2/3) are not used. No
module numbers are published, but the files are in the order of the modules. Each product is therefore cut into
contiguous blocks, and a whole block is either for training or for testing. Only a module at the border of two blocks
can be on both sides.
"""

from __future__ import annotations

import importlib.util
import random
from dataclasses import dataclass
from pathlib import Path

from inspector.errors import UsageError

PRODUCTS = ("mono", "poly")
BLOCKS = 20
TEST_EVERY = 3
GOOD_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class Cell:
    """One photograph with its expert label."""

    path: Path
    product: str
    is_good: bool


@dataclass(frozen=True, slots=True)
class Split:
    """The cells that one product is enrolled from, and the cells that the cameras show."""

    train: tuple[Cell, ...]
    good: tuple[Cell, ...]
    defective: tuple[Cell, ...]


def load_cells() -> list[Cell]:
    """All cells that the experts were sure of, in file order. Raises UsageError if the package is missing."""
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        raise UsageError("The demo needs real images: install them with `pip install 'inspector[demo]'`.")
    root = Path(spec.origin).parent / "data"
    cells: list[Cell] = []
    for line in (root / "labels.csv").read_text(encoding="ascii").splitlines():
        name, probability, product = line.split()
        if float(probability) in (0.0, 1.0):
            cells.append(Cell(root / name, product, float(probability) == 0.0))
    return cells


def split(cells: list[Cell], product: str, train: int) -> Split:
    """The cameras show every third block that has both classes; `train` good cells come evenly from the rest."""
    own = [cell for cell in cells if cell.product == product]
    size = -(-len(own) // BLOCKS)
    blocks = [own[start : start + size] for start in range(0, len(own), size)]
    mixed = [n for n, block in enumerate(blocks) if len({cell.is_good for cell in block}) == 2]
    shown = set(mixed[::TEST_EVERY])
    learnt = [cell for n, block in enumerate(blocks) if n not in shown for cell in block if cell.is_good]
    test = [cell for n in sorted(shown) for cell in blocks[n]]
    step = max(1, len(learnt) // train)
    return Split(
        train=tuple(learnt[::step][:train]),
        good=tuple(cell for cell in test if cell.is_good),
        defective=tuple(cell for cell in test if not cell.is_good),
    )


def schedule(splits: dict[str, Split], frames: int, seed: int = 7) -> list[Cell]:
    """The cells in the order they are shown: equally many of each product, three quarters good, shuffled.

    Cells are repeated if there are fewer than needed.
    """
    chance = random.Random(seed)
    chosen: list[Cell] = []
    for number, product in enumerate(splits):
        of_product = frames // len(splits) + (number < frames % len(splits))
        good = round(of_product * GOOD_SHARE)
        for kind, count in ((splits[product].good, good), (splits[product].defective, of_product - good)):
            pool = list(kind)
            chance.shuffle(pool)
            chosen.extend(pool[n % len(pool)] for n in range(count))
    chance.shuffle(chosen)
    return chosen
