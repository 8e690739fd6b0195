(() => {
  "use strict";
  const MOST_FOUND = 200;
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  if (!at("tree")) return;

  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const size = (bytes) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    for (; bytes >= 1024 && unit < units.length - 1; unit++) bytes /= 1024;
    return `${unit ? bytes.toFixed(1) : bytes} ${units[unit]}`;
  };

  // The tree is made of the rows once; its elements are made when a place is first opened.
  const place = (key) => ({ key, below: new Map(), row: null, bytes: 0, count: 0, tones: new Set() });
  const root = place("");
  const rows = data.rows.map(([keys, spec, bytes, tone, remark, digest]) =>
    ({ keys, path: keys.join("/"), spec, bytes, tone, remark, digest }));
  for (const row of rows) {
    let here = root;
    for (const key of row.keys) {
      if (!here.below.has(key)) here.below.set(key, place(key));
      here = here.below.get(key);
      here.bytes += row.bytes;
      here.count += 1;
      here.tones.add(row.tone);
    }
    here.row = row;
  }

  const dot = (tones) => element("i", `dot ${tones.size === 1 ? [...tones][0] : "mixed"}`);
  const leaf = (row, name) => {
    const made = element("div", "leaf");
    made.append(dot(new Set([row.tone])), element("span", "key", name), element("span", "spec", row.spec));
    if (row.bytes) made.append(element("span", "sum", size(row.bytes)));
    if (row.remark) made.append(element("span", "remark", row.remark));
    if (row.digest) {
      const digest = element("span", "digest", row.digest.slice(0, 16));
      digest.title = row.digest;
      made.append(digest);
    }
    return made;
  };
  const fill = (holder, here) => {
    if (holder.dataset.filled) return;
    holder.dataset.filled = "yes";
    for (const child of here.below.values()) holder.append(branch(child));
  };
  const branch = (here) => {
    if (!here.below.size) {
      const made = leaf(here.row, here.key);
      made.dataset.path = here.row.path;
      return made;
    }
    const made = element("details");
    made.dataset.key = here.key;
    const head = element("summary");
    head.append(dot(here.tones), element("span", "key", here.key),
      element("span", "sum", `  ${here.count} entries, ${size(here.bytes)}`));
    made.append(head);
    if (here.row) made.append(leaf(here.row, "(itself)"));
    made.addEventListener("toggle", () => made.open && fill(made, here));
    return made;
  };
  fill(at("tree"), root);

  const open = (keys) => {
    let holder = at("tree");
    let here = root;
    for (const key of keys) {
      here = here.below.get(key);
      if (!here) return;
      const next = [...holder.children].find((child) =>
        child.dataset.key === key || (child.dataset.path !== undefined && here.row && child.dataset.path === here.row.path));
      if (!next) return;
      if (next.tagName === "DETAILS") {
        next.open = true;
        fill(next, here);
      }
      holder = next;
    }
    for (const old of document.querySelectorAll(".leaf.here")) old.classList.remove("here");
    if (holder.classList.contains("leaf")) holder.classList.add("here");
    holder.scrollIntoView({ block: "center" });
  };

  // Search and legend narrow the same list.
  let only = null;
  const search = () => {
    const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    at("found").replaceChildren();
    at("tree").hidden = words.length > 0 || only !== null;
    at("matches").textContent = "";
    if (!at("tree").hidden) return;
    const found = rows.filter((row) => {
      const text = `${row.path} ${row.spec} ${row.remark} ${row.digest}`.toLowerCase();
      return (only === null || row.tone === only) && words.every((word) => text.includes(word));
    });
    const shown = found.length > MOST_FOUND ? `, the first ${MOST_FOUND} shown` : "";
    at("matches").textContent = `${found.length} of ${rows.length} entries${shown}`;
    for (const row of found.slice(0, MOST_FOUND)) {
      const made = leaf(row, row.path);
      made.tabIndex = 0;
      const go = () => { narrow(null); at("search").value = ""; search(); open(row.keys); };
      made.addEventListener("click", go);
      made.addEventListener("keydown", (event) => event.key === "Enter" && go());
      at("found").append(made);
    }
  };
  const narrow = (tone) => {
    only = tone;
    for (const button of document.querySelectorAll("[data-tone]"))
      button.setAttribute("aria-pressed", String(button.dataset.tone === tone));
  };
  at("search").addEventListener("input", search);
  for (const button of document.querySelectorAll("[data-tone]"))
    button.addEventListener("click", () => { narrow(only === button.dataset.tone ? null : button.dataset.tone); search(); });

  // The map. A name may look like markup to plotly: it must stay a name.
  const name = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const style = (variable) => getComputedStyle(document.documentElement).getPropertyValue(`--${variable}`).trim();
  const draw = () => {
    const boxes = data.boxes;
    if (!boxes.length) { at("map").hidden = true; return; }
    const told = new Set(rows.map((row) => row.tone)).size > 1;
    Plotly.react("map", [{
      type: "treemap", branchvalues: "total", maxdepth: 6, sort: true,
      ids: boxes.map((box, index) => String(index)), parents: boxes.map((box) => box[0] === null ? "" : String(box[0])),
      labels: boxes.map((box) => name(box[1].join("/") || "all")), values: boxes.map((box) => box[2]),
      text: boxes.map((box) => size(box[2])),
      textinfo: "label+text+percent root",
      hovertemplate: "<b>%{label}</b><br>%{text}, %{percentRoot:.1%} of all<extra></extra>",
      marker: { colors: told ? boxes.map((box) => style(box[3])) : undefined, pad: { t: 22, l: 3, r: 3, b: 3 },
        line: { width: 1, color: style("back") } },
      root: { color: style("panel") }, pathbar: { thickness: 26 }, tiling: { pad: 2 },
    }], {
      margin: { t: 30, l: 0, r: 0, b: 0 }, paper_bgcolor: "transparent",
      font: { color: style("ink"), family: "system-ui, sans-serif", size: 13 },
      uniformtext: { mode: false }, treemapcolorway: ["#7aa6c2", "#8fbf9f", "#d9b26f", "#b39ac7", "#c99a9a", "#93a8ac"],
    }, { responsive: true, displayModeBar: false });
  };
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  if (data.boxes.length)
    at("map").on("plotly_treemapclick", ({ points }) => {
      const keys = [];
      for (let box = data.boxes[Number(points[0].id)]; box[0] !== null; box = data.boxes[box[0]]) keys.unshift(...box[1]);
      const row = rows.find((row) => row.keys.length === keys.length && keys.every((key, i) => key === row.keys[i]));
      if (row) { at("search").value = ""; narrow(null); search(); open(keys); return false; }
    });
})();
