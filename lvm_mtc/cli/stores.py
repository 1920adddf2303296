"""Which sweep of a store a user names."""

from lvm_mtc.results.points import Sweep
from lvm_mtc.results.store import ResultStore

SHORT = 12
SWEEP_FLAG = "--sweep SWEEP: the sweep, by its name or the first digits of its hash; may be left out "


def find_sweep(store: ResultStore, prefix: str | None) -> Sweep:
    """The sweep of this name, or the one whose hash begins like this; None: the only one."""
    sweeps = store.sweeps()
    known = ", ".join(sweep.config_hash[:SHORT] for sweep in sweeps[:8]) + (", ..." if len(sweeps) > 8 else "")
    if not sweeps:
        raise ValueError(f"--store {store.path}: holds no sweeps")
    if prefix is None and len(sweeps) > 1:
        raise ValueError(f"--sweep: {store.path} holds {len(sweeps)} sweeps, name one: {known}")
    named = [sweep for sweep in sweeps if prefix is not None and sweep.config.get("name") == prefix]
    matches = named or [sweep for sweep in sweeps if sweep.config_hash.startswith((prefix or "").lower())]
    if len(matches) != 1:
        raise ValueError(
            f"--sweep {prefix}: {len(matches)} sweeps of {store.path} are called or begin like this; it holds {known}"
        )
    return matches[0]
