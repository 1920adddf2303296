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
<table id="pictures"><thead></thead><tbody></tbody></table>
"""

SCRIPT = """
"use strict";
(() => {
  const sets = JSON.parse(document.getElementById("viewer-data").textContent);
  const of = id => document.getElementById(id);
  const columns = ["original", "kept", "received", "error"];
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
    const head = document.createElement("tr");
    head.append(cell("th", "UAV"), ...columns.map(name => cell("th", titles[name])));
    of("pictures").tHead.replaceChildren(head);
    of("pictures").tBodies[0].replaceChildren(...set.uavs.map(uav => {
      const row = document.createElement("tr");
      row.append(cell("th", uav), ...columns.map(name => {
        const image = document.createElement("img");
        image.id = `${name}-${uav}`;
        image.alt = `${titles[name]}, UAV ${uav}`;
        const box = document.createElement("td");
        box.append(image);
        return box;
      }));
      return row;
    }));
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
    for (const uav of set.uavs) for (const name of columns) {
      const image = of(`${name}-${uav}`), source = (shown[name] || {})[uav];
      image.hidden = !source;
      if (source) image.src = source; else image.removeAttribute("src");
    }
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
