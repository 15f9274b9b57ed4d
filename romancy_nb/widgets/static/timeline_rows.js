// module: timeline_rows
// gives: timelineRows, progressWords, LOOKS
//
// The rows of a timeline: only those in sight are in the page, each drawn once and then changed in place.

// The marks and words of marks.py: they differ in shape, so colour is never needed.
const LOOKS = {
  ok: ["✓", "executed"], journal: ["↺", "from journal"], failed: ["✗", "failed"], running: ["▶", "running"], waiting: ["◷", "waiting"],
  in_doubt: ["?", "may have run"], cancelled: ["⊘", "cancelled"], undo: ["↩", "undoes"],
};
const SPARE = 8; // rows that are drawn above and below what is in sight
const [TALL, FLAT] = [46, 28]; // pixels of a row: in a narrow column the name stands above the bar
const MOST_HIGH = 470;

// An undo may have failed, or a person left things as they are.
function undone(store, row) {
  const by = row.undone_by ? store.get(row.undone_by) : null;
  return by && (by.status === "completed" || by.decided === "done");
}

function told(store, row, now) {
  const [, words] = LOOKS[row.look] ?? ["", row.status];
  if (row.kind === "lane") return `${row.name}: ${row.note}`;
  const said = row.note && row.note !== words ? `${words}, ${row.note}` : words;
  const tie = row.undoes ? `, undoes ${store.get(row.undoes)?.name ?? row.undoes}` : undone(store, row) ? ", undone" : "";
  const took = spent(row, now);
  return `${row.label || row.name}: ${said}${row.attempts.length > 1 ? `, ${row.attempts.length} attempts` : ""}${took ? `, ${took}` : ""}${tie}${row.progress ? `, ${progressWords(row.progress)}` : ""}`;
}

function spent(row, now) {
  if (row.kind === "lane" || atOnce(row) || !Number.isFinite(row.started)) return "";
  if (row.finished !== null && row.finished !== undefined) return duration(row.finished - row.started);
  return row.status === "running" || row.status === "waiting" ? duration(now - row.started) : "";
}

// How far something is, as marks.progress_words says it.
function progressWords(it) {
  if (!it) return "";
  const plain = (number) => (Number.isInteger(number) ? number.toLocaleString("en-US") : Number(number.toPrecision(3)).toLocaleString("en-US"));
  const known = (value) => value !== null && value !== undefined;
  const of = known(it.total) ? `${plain(it.done)} of ${plain(it.total)}` : plain(it.done);
  const rate = known(it.rate) ? `, ${plain(it.rate)}/s` : "";
  const left = known(it.left_us) ? `, ${duration(it.left_us)} left` : "";
  return `${of}${rate}${left}${it.text ? `: ${it.text}` : ""}`;
}

