"""All planted faults, in the order in which a pipeline could catch them.

A new one is a function of about ten lines that replaces one of a room, or spoils bars, in one of
the files beside this one, and its line in that file's list.
"""

from ._faults_bars import BAR_FAULTS
from ._faults_fills import FILL_FAULTS
from ._faults_learned import LEARNING_FAULTS
from ._faults_rows import ROW_FAULTS
from ._plant import Fault

FAULTS: tuple[Fault, ...] = (*ROW_FAULTS, *LEARNING_FAULTS, *FILL_FAULTS, *BAR_FAULTS)
