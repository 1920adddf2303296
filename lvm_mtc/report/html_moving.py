"""Player and turntable of the HTML report: plain JavaScript that draws frames and points on canvases."""

from lvm_mtc.report.moving import CLOUD_SCALE

FRAMES_PER_SECOND = 10
DEGREES_PER_SECOND = 30

# The projection is that of ``clouds.project``.
MOVING = (
    """
"use strict";
const of = id => document.getElementById(id);
const moving = (() => {
  const cells = new Map(), read = new Map();  // canvas -> what it is called, what it shows; media -> as it is drawn
  let kind = "pictures", number = 0, on = false, before = 0;

  const framesOf = media => {
    if (!read.has(media)) {
      const images = media.map(() => new Image());
      read.set(media, images);
      images.forEach((image, i) => { image.onload = draw; image.src = media[i]; });
    }
    return read.get(media);
  };
  const pointsOf = media => {
    if (!read.has(media)) {
      const text = atob(media), steps = new DataView(Uint8Array.from(text, c => c.charCodeAt(0)).buffer);
      read.set(media, Float32Array.from({length: text.length / 2}, (_, i) => steps.getInt16(2 * i, true) / SCALE));
    }
    return read.get(media);
  };

  const drawFrame = (canvas, media) => {
    const image = framesOf(media)[Number(of("frame").value)];
    if (!image || !image.naturalWidth) return;
    if (canvas.width !== image.naturalWidth || canvas.height !== image.naturalHeight) {
      canvas.width = image.naturalWidth;
      canvas.height = image.naturalHeight;
    }
    canvas.getContext("2d").drawImage(image, 0, 0);
  };
  const drawCloud = (canvas, media) => {
    const points = pointsOf(media), half = canvas.width / 2, bins = Array.from({length: 24}, () => []);
    const a = of("azimuth").value * Math.PI / 180, e = of("elevation").value * Math.PI / 180;
    const [sinA, cosA, sinE, cosE] = [Math.sin(a), Math.cos(a), Math.sin(e), Math.cos(e)];
    for (let i = 0; i < points.length; i += 3) {
      const [x, y, z] = points.subarray(i, i + 3), out = cosA * x + sinA * y;
      const near = cosE * out + sinE * z, bin = Math.floor((near + 1) * bins.length / 2);
      bins[Math.min(Math.max(bin, 0), bins.length - 1)].push(cosA * y - sinA * x, cosE * z - sinE * out);
    }
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, canvas.width, canvas.height);
    bins.forEach((bin, depth) => {
      pen.fillStyle = `hsl(${190 + 70 * depth / bins.length} 75% ${78 - 56 * depth / bins.length}%)`;
      for (let i = 0; i < bin.length; i += 2)
        pen.fillRect(half + half * bin[i] / 1.05 - 1.5, half - half * bin[i + 1] / 1.05 - 1.5, 3, 3);
    });
  };

  const draw = () => {
    const frame = Number(of("frame").value);
    const clip = kind === "clips", at = clip ? `frame ${frame + 1} of ${number}`
      : `seen from ${of("azimuth").value} degrees, ${of("elevation").value} above`;
    if (clip) { of("frame-value").textContent = `${frame + 1} of ${number}`; of("frame").ariaValueText = at; }
    for (const name of ["azimuth", "elevation"]) of(`${name}-value`).textContent = `${of(name).value}°`;
    for (const [canvas, {title, media}] of cells) {
      canvas.setAttribute("aria-label", `${title}, ${at}`);
      if (media) (clip ? drawFrame : drawCloud)(canvas, media);
    }
  };

  const move = yes => {
    on = yes;
    of("move").setAttribute("aria-pressed", String(on));
    of("move").textContent = kind === "clips" ? (on ? "pause" : "play") : (on ? "stop" : "rotate");
    before = performance.now();
    if (on) requestAnimationFrame(step);
  };
  const step = now => {
    if (!on) return;
    const [name, perSecond, length] = kind === "clips" ? ["frame", FRAMES, number] : ["azimuth", DEGREES, 360];
    const steps = Math.floor((now - before) * perSecond / 1000);
    if (steps > 0) {
      before += steps * 1000 / perSecond;
      of(name).value = (Number(of(name).value) + steps) % length;
      draw();
    }
    requestAnimationFrame(step);
  };

  const drag = canvas => {
    let x = 0, y = 0;
    canvas.addEventListener("pointerdown", event => {
      move(false);
      canvas.setPointerCapture(event.pointerId);
      [x, y] = [event.clientX, event.clientY];
    });
    canvas.addEventListener("pointermove", event => {
      if (!canvas.hasPointerCapture(event.pointerId)) return;
      of("azimuth").value = (Number(of("azimuth").value) + Math.round(x - event.clientX) + 720) % 360;
      of("elevation").value = Number(of("elevation").value) + Math.round(event.clientY - y);
      [x, y] = [event.clientX, event.clientY];
      draw();
    });
  };

  of("move").addEventListener("click", () => move(!on));
  for (const name of ["frame", "azimuth", "elevation"])
    of(name).addEventListener("input", () => { move(false); draw(); });

  return {
    draw: () => { if (kind !== "pictures") draw(); },
    prepare: (canvas, title) => {
      canvas.setAttribute("role", "img");
      canvas.width = canvas.height = 420;
      cells.set(canvas, {title});
    },
    give: (canvas, media) => { cells.get(canvas).media = media; },
    begin: set => {
      for (const canvas of cells.keys()) if (!canvas.isConnected) cells.delete(canvas);
      kind = set.kind;
      of("moving").hidden = kind === "pictures";
      for (const element of of("moving").querySelectorAll(".clips, .points"))
        element.hidden = !element.classList.contains(kind);
      if (kind === "pictures") { on = false; return; }
      const [first] = Object.values(set.original);
      if (kind === "clips") {
        number = first.length;
        of("frame").max = number - 1;
        of("frame").value = 0;
      } else for (const canvas of cells.keys()) drag(canvas);
      of("moving-size").textContent = kind === "clips" ? `${number} frames, FRAMES a second`
        : `${pointsOf(first).length / 3} points`;
      move(kind === "points" && !matchMedia("(prefers-reduced-motion: reduce)").matches);
    },
  };
})();
""".replace("FRAMES", str(FRAMES_PER_SECOND))
    .replace("DEGREES", str(DEGREES_PER_SECOND))
    .replace("SCALE", str(CLOUD_SCALE))
)
