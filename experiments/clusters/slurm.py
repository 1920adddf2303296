"""A Dask scheduler whose workers SLURM starts, for ``lvm-mtc sweep --scheduler``.

    python -m experiments.clusters.slurm --jobs 100 --queue normal --hours 4

Prints the script that is submitted, and the scheduler's address; workers that end are submitted anew. Ends with Ctrl-C,
and its jobs with it. ``--print-only`` submits nothing.
"""

import sys
import time

from experiments.script import script

SECONDS_BETWEEN_LINES = 30.0


@script(jobs="workers, a core each", queue="partition", hours="of a job", memory="of a job", setup="shell line that "
        "makes the Python of this environment known to a job", print_only="print the script alone")  # fmt: skip
def main(
    jobs: int = 4,
    queue: str = "normal",
    hours: float = 4.0,
    memory: str = "4GB",
    setup: str = "",
    print_only: bool = False,
) -> None:
    """Keep a Dask scheduler with SLURM jobs for workers."""
    from dask_jobqueue import SLURMCluster

    minutes = round(60 * hours)
    cluster = SLURMCluster(
        queue=queue, cores=1, processes=1, memory=memory, walltime=f"{minutes // 60:02d}:{minutes % 60:02d}:00",
        job_script_prologue=[setup] if setup else [], scheduler_options={"dashboard_address": ":0"},
        # Before its time is over a worker ends by itself, without a task in its hands.
        worker_extra_args=["--lifetime", f"{max(minutes - 5, 1)}m", "--lifetime-stagger", "4m"],
    )  # fmt: skip
    with cluster:
        print(cluster.job_script())
        print(f"lvm-mtc sweep --scheduler {cluster.scheduler_address} ...", flush=True)
        if print_only:
            return
        cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
        while True:
            time.sleep(SECONDS_BETWEEN_LINES)
            print(f"{len(cluster.scheduler_info['workers'])} of {jobs} workers", flush=True)


if __name__ == "__main__":
    sys.exit(main())
