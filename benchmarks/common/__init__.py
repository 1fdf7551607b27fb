"""What the benchmarks share: the machine, its quiet, command lines and tables."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
