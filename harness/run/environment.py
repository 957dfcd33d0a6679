"""The process of a run: environment variables, threads, warnings."""

from __future__ import annotations

import os
import warnings

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.provenance import usable_cores
from mipo_bench.harness.run.launch import Processes, choose_gpu, threads_each


def prepare_process(config: RunConfig, processes: Processes) -> None:
    """Set the environment variables from which torch and its libraries take the GPU and the number of threads.

    A variable that is set already stays, apart from the GPU, which is this process's share of the visible ones.
    """
    if config.device in ("auto", "cuda") and config.device_map is None:
        choose_gpu(processes, os.environ)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS may round the same training otherwise
    os.environ.setdefault("OMP_NUM_THREADS", str(threads_each(processes, config.threads, usable_cores())))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin while they wait are slow beside others
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def silence_libraries() -> None:
    """Keep the libraries' progress bars and notices off the screen of a command."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    os.environ["TQDM_DISABLE"] = "1"
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning)
