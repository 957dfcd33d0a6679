"""The choice of a cluster for a run: what is refused with one, and its hosts while the run lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mipo_bench.harness.cluster.engine import ClusterBackend
from mipo_bench.harness.cluster.pool import Pool
from mipo_bench.harness.config.judge_spec import JudgeSpec
from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.generators.model_folder import EMBEDDED_MODEL
from mipo_bench.harness.judging.assign import AssignedJudge
from mipo_bench.harness.planning.plan import Plan
from mipo_bench.harness.plugins.optional import objective_of
from mipo_bench.harness.run.environment import prepare_host
from mipo_bench.harness.run.run import Run
from mipo_bench.harness.run.stages.context import RunContext
from mipo_bench.harness.run.stages.helpers import HostThreads
from mipo_bench.harness.startup.findings import Finding


def check_cluster(config: RunConfig, *, launched: bool) -> None:
    """Raise ConfigError or ClusterError for a run with a cluster that cannot be. Connects to nothing."""
    if config.cluster.address is None:
        return
    if launched:
        raise ConfigError("a run on a cluster is one process: start it without torchrun or accelerate launch.")
    if config.processes > 1:
        raise ConfigError(f"processes = {config.processes}: a run on a cluster is one process; leave the setting out.")
    if config.source.kind != "own":
        raise ConfigError(
            f"a cluster runs models by transformers, not --model {config.model} with --backend {config.backend}: leave"
            " out --cluster, or --backend."
        )
    if config.train.processes > 1:
        raise ConfigError(
            f"train.processes = {config.train.processes}: a host of a cluster trains on one device; leave the setting"
            " out, or leave out --cluster."
        )
    for name in config.judge.names:
        if JudgeSpec.parse(name).kind in ("model", "nli"):
            raise ConfigError(
                f"judge {name!r} would run on this machine, not on the cluster. Serve it, and give"
                " --judge openai:MODEL@URL."
            )
    if (folder := config.cluster.checkpoints) is not None and not folder.is_dir():
        raise ConfigError(
            f"cluster.checkpoints = {folder} is no folder on this machine: make it, where every node sees it under this"
            " name."
        )
    from mipo_bench.harness.cluster.ray_connection import check_ray

    check_ray()


def examine_cluster(config: RunConfig) -> Finding:
    """Whether the cluster of a run answers, and its room. Raises ConfigError or ClusterError where the run would."""
    check_cluster(config, launched=False)
    from mipo_bench.harness.cluster.ray_cluster import describe_cluster

    hosts, text = describe_cluster(config)
    if hosts == 0:
        return Finding("cluster", "warn", f"{text}. The run waits {config.cluster.patience:g} s for more nodes")
    return Finding("cluster", "ok", text)


def check_recipes(config: RunConfig, plan: Plan) -> None:
    """Raise ConfigError for a recipe that cannot be trained on a cluster."""
    refused = [name for name, recipe in plan.recipes.items() if objective_of(recipe) == "grpo"]
    if config.cluster.address and refused:
        raise ConfigError(
            f"{', '.join(refused)} cannot be trained on a cluster: GRPO asks the task for rewards while it trains."
            " Leave it out of --recipes, or leave out --cluster."
        )


@contextmanager
def hosts_of(config: RunConfig, say: Callable[[str], None]) -> Iterator[Pool | None]:
    """The hosts of the run's cluster; None without a cluster. Raises ClusterError where it cannot be reached."""
    if config.cluster.address is None:
        yield None
        return
    from mipo_bench.harness.cluster.ray_cluster import ray_hosts

    here = config.model != EMBEDDED_MODEL and Path(config.model).exists()
    model = str(Path(config.model).absolute()) if here else config.model
    cluster = config.cluster
    if cluster.checkpoints is not None:
        cluster = cluster.model_copy(update={"checkpoints": cluster.checkpoints.absolute()})
    for_hosts = config.model_copy(update={"model": model, "include": (), "data": {}, "cluster": cluster})
    with ray_hosts(for_hosts, prepare_host, say) as pool:
        yield pool


def run_on_hosts(context: RunContext, judges: Mapping[str, AssignedJudge], hosts: Pool) -> Run:
    """The run whose models are on the hosts. Its report names their hardware."""
    assert isinstance(context.backend, ClusterBackend)

    def hardware() -> dict[str, str | int]:
        return {**hosts.first_facts().hardware, "hosts": hosts.joined, "lost_hosts": hosts.lost}

    known = replace(context, hardware=hardware)
    return Run(known, judges, helpers=HostThreads(known, context.backend.folder, hosts))
