// module: timeline_values
// gives: timelineValue, timelineDiff, timelineTrace, timelineText
//
// Values as people look at them: JSON as a tree that unfolds, a table as a table, an image as an image, long text folded.

const LONG = 900; // characters of a text that are shown before it is unfolded
const FEW = 60; // entries of a list or an object that are shown at once
const IMAGES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"]);

function timelineValue(value) {
  switch (value?.kind) {
    case "json":
      return make("div", { class: "rn-json" }, tree("", value.value, 0), value.truncated ? cut() : null);
    case "table":
      return table(value);
    case "image":
      // an SVG is shown as an image too: there its scripts are dead
      return IMAGES.has(value.mime) || value.mime === "image/svg+xml"
        ? make("img", { class: "rn-image", alt: "the image", src: `data:${value.mime};base64,${value.data}` })
        : make("div", { class: "rn-faint", text: `an image (${value.mime})` });
    case "text":
      return make("div", {}, timelineText(value.text), value.truncated ? cut() : null);
    default:
      return make("span", { class: "rn-faint", text: "nothing" });
  }
}

const cut = () => make("div", { class: "rn-faint", text: "… the rest is left out here" });

function timelineText(text, code = true) {
  const shape = code ? "rn-code rn-text" : "rn-text";
  if (text.length <= LONG && text.split("\n").length <= 24) return make("pre", { class: shape, text });
  const body = make("pre", { class: shape, text: `${text.split("\n").slice(0, 24).join("\n").slice(0, LONG)}…` });
  const more = make("button", { type: "button", class: "rn-link", "aria-expanded": "false", text: `All ${text.length.toLocaleString()} characters` });
  more.addEventListener("click", () => {
    body.textContent = text;
    more.remove();
  });
  return make("div", {}, body, more);
}

function leaf(value) {
  const kind = value === null ? "null" : typeof value;
  if (kind === "string" && value.length > 300) return timelineText(value);
  return make("span", { class: `rn-v-${kind}`, text: kind === "string" ? JSON.stringify(value) : String(value) });
}

// A branch is filled when it is unfolded, so a large value costs nothing before somebody looks.
function tree(name, value, depth) {
  const label = name === "" ? null : make("span", { class: "rn-key", text: `${name}: ` });
  if (value === null || typeof value !== "object") return make("div", { class: "rn-leaf" }, label, leaf(value));
  const entries = Array.isArray(value) ? value.map((each, index) => [index, each]) : Object.entries(value);
  if (!entries.length) return make("div", { class: "rn-leaf" }, label, Array.isArray(value) ? "[]" : "{}");
  const size = Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`;
  const body = make("div", { class: "rn-branch" });
  const node = make("details", {}, make("summary", {}, label, make("span", { class: "rn-faint", text: `${size} ${brief(value)}` })), body);
  let reached = 0;
  const more = () => {
    const next = entries.slice(reached, reached + FEW);
    reached += next.length;
    body.querySelector(":scope > .rn-link")?.remove();
    body.append(...next.map(([key, each]) => tree(String(key), each, depth + 1)));
    if (reached < entries.length) body.append(make("button", { type: "button", class: "rn-link", text: `${(entries.length - reached).toLocaleString()} more`, on: { click: more } }));
  };
  node.addEventListener("toggle", () => node.open && !reached && more());
  if (depth < 2 && entries.length <= 12) {
    node.open = true;
    more();
  }
  return node;
}

function brief(value) {
  const text = JSON.stringify(value, (key, each) => (typeof each === "string" && each.length > 24 ? `${each.slice(0, 24)}…` : each));
  return text.length > 64 ? `${text.slice(0, 64)}…` : text;
}

function table({ columns, rows, shape }) {
  const cell = (value) => make("td", { class: typeof value === "number" ? "rn-number" : "", text: value === null || value === undefined ? "" : shown(value) });
  const size = Array.isArray(shape) ? `${plural(shape[0], "row", "rows")} × ${plural(shape[1] ?? columns.length, "column", "columns")}` : "";
  const left = Array.isArray(shape) && shape[0] > rows.length ? `, the first ${rows.length} shown` : "";
  return make("div", { class: "rn-table", tabindex: "0", role: "region", "aria-label": `table, ${size}` },
    make("table", {}, make("thead", {}, make("tr", {}, ...columns.map((name) => make("th", { scope: "col", text: String(name) })))),
      make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell))))),
    make("div", { class: "rn-faint", text: size + left }));
}

// A traceback: the last line first, where it happened below it.
function timelineTrace(error) {
  if (!error) return null;
  const lines = error.traceback ? error.traceback.trimEnd() : "";
  return make("div", { class: "rn-error" },
    make("div", { class: "rn-error-head" }, make("strong", { text: error.type ?? "error" }), error.message ? `: ${error.message}` : ""),
    lines ? make("details", { open: lines.length < 1500 }, make("summary", { text: "Traceback" }), make("pre", { class: "rn-code rn-text", tabindex: "0" }, ...lines.split("\n").map(traceLine))) : null);
}

function traceLine(line) {
  const at = /^\s*(File |Cell |\S+ in |-+> )/.test(line);
  return make("span", { class: at ? "rn-frame" : "", text: `${line}\n` });
}

function timelineDiff(diff) {
  return make("pre", { class: "rn-code rn-text rn-diff", tabindex: "0", "aria-label": "what changed" }, ...diff.trimEnd().split("\n").map((line) => {
    const kind = line.startsWith("+++") || line.startsWith("---") ? "file" : { "+": "new", "-": "old", "@": "where" }[line[0]] ?? "same";
    return make("span", { "data-line": kind, text: `${line}\n` });
  }));
}
