"""What ``lvm-mtc bench`` says of a program: memory against counted bytes, calls, devices."""

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.sweep.throughput import Case, over_devices, time_program


def test_bytes_are_those_of_arguments_results_and_temporaries():
    def one(count):
        x = over_devices(count, jnp.zeros(4000, jnp.float32))
        assert len(x.sharding.device_set) == count
        return time_program("p", Case(1, count), 4000, "symbols", lambda x: x + 1, x, repeats=3)

    for count in (1, 2):
        timing = one(count)
        assert timing.program_bytes == 2 * 4000 * 4 // count, "one argument and one result, split"
        assert timing.record()["num_devices"] == count
    assert timing.device_peak_bytes is None, "a CPU has no memory of its own"


def test_the_host_peak_is_that_of_one_program():
    def timed(size):
        return time_program("p", Case(1), 1, "symbols", lambda: jnp.arange(size) * 2.0, repeats=2).host_peak_bytes

    small, large, again = timed(8), timed(2**25), timed(8)
    assert large > small + 2**27 - 2**24, "two results of 128 MiB are alive at most, one at least"
    assert again < large


def test_a_step_that_takes_its_state_is_carried_on():
    calls = []

    def step(state, data):
        jax.debug.callback(lambda n: calls.append(int(n)), state)
        return state + data, state

    donating = jax.jit(step, donate_argnums=0)
    timing = time_program("p", Case(1), 6, "pictures", donating, jnp.int32(0), jnp.int32(2), repeats=4, carry=True)
    jax.effects_barrier()
    assert sorted(calls) == [0, 2, 4, 6, 8]
    assert timing.items_per_s == 6 / timing.median_s and np.isfinite(timing.compile_s)
