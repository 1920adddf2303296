"""UAVs and base station of a scene, drawn from above."""

import os

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lvm_mtc.link import Scene
from lvm_mtc.report.figures import save_png


def add_below(sheet: str | os.PathLike, other: str | os.PathLike) -> None:
    """Puts one PNG below another, in the middle, on white."""
    with Image.open(sheet) as upper, Image.open(other) as lower:
        both = Image.new("RGB", (max(upper.width, lower.width), upper.height + lower.height), "white")
        for picture, top in ((upper, 0), (lower, upper.height)):
            both.paste(picture.convert("RGB"), ((both.width - picture.width) // 2, top))
    both.save(sheet)


def save_scene(path: str | os.PathLike, scene: Scene, num_uavs: int) -> None:
    """Draws the first ``num_uavs`` places into a PNG: height, SNR beside the mean in line of sight, and velocity."""
    places = np.array(scene.positions[:num_uavs])
    level = scene.level_db(num_uavs)
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axes = figure.subplots()
    base = (0.0, 0.0) if scene.bs_position is None else scene.bs_position[:2]
    axes.plot(*base, "k^", markersize=9)
    axes.annotate("base station", base, xytext=(-8, 6), textcoords="offset points", fontsize=8, ha="right")
    axes.plot(places[:, 0], places[:, 1], "o", color="C0")
    if scene.velocity is not None:
        moved = np.array(scene.velocity[:num_uavs])
        axes.quiver(places[:, 0], places[:, 1], moved[:, 0], moved[:, 1], angles="xy", width=0.004, color="C1")
    for number, (place, above) in enumerate(zip(places, level, strict=True), start=1):
        text = f"UAV {number}\n{place[2]:g} m, {above:+.1f} dB"
        axes.annotate(text, place[:2], xytext=(6, 4), textcoords="offset points", fontsize=8)
    axes.set(xlabel="x, m", ylabel="y, m", aspect="equal", title=f"{scene.scenario}, from above; SNR beside the mean")
    axes.margins(0.25)
    axes.grid(alpha=0.3)
    save_png(figure, path)
