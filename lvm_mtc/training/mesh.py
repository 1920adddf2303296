"""Device mesh: the same compiled step on one device and on many."""

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

DATA_AXIS = "data"


def make_mesh(num_devices: int | None = 1) -> Mesh:
    """A one-dimensional mesh whose axis ``"data"`` splits the batch.

    The axis type is ``Auto``: under JAX's default explicit axes a reshape that merges a sharded batch axis fails.

    Args:
        num_devices: Number of local devices, >= 1; None takes all of them.

    Returns:
        The mesh, shape ``{"data": num_devices}``.

    Raises:
        ValueError: if fewer devices are there than asked for.
    """
    devices = jax.local_devices()
    if num_devices is None:
        num_devices = len(devices)
    if not 1 <= num_devices <= len(devices):
        raise ValueError(f"num_devices must lie in [1, {len(devices)}] on this machine, got {num_devices}")
    return jax.make_mesh((num_devices,), (DATA_AXIS,), axis_types=(AxisType.Auto,), devices=devices[:num_devices])


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding that keeps a whole copy on every device of ``mesh``."""
    return NamedSharding(mesh, PartitionSpec())


def shard_batch(batch, mesh: Mesh):
    """Splits the leading axis of every array of a batch over the mesh; scalars stay whole. For use inside ``jit``."""

    def constrain(leaf):
        spec = PartitionSpec(DATA_AXIS) if leaf.ndim else PartitionSpec()
        return jax.lax.with_sharding_constraint(leaf, NamedSharding(mesh, spec))

    return jax.tree.map(constrain, batch)
