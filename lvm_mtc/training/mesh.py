"""Device mesh: the same compiled step on one device, on many, and on those of several processes."""

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lvm_mtc.training.state import PyTree, Trainable, path_name

DATA_AXIS = "data"
UAV_AXIS = "uav"


def make_mesh(num_devices: int | None = 1, uav_devices: int = 1) -> Mesh:
    """A mesh whose axis ``"data"`` splits the batch and whose axis ``"uav"`` splits the UAVs.

    The axis types are ``Auto``: under JAX's default explicit axes a reshape that merges a sharded batch axis fails.

    Args:
        num_devices: Of each process, >= 1; None takes all of them.
        uav_devices: How many of them share the UAVs of a picture, >= 1, a divisor of ``num_devices``.
    """
    local = len(jax.local_devices())
    num_devices = local if num_devices is None else num_devices
    if not 1 <= num_devices <= local:
        raise ValueError(f"num_devices must lie in [1, {local}] on this machine, got {num_devices}")
    if uav_devices < 1 or num_devices % uav_devices:
        raise ValueError(f"uav_devices must be a divisor of the {num_devices} devices, got {uav_devices}")
    devices = [d for process in range(jax.process_count()) for d in jax.local_devices(process)[:num_devices]]
    shape = (len(devices) // uav_devices, uav_devices)
    return jax.make_mesh(shape, (DATA_AXIS, UAV_AXIS), axis_types=(AxisType.Auto,) * 2, devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding that keeps a whole copy on every device of ``mesh``."""
    return NamedSharding(mesh, PartitionSpec())


def shard_batch(batch: PyTree, mesh: Mesh) -> PyTree:
    """Splits the arrays of a batch over the mesh; for use inside ``jit``.

    The leading axis goes over ``"data"``, and where ``mesh`` splits UAVs, the second axis, which must then be that of
    the UAVs (or of size 1: it stays whole), over ``"uav"``. Scalars stay whole.
    """

    def constrain(leaf):
        uavs = (UAV_AXIS,) if mesh.shape.get(UAV_AXIS, 1) > 1 and leaf.ndim > 1 and leaf.shape[1] > 1 else ()
        spec = PartitionSpec(DATA_AXIS, *uavs) if leaf.ndim else PartitionSpec()
        return jax.lax.with_sharding_constraint(leaf, NamedSharding(mesh, spec))

    return jax.tree.map(constrain, batch)


def state_shardings(
    state: PyTree, mesh: Mesh, *, shard_params: bool = False, per_uav: Trainable | None = None
) -> PyTree:
    """Where each array of a training state lies; optimiser moments and averages lie as their parameters do.

    Args:
        state: Training state, or its shapes.
        mesh: From :func:`make_mesh`.
        shard_params: Split every array over the axis ``"data"``, along its largest axis that the devices divide; arrays
            without such an axis are kept whole on every device, as all are when False.
        per_uav: Predicate on names ``"params/a/b"``, ``"opt_state/1/0/mu/a/b"``: arrays whose leading axis is that of
            the UAVs, which goes over the axis ``"uav"``. None: there are none.
    """
    num_data, num_uav = mesh.shape[DATA_AXIS], mesh.shape.get(UAV_AXIS, 1)

    def choose(path, leaf):
        axes = [None] * leaf.ndim
        if num_uav > 1 and per_uav is not None and leaf.ndim and per_uav(path_name(path)):
            axes[0] = UAV_AXIS
        if shard_params and num_data > 1:
            divisible = [i for i in range(leaf.ndim) if axes[i] is None and leaf.shape[i] % num_data == 0]
            if divisible:
                axes[max(divisible, key=lambda i: leaf.shape[i])] = DATA_AXIS
        return NamedSharding(mesh, PartitionSpec(*axes) if any(axes) else PartitionSpec())

    return jax.tree_util.tree_map_with_path(choose, state)


def gather_params(params: PyTree, shardings: PyTree) -> PyTree:
    """Copies of parameters that are split over the axis ``"data"``, whole along it; for use inside ``jit``.

    Without this the compiler would rather split the products with a split matrix, and move activations for it.
    """

    def gather(leaf, sharding):
        if DATA_AXIS not in sharding.spec:
            return leaf
        spec = PartitionSpec(*(None if axis == DATA_AXIS else axis for axis in sharding.spec))
        return jax.lax.with_sharding_constraint(leaf, NamedSharding(sharding.mesh, spec))

    return jax.tree.map(gather, params, shardings)


def place(tree: PyTree, shardings: PyTree) -> PyTree:
    """Puts arrays that every process holds alike where ``shardings`` (one, or a tree of them) say."""
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)

    def put(leaf, sharding):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(put(jax.random.key_data(leaf), sharding), impl=jax.random.key_impl(leaf))
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    if isinstance(shardings, NamedSharding):
        shardings = jax.tree.map(lambda _: shardings, tree)
    return jax.tree.map(put, tree, shardings)


def whole_on_host(leaf: jax.Array) -> np.ndarray:
    """The whole array in this process's memory, wherever its parts lie; every process must ask for it."""
    if leaf.is_fully_addressable or leaf.is_fully_replicated:
        return np.asarray(leaf)
    return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