// chart: { store, axis(), window() -> [lo, hi], scroller, space, narrow() }
function timelineRows(chart) {
  const { store, scroller, space } = chart;
  const drawn = new Map(); // id -> what is in the page for it
  let [focused, selected, tied] = ["", "", new Set()];
  const prefix = fresh("row");
  const height = () => (chart.narrow() ? TALL : FLAT);

  // A row that went out of sight lends its elements to one that came into it.
  function lend(parts, id) {
    parts.node.id = `${prefix}-${id}`;
    parts.node.dataset.id = id;
    parts.node.removeAttribute("aria-busy");
    drawn.set(id, parts);
    fill(id, parts);
    return parts;
  }

  function build(id) {
    const parts = {
      twist: make("span", { class: "rn-twist", "aria-hidden": "true" }),
      mark: make("span", { class: "rn-mark", "aria-hidden": "true" }),
      name: make("span", { class: "rn-name" }),
      label: make("span", { class: "rn-label-of" }),
      track: make("div", { class: "rn-track", role: "gridcell" }),
      time: make("div", { class: "rn-time", role: "gridcell" }),
      note: make("div", { class: "rn-note", role: "gridcell" }),
      pieces: [],
    };
    parts.node = make(
      "div",
      { class: "rn-trow", role: "row", id: `${prefix}-${id}`, "data-id": id, tabindex: "-1" },
      make("div", { class: "rn-what", role: "rowheader" }, parts.twist, parts.mark, parts.name, parts.label),
      parts.track, parts.time, parts.note,
    );
    drawn.set(id, parts);
    space.append(parts.node);
    fill(id, parts);
    return parts;
  }

  function put(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  // What is as it was is not touched: a browser would work it out again.
  function style(node, name, value) {
    const known = (node.romancyStyle ??= {});
    if (known[name] !== value) node.style[name] = known[name] = value;
  }

  function attribute(node, name, value) {
    if (value === null) node.removeAttribute(name);
    else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  }

  function fill(id, parts) {
    const row = store.get(id);
    if (!row) return;
    const { node } = parts;
    const [mark] = LOOKS[row.look] ?? ["•"];
    for (const [name, value] of [["data-look", row.look], ["data-kind", row.kind], ["data-lane", row.lane]]) attribute(node, name, value);
    node.classList.toggle("rn-once", atOnce(row));
    attribute(node, "aria-level", String(store.level(row)));
    const foldable = store.foldable(row);
    attribute(node, "aria-expanded", foldable ? String(store.open(row)) : null);
    put(parts.twist, foldable ? (store.open(row) ? "▾" : "▸") : "");
    put(parts.mark, mark);
    const call = !row.label || row.label.startsWith(row.name); // else it is said in words: a question, a branch
    put(parts.name, call ? row.name : row.label);
    put(parts.label, call ? row.label.slice(row.name.length) : "");
    const it = row.progress;
    put(parts.note, it && row.status === "running" ? progressWords(it) : undone(store, row) && row.look !== "failed" ? `${row.note ? `${row.note}, ` : ""}undone ↩` : row.note || "");
    node.style.setProperty("--rn-depth", Math.min(store.level(row) - 1, 12));
    const title = row.kind === "lane" ? "" : `${row.label || row.name}${row.note ? `\n${row.note}` : ""}${row.cost ? `\n${row.cost}` : ""}`;
    if (node.title !== title) node.title = title;
    bars(row, parts);
  }

  // The bar, and what changes with the clock.
  function bars(row, parts) {
    const [axis, now, [lo, hi]] = [chart.axis(), store.now(), chart.window()];
    const pieces = timelinePieces(row, axis, now);
    const scale = 1 / (hi - lo);
    while (parts.pieces.length > pieces.length) parts.pieces.pop().remove();
    const width = chart.trackWidth();
    pieces.forEach(([look, left, right, attempt], index) => {
      let piece = parts.pieces[index];
      if (!piece) {
        piece = parts.pieces[index] = make("div", { class: "rn-piece" });
        parts.track.append(piece);
      }
      if (piece.dataset.look !== look) piece.dataset.look = look;
      const [from, to] = [Math.max(-0.01, (left - lo) * scale), Math.min(1.01, (right - lo) * scale)];
      style(piece, "display", to < -0.005 || from > 1.005 ? "none" : "");
      const least = atOnce(row) ? 9 : look === "unknown" ? 18 : look === "group" ? 4 : 3;
      const wide = Math.max(least, (to - from) * width);
      const x = from * width - (atOnce(row) && from > 0 ? 4 : 0);
      style(piece, "left", `${Math.min(x, from <= 1 ? Math.max(0, width - least - 1) : x).toFixed(2)}px`);
      style(piece, "width", `${wide.toFixed(2)}px`);
      put(piece, attempt > 1 && wide >= 16 ? String(attempt) : look === "unknown" && wide >= 12 ? "?" : "");
    });
    const it = row.progress;
    if (it && it.total && row.status === "running") {
      parts.bar ??= parts.track.appendChild(make("div", { class: "rn-progress" }, make("div")));
      const going = parts.pieces.find((piece) => piece.dataset.look === "running") ?? parts.pieces[0];
      for (const name of going ? ["left", "width"] : []) style(parts.bar, name, going.style[name]);
      parts.bar.firstChild.style.width = `${Math.min(100, (100 * it.done) / it.total)}%`;
    } else if (parts.bar) {
      parts.bar.remove();
      parts.bar = null;
    }
    put(parts.time, spent(row, now));
    attribute(parts.track, "aria-label", told(store, row, now));
  }

  function place(parts, id) {
    const index = store.places.get(id);
    const { node } = parts;
    const y = index * height();
    if (parts.y !== y) node.style.transform = `translateY(${(parts.y = y)}px)`;
    attribute(node, "aria-rowindex", String(index + 2));
    attribute(node, "tabindex", id === focused ? "0" : "-1");
    attribute(node, "aria-selected", String(id === selected));
    node.classList.toggle("rn-tied", tied.has(id));
    node.classList.toggle("rn-odd", index % 2 === 1);
  }

  const self = {
    height,
    spent,
    // Draw what is in sight, take away what is not; rows that are there already stay.
    show() {
      if (!store.places.has(focused)) focused = store.shown[0] ?? "";
      const high = height();
      const total = store.shown.length * high;
      space.style.height = `${total}px`;
      scroller.style.maxHeight = `${MOST_HIGH}px`;
      const top = Math.max(0, scroller.scrollTop);
      const first = Math.max(0, Math.floor(top / high) - SPARE);
      const last = Math.min(store.shown.length, Math.ceil((top + Math.min(MOST_HIGH, scroller.clientHeight || MOST_HIGH)) / high) + SPARE);
      const wanted = new Set(store.shown.slice(first, last));
      if (focused) wanted.add(focused);
      const free = [];
      let lost = false;
      for (const [id, parts] of drawn) {
        if (wanted.has(id)) continue;
        const had = parts.node.contains(active(space));
        drawn.delete(id);
        if (!had) free.push(parts);
        else {
          parts.node.remove();
          lost = true;
        }
      }
      for (const id of wanted) place(drawn.get(id) ?? (free.length ? lend(free.pop(), id) : build(id)), id);
      for (const parts of free) parts.node.remove();
      if (lost) drawn.get(focused)?.node.focus({ preventScroll: true });
    },
    refill(ids) {
      for (const id of ids ?? drawn.keys()) if (drawn.has(id)) fill(id, drawn.get(id));
    },
    // Only the bars and times: of all rows, or of those that the clock moves.
    tick(all = true) {
      for (const [id, parts] of drawn) {
        const row = store.get(id);
        if (row && (all || row.finished === null)) bars(row, parts);
      }
    },
    reveal(id) {
      const index = store.places.get(id);
      if (index === undefined) return;
      const [high, head] = [height(), chart.headHeight()];
      const y = index * high;
      if (y < scroller.scrollTop) scroller.scrollTop = y;
      else if (y + high + head > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = y + high + head - scroller.clientHeight;
    },
    focus(id, { scroll = true } = {}) {
      if (!store.places.has(id)) return;
      focused = id;
      if (scroll) self.reveal(id);
      self.show();
      drawn.get(id)?.node.focus({ preventScroll: true });
    },
    mark(id) {
      const before = focused;
      focused = id;
      for (const each of [before, id]) if (drawn.has(each)) attribute(drawn.get(each).node, "tabindex", each === id ? "0" : "-1");
    },
    select(id) {
      selected = id;
      self.show();
    },
    tie(ids) {
      tied = new Set(ids);
      for (const [id, parts] of drawn) parts.node.classList.toggle("rn-tied", tied.has(id));
    },
    // After the rows themselves were changed: what is no longer there loses its place in the page.
    reset() {
      for (const parts of drawn.values()) parts.node.remove();
      drawn.clear();
    },
    focused: () => focused,
    selected: () => selected,
    node: (id) => drawn.get(id)?.node,
    known: () => drawn,
  };
  return self;
}
