"""Style and script of the HTML report. The script is plain JavaScript and asks for nothing over a network."""

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Content security policy: a browser refuses whatever the page does not hold itself."""

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1f24; background: #fff; margin: 0 auto; padding: 1.5rem;
       max-width: 76rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #d0d7de; }
figure { margin: 1.5rem 0; } figure img { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 13px; } th, td { padding: .2rem .55rem; border: 1px solid #d0d7de;
        text-align: left; vertical-align: top; } th { background: #f6f8fa; } td.number { text-align: right;
        font-variant-numeric: tabular-nums; white-space: nowrap; }
.scroll { overflow: auto; max-height: 32rem; } .scroll thead th { position: sticky; top: 0; }
code { font-size: 12px; word-break: break-all; } summary { cursor: pointer; margin: .6rem 0; }
.controls { display: grid; grid-template-columns: max-content minmax(8rem, 28rem) max-content; gap: .5rem 1rem;
            align-items: center; margin: 1rem 0; }
#pictures td { text-align: center; } #pictures img { width: 11rem; image-rendering: pixelated; display: block; }
#pictures canvas { width: 20rem; max-width: 44vw; display: block; }
#pictures.points canvas { cursor: grab; touch-action: none; }
.controls button { justify-self: start; min-width: 6rem; } .controls[hidden] { display: none; }
"""

VIEWER = """
<div class="controls">
<label for="sweep">sweep</label><select id="sweep"></select><span></span>
<label for="scheme">scheme</label><select id="scheme"></select><span></span>
<label for="channel">channel</label><select id="channel"></select><span></span>
<label for="snr" id="snr-label">SNR</label>
<input type="range" id="snr" min="0" step="1"><output id="snr-value"></output>
<label for="csi">CSI error variance, linear</label>
<input type="range" id="csi" min="0" step="1"><output id="csi-value"></output>
</div>
<p id="point" aria-live="polite"></p>
<div class="controls" id="moving" hidden>
<button type="button" id="move" aria-pressed="false"></button><span></span><output id="moving-size"></output>
<label for="frame" class="clips">frame</label>
<input type="range" id="frame" class="clips" min="0" step="1" value="0"><output id="frame-value" class="clips"></output>
<label for="azimuth" class="points">turn, degrees</label>
<input type="range" id="azimuth" class="points" min="0" max="359" step="1" value="35">
<output id="azimuth-value" class="points"></output>
<label for="elevation" class="points">tilt, degrees</label>
<input type="range" id="elevation" class="points" min="-90" max="90" step="1" value="25">
<output id="elevation-value" class="points"></output>
</div>
<noscript><p>Without JavaScript nothing is shown here; the numbers stand in the tables.</p></noscript>
<table id="pictures"><thead></thead><tbody></tbody></table>
"""

SCRIPT = """
(() => {
  const sets = JSON.parse(document.getElementById("viewer-data").textContent);
  const columnsOf = set =>
    set.kind === "pictures" ? ["original", "kept", "received", "error"] : ["original", "received"];
  const titles = {original: "original", kept: "kept patches", received: "received", error: "error"};

  const choose = (select, names) => {
    const before = select.value;
    select.replaceChildren(...names.map(name => new Option(name, name)));
    if (names.includes(before)) select.value = before;
  };
  const slide = (range, values) => {
    range.max = values.length - 1;
    range.value = Math.min(range.value, values.length - 1);
    range.disabled = values.length < 2;
  };
  const cell = (tag, text) => Object.assign(document.createElement(tag), {textContent: text});

  const begin = () => {
    const set = sets[of("sweep").selectedIndex];
    choose(of("scheme"), set.schemes);
    choose(of("channel"), set.channels);
    slide(of("snr"), set.snr_db);
    slide(of("csi"), set.csi_error_var);
    of("snr-label").textContent = set.snr_label;
    const head = document.createElement("tr"), columns = columnsOf(set), moves = set.kind !== "pictures";
    head.append(cell("th", ""), ...columns.map(name => cell("th", titles[name])));
    of("pictures").className = set.kind;
    of("pictures").tHead.replaceChildren(head);
    of("pictures").tBodies[0].replaceChildren(...set.uavs.map((uav, number) => {
      const row = document.createElement("tr");
      row.append(cell("th", set.labels[number]), ...columns.map(name => {
        const image = document.createElement(moves ? "canvas" : "img");
        image.id = `${name}-${uav}`;
        if (moves) moving.prepare(image, `${titles[name]}, ${set.labels[number]}`);
        else image.alt = `${titles[name]}, ${set.labels[number]}`;
        const box = document.createElement("td");
        box.append(image);
        return box;
      }));
      return row;
    }));
    moving.begin(set);
    show();
  };

  const show = () => {
    const set = sets[of("sweep").selectedIndex];
    const scheme = of("scheme").value, snr = Number(of("snr").value), csi = Number(of("csi").value);
    of("snr-value").textContent = `${set.snr_db[snr]} dB`;
    of("csi-value").textContent = set.csi_error_var[csi];
    const point = set.points[[scheme, of("channel").value, snr, csi].join("|")] || {text: "no pictures of this point"};
    of("point").textContent = point.text;
    const shown = {original: set.original, kept: set.kept[scheme], received: point.received, error: point.error};
    for (const uav of set.uavs) for (const name of columnsOf(set)) {
      const image = of(`${name}-${uav}`), source = (shown[name] || {})[uav];
      image.hidden = !source;
      if (set.kind !== "pictures") moving.give(image, source);
      else if (source) image.src = source; else image.removeAttribute("src");
    }
    moving.draw();
  };

  choose(of("sweep"), sets.map(set => set.name));
  of("snr").max = of("csi").max = 1e6;
  of("snr").value = 1e6;
  of("csi").value = 0;
  of("sweep").addEventListener("change", begin);
  for (const id of ["scheme", "channel", "snr", "csi"]) of(id).addEventListener("input", show);
  begin();
})();
"""
