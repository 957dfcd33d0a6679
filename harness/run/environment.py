"""Environment variables, threads and warnings of a run's process."""

from __future__ import annotations

import os
import warnings

from mipo_bench.harness.config.cluster import ClusterConfig
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.core.provenance import usable_cores
from mipo_bench.harness.run.launch import Processes, choose_gpu, threads_each


def prepare_process(config: RunConfig, processes: Processes) -> None:
    """Set the environment variables from which torch and its libraries read the GPU and the number of threads.

    Variables that are already set keep their value, except CUDA_VISIBLE_DEVICES: it becomes this process's GPU, unless
    the model or a training is to be spread over several.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if config.cluster.address:
        return  # the hosts compute; a cluster that starts on this machine must see all of its GPUs and cores
    one_gpu = config.engine_gpus == 1 and config.train.processes == 1
    if config.device in ("auto", "cuda") and config.device_map is None and one_gpu:
        choose_gpu(processes, os.environ)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # makes cuBLAS deterministic
    os.environ.setdefault("OMP_NUM_THREADS", str(threads_each(processes, config.threads, usable_cores())))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads slow down other processes


def prepare_host(config: RunConfig) -> None:
    """Set up the process of a cluster's host as that of a run on one machine; see `prepare_process`."""
    alone = config.model_copy(update={"cluster": ClusterConfig()})
    prepare_process(alone, Processes())
    silence_libraries()


def silence_libraries() -> None:
    """Turn off the progress bars and warnings of libraries."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    os.environ["TQDM_DISABLE"] = "1"
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning)
