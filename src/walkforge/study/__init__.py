"""The study file, its presets, and the run itself."""

from ._bars import read_bars
from ._beside import Beside
from ._compare import compare
from ._doctor import doctor
from ._each_series import LearnedSeries, learn_each
from ._ensembles import ensemble
from ._fine_tune import fine_tune_study
from ._folder import default_folder
from ._gpt_learn import GptLearning
from ._gpt_study import FineTuneSection, GptModelSection, GptStudy, SamplingSection
from ._judging import backtest_predictions, judge
from ._learn import Learned, Learning, Results
from ._live import judge_live
from ._lives import survivorship_told
from ._load import as_yaml, from_plain, load, plain_of_overrides, preset_names, preset_text
from ._others import backtest_again, backtest_intentions, judge_predictions
from ._prepare import Part, Prepared, Series, prepare
from ._run import is_first, out_folder, resume, run
from ._study import (
    DataSection,
    DeviceSection,
    FeatureSection,
    JudgeSection,
    ModelSection,
    SimulatedMarket,
    Study,
)
from ._token_market import token_market
from ._trial_listing import trials
from ._trials import later_trials_told
from ._tune import resume_tuning, tune
from ._tune_ledger import Trial, ranked, read_trials
from ._tune_section import TuneSection
from ._watcher import Watcher

__all__ = [
    "Beside",
    "DataSection",
    "DeviceSection",
    "FeatureSection",
    "FineTuneSection",
    "GptLearning",
    "GptModelSection",
    "GptStudy",
    "JudgeSection",
    "Learned",
    "LearnedSeries",
    "Learning",
    "ModelSection",
    "Part",
    "Prepared",
    "Results",
    "SamplingSection",
    "Series",
    "SimulatedMarket",
    "Study",
    "Trial",
    "TuneSection",
    "Watcher",
    "as_yaml",
    "backtest_again",
    "backtest_intentions",
    "backtest_predictions",
    "compare",
    "default_folder",
    "doctor",
    "ensemble",
    "fine_tune_study",
    "from_plain",
    "is_first",
    "judge",
    "judge_live",
    "judge_predictions",
    "later_trials_told",
    "learn_each",
    "load",
    "out_folder",
    "plain_of_overrides",
    "prepare",
    "preset_names",
    "preset_text",
    "ranked",
    "read_bars",
    "read_trials",
    "resume",
    "resume_tuning",
    "run",
    "survivorship_told",
    "token_market",
    "trials",
    "tune",
]
