"""Run folders: one as an object, several as a table, and a library run written as one."""

from asym_keras.run_settings import OPERATIONAL as OPERATIONAL
from asym_keras.runs.reading import find_runs as find_runs
from asym_keras.runs.reading import load_run as load_run
from asym_keras.runs.reading import load_runs as load_runs
from asym_keras.runs.run import Run as Run
from asym_keras.runs.saving import save_run as save_run
from asym_keras.runs.several import Runs as Runs
