"""Sweeps on a Ray cluster: the runs that one process makes, also when a node dies."""

import signal
import sys
from functools import partial

import pytest

from critbatch.errors import UserError
from critbatch.studies.ray_backend import connected
from critbatch.studies.sweep import sweep
from integration.test_sweep import numbers
from integration.test_sweep_workers import Meddler
from stored_runs import states_in
from tiny import tiny_task

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray's own sockets and processes
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ask = partial(
    sweep,
    tiny_task(target=0.999),
    batch_sizes=(16, 96),
    learning_rates=(0.03, 0.1, 0.3),
    seeds=(0, 1),
    epochs=150,
    compile=False,
)


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes of one core each on this machine."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # A node that says nothing for so long is dead.
    monkeypatch.setenv("RAY_health_check_failure_threshold", "2")
    monkeypatch.setenv("RAY_health_check_period_ms", "500")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_when_one_of_two_nodes_is_killed_every_run_is_there_once_and_as_one_process_makes_it(tmp_path, cluster):
    def kill() -> None:
        (other,) = cluster.worker_nodes
        cluster.remove_node(other, allow_graceful=False)

    meddler = Meddler(kill)
    study = ask(out=tmp_path / "nodes", ray=cluster.address, workers=2, progress=meddler)
    assert meddler.done_it and len(cluster.list_all_nodes()) == 1
    assert study.runs_left == 0 and states_in(tmp_path / "nodes") == ["finished"] * 12
    assert numbers(study) == numbers(ask(out=tmp_path / "alone"))
    assert study.provenance.machine.threads == 1
    assert not ray.is_initialized()


def test_ctrl_c_and_a_cluster_that_is_too_small(tmp_path, cluster):
    broken = ask(
        out=tmp_path, ray=cluster.address, workers=3, progress=Meddler(lambda: signal.raise_signal(signal.SIGINT))
    )
    assert broken.runs_left > 0 and set(states_in(tmp_path)) <= {"finished", "waiting"}
    with pytest.raises(UserError, match=r"A worker wants 2 cores and 0 GPUs of one node .* have 1 and 0; 1 and 0"):
        ask(out=tmp_path, ray=cluster.address, threads=2)
    with pytest.raises(UserError, match=r"A worker wants 1 cores and 0.5 GPUs of one node"):
        ask(out=tmp_path / "gpus", ray=cluster.address, gpus_per_worker=0.5)
    with connected(cluster.address):
        study = ask(out=tmp_path, ray=cluster.address)
        assert ray.is_initialized()
    assert study.runs_left == 0


def test_what_is_wrong_with_a_cluster_is_said_in_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"The Ray cluster '127.0.0.1:1' does not answer .* start one with `ray start"):
        ask(out=tmp_path, ray="127.0.0.1:1")
    with pytest.raises(UserError, match="The Ray cluster 'nonsense' cannot be used"):
        ask(out=tmp_path, ray="nonsense")
    with pytest.raises(UserError, match=r"gpus_per_worker=0.5 is not possible: .* and a Ray cluster"):
        ask(out=tmp_path, gpus_per_worker=0.5)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"--ray needs the package ray .*: pip install 'critbatch\[ray\]'"):
        ask(out=tmp_path, ray="local")
