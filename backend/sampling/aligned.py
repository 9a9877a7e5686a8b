"""Noise levels that were optimized for a kind of checkpoint: Align Your Steps and GITS.

The levels are published as such, with few digits; other numbers of steps are read between them.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np

AlignedFor = Literal["sd1", "sdxl"]


class Alignment(enum.Enum):
    """Who optimized them: Sabour et al. 2024 ("Align Your Steps") those of 11, which Forge has as 32 too, and Chen et
    al. 2024 ("On the Trajectory Regularity of ODE-based Diffusion Sampling") those of GITS."""

    OF_11 = "11"
    OF_32 = "32"
    GITS = "GITS"

    def levels(self, steps: int, aligned_for: AlignedFor) -> list[float]:
        """`steps` falling noise levels, by straight lines in log sigma between those that are published.

        A single one is the largest (AUTOMATIC1111 takes the smallest, which makes no picture).
        """
        published = _LEVELS[self][aligned_for]
        if steps in (1, len(published)):
            return list(published[:steps])
        places = np.linspace(0, len(published) - 1, steps)
        return np.exp(np.interp(places, range(len(published)), np.log(published))).tolist()


# fmt: off
_SD1_32 = (
    14.615, 11.23951352, 8.64363081, 6.64729424, 5.57250862, 4.71648546, 3.99196065, 3.5195609, 3.13490466,
    2.79228788, 2.48773628, 2.21663865, 1.97508351, 1.7793172, 1.61475335, 1.46540953, 1.314849, 1.16642497,
    1.03475547, 0.91573744, 0.80748169, 0.71202361, 0.621739, 0.53065202, 0.4529096, 0.37491455, 0.27461819,
    0.2011529, 0.14105873, 0.06682881, 0.03166121, 0.015,
)
_SDXL_32 = (
    14.615, 11.1491618, 8.50522127, 6.48827151, 5.43707402, 4.60398619, 3.89854704, 3.27407457, 2.74396527,
    2.29968659, 1.95448514, 1.67108715, 1.42878152, 1.23181009, 1.06789649, 0.92579443, 0.80290886,
    0.69660121, 0.60436903, 0.52852552, 0.46773344, 0.41393379, 0.36258186, 0.31008517, 0.26518925,
    0.22326461, 0.17653877, 0.13959192, 0.10587381, 0.05519369, 0.02877334, 0.015,
)
# fmt: on
_LEVELS: Mapping[Alignment, Mapping[AlignedFor, tuple[float, ...]]] = MappingProxyType(
    {
        Alignment.OF_11: {
            "sd1": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
            "sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
        },
        Alignment.GITS: {
            "sd1": (14.615, 4.617, 2.507, 1.236, 0.702, 0.402, 0.240, 0.156, 0.104, 0.094, 0.029),
            "sdxl": (14.615, 4.734, 2.567, 1.529, 0.987, 0.652, 0.418, 0.268, 0.179, 0.127, 0.029),
        },
        Alignment.OF_32: {"sd1": _SD1_32, "sdxl": _SDXL_32},
    }
)
