// module: timeline
// gives: timeline
//
// A run's timeline, drawn from its view (widgets/wire.py): what stands above the rows, the tools, the axis, the rows, the details.

const HEADROOM = 32; // pixels of the axis

function button(text, label, press) {
  return make("button", { type: "button", "aria-label": label, title: label, text, on: { click: press } });
}

// The axis above the rows: ticks, folds, and the pointer's time. Its lines go down over the rows.
function ruler(chart) {
  const track = make("div", { class: "rn-ruler" });
  const hair = make("div", { class: "rn-hair", hidden: true }, make("span"));
  const node = make("div", { class: "rn-axis", "aria-hidden": "true" }, make("div", { class: "rn-what" }), track, make("div", { class: "rn-time", text: "Time" }), make("div", { class: "rn-note" }));
  let drawn = "";
  return {
    node,
    track,
    draw() {
      const [axis, [lo, hi], width] = [chart.axis(), chart.window(), chart.trackWidth()];
      const seen = (share) => ((share - lo) / (hi - lo)) * width;
      const folds = axis.folds.map(([a, b]) => [seen(axis.at(a)), seen(axis.at(b)), b - a]).filter(([a, b]) => b > 0 && a < width);
      // a label has its place, or it is not there: none runs over a fold or the end
      const room = (x, words) => x + 4 + 6 * words.length <= Math.min(width, ...folds.map(([a]) => (a > x ? a : width)));
      const ticks = timelineTicks(axis, chart.store.view.started, lo, hi, width)
        .map(([share, words]) => [seen(share).toFixed(1), room(seen(share), words) ? words : ""]);
      const text = JSON.stringify([ticks, folds, width]);
      if (text === drawn) return;
      drawn = text;
      const marks = ticks.map(([x, words]) => make("div", { class: "rn-tick", style: `left:${x}px` }, make("span", { text: words })));
      let taken = -Infinity;
      const named = ([a, b, us]) => {
        for (const words of [`⋯ ${duration(us)}`, "⋯"]) {
          const [middle, half] = [(a + b) / 2, words.length * 3];
          if (middle - half < taken) continue;
          taken = middle + half;
          return words;
        }
        return "";
      };
      const gaps = folds.map(([a, b, us]) =>
        make("div", { class: b > width - 30 ? "rn-gap rn-last" : "rn-gap", style: `left:${Math.max(0, a).toFixed(1)}px;width:${(Math.min(width, b) - Math.max(0, a)).toFixed(1)}px`, title: `nothing ran for ${duration(us)}` },
          make("span", { text: named([a, b, us]) })));
      track.replaceChildren(...marks, ...gaps, hair);
    },
    point(x) {
      const width = chart.trackWidth();
      hair.hidden = x === null || x < 0 || x > width;
      if (hair.hidden) return;
      const [axis, [lo, hi]] = [chart.axis(), chart.window()];
      const us = axis.time(lo + (x / width) * (hi - lo));
      hair.style.left = `${x}px`;
      const since = us - chart.store.view.started;
      hair.firstChild.textContent = Math.abs(since) < 6e8 ? `${since < 0 ? "−" : "+"}${duration(Math.abs(since))}` : moment(us);
      hair.classList.toggle("rn-late", x > width - 90);
    },
  };
}

// Search, the looks to choose from, and the zoom.
function tools(store, zoom, changed) {
  const search = make("input", { type: "search", class: "rn-search", placeholder: "Search steps  ( / )", "aria-label": "Search steps", autocomplete: "off", spellcheck: "false" });
  const looks = make("div", { class: "rn-looks", role: "group", "aria-label": "Show only" });
  const count = make("span", { class: "rn-faint rn-count", role: "status" });
  const zooms = make("div", { class: "rn-zooms", role: "group", "aria-label": "Zoom" }, button("−", "Zoom out (-)", () => zoom.by(1 / 1.5)),
    button("+", "Zoom in (+, or ctrl and the wheel)", () => zoom.by(1.5)), button("Fit", "Show all of the time (0)", () => zoom.fit()));
  const node = make("div", { class: "rn-tools" }, search, looks, count, zooms);
  let drawn = "";
  search.addEventListener("input", () => {
    store.text = search.value.trim().toLowerCase();
    changed();
  });
  return {
    node,
    search,
    draw() {
      const counts = store.counts();
      const text = JSON.stringify([[...counts], [...store.looks]]);
      count.textContent = store.matching === store.total ? "" : `${store.matching.toLocaleString()} of ${plural(store.total.toLocaleString(), "step", "steps")}`;
      if (text === drawn) return;
      drawn = text;
      const had = looks.contains(active(looks)) ? active(looks).dataset.look : "";
      looks.replaceChildren(...Object.entries(LOOKS).filter(([look]) => counts.has(look) || store.looks.has(look)).map(([look, [mark, words]]) =>
        make("button", {
          type: "button", "aria-pressed": String(store.looks.has(look)), "data-look": look, title: `Show only: ${words}`,
          on: { click: () => (store.looks.has(look) ? store.looks.delete(look) : store.looks.add(look), changed()) },
        }, make("span", { class: "rn-mark", "aria-hidden": "true", text: mark }), ` ${words} `, make("span", { class: "rn-faint", text: (counts.get(look) ?? 0).toLocaleString() }))));
      if (had) looks.querySelector(`[data-look="${had}"]`)?.focus();
    },
    clear() {
      if (!search.value && !store.looks.size) return false;
      search.value = store.text = "";
      store.looks.clear();
      changed();
      return true;
    },
  };
}

function timeline(root, view, link) {
  const store = timelineStore(view);
  let newest = view; // the run that the kernel tells news of; another may be looked at meanwhile
  let told = performance.now(); // when that was
  let other = 0;
  let [axis, spans, axisAt, wide, narrow] = [null, null, -1, 0, false];
  const asked = { ask: (what, given) => link.ask(what, other && what !== "run" ? { ...given, run: other } : given) };

  const space = make("div", { class: "rn-space", role: "rowgroup" });
  const scroller = make("div", { class: "rn-scroll", role: "treegrid", "aria-multiselectable": "false" });
  const chart = {
    store, scroller, space,
    axis() {
      spans ??= timelineSpans(store.all(), store.view.started);
      const now = store.now();
      if (!axis || (spans.open && now !== axisAt)) axis = timelineAxis(spans, (axisAt = now));
      return axis;
    },
    window: () => zoom.window(),
    narrow: () => narrow,
    trackWidth: () => wide,
    track: () => rule.track.getBoundingClientRect(),
    headHeight: () => HEADROOM,
  };
  const rule = ruler(chart);
  scroller.append(rule.node, space);
  const zoom = timelineZoom(chart, () => again());
  const rows = timelineRows(chart);
  const head = timelineHead(store, asked, choose);
  const bar = tools(store, zoom, () => {
    store.relist();
    everything();
  });
  const details = timelineDetails(store, asked, () => shut());
  const tie = make("div", { class: "rn-tie", hidden: true, "aria-hidden": "true" });
  const empty = make("div", { class: "rn-empty rn-faint" });
  space.append(tie);
  const outer = sealed(make("div", { class: "rn-timeline" }, head.node, bar.node, scroller, empty, details.node));

  // -- drawing ------------------------------------------------------------------------------------------------------------

  function again() {
    rule.draw();
    rows.tick();
    scroller.classList.toggle("rn-zoomed", zoom.zoomed());
  }
  function everything() {
    rows.show();
    rows.refill();
    bar.draw();
    rule.draw();
    scroller.setAttribute("aria-rowcount", String(store.shown.length + 1));
    scroller.hidden = store.shown.length === 0;
    empty.hidden = store.shown.length > 0;
    empty.textContent = store.total ? "No step is like that. Escape shows all again." : "No step has begun yet.";
    plan();
  }
  function measure() {
    const width = outer.clientWidth;
    if (!width) return;
    narrow = width < 560;
    outer.classList.toggle("rn-narrow", narrow);
    outer.classList.toggle("rn-wide", width >= 860);
    wide = rule.track.clientWidth;
    everything();
  }

  // Bars of what runs grow by this browser's clock, as often as that can be seen, and only while it is in sight.
  let [frame, timer, visible] = [0, 0, true];
  function plan() {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    if (!store.view.live || !visible || !outer.isConnected) return;
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const [lo, hi] = chart.window();
    const each = (chart.axis().scale * 1000 * wide) / (hi - lo); // pixels a millisecond
    const pause = still ? 1000 : Math.min(500, Math.max(16, 0.3 / Math.max(each, 1e-6)));
    timer = setTimeout(() => (frame = requestAnimationFrame(step)), pause - 8);
  }
  function step() {
    head.tick();
    rule.draw();
    rows.tick(spans?.open);
    plan();
  }

  // -- what people do -------------------------------------------------------------------------------------------------------

  function fold(id, open) {
    const row = store.get(id);
    if (!row) return;
    if (row.kind === "child" && row.child && !store.parents.has(id)) return unfold(row);
    if (open) store.folded.delete(id);
    else store.folded.add(id);
    store.relist();
    everything();
  }
  async function unfold(row) {
    const node = rows.node(row.id);
    node?.setAttribute("aria-busy", "true");
    try {
      const found = await asked.ask("children", { id: row.id, child: row.child });
      const inside = Array.isArray(found) ? found : (found?.rows ?? []);
      store.adopt(row.id, inside);
      spans = axis = null;
      store.relist();
      everything();
    } catch (error) {
      details.open(row.id);
    }
    rows.node(row.id)?.removeAttribute("aria-busy");
  }
  function open(id) {
    const row = store.get(id);
    if (!row) return;
    if (row.kind === "lane") return fold(id, !store.open(row));
    rows.mark(id);
    rows.select(id);
    details.open(id);
  }
  function shut() {
    const id = details.shown();
    details.close();
    rows.select("");
    rows.focus(id);
  }
  function close(event) {
    if (details.shown()) shut();
    else if (!bar.clear()) return;
    else if (active(outer) === bar.search) rows.focus(rows.focused());
    event.preventDefault();
  }

  async function choose(number) {
    if (number === newest.number) {
      other = 0;
      return renew({ ...newest, as_of: newest.as_of + (newest.live ? (performance.now() - told) * 1000 : 0) });
    }
    try {
      const found = await link.ask("run", { number });
      other = number;
      renew(found);
    } catch (error) {
      head.node.querySelector(".rn-hear").textContent = error.message || "The kernel could not show it.";
    }
  }
  function renew(next) {
    details.close();
    rows.select("");
    rows.reset();
    store.inner.clear();
    store.folded.clear();
    store.take(next);
    spans = axis = null;
    zoom.fit();
    head.draw();
    everything();
  }

  // -- what undoes what -----------------------------------------------------------------------------------------------------

  function connect(id) {
    const row = id ? store.get(id) : null;
    const undo = row?.undoes ? row : row?.undone_by ? store.get(row.undone_by) : null;
    const done = undo ? store.get(undo.undoes) : null;
    const both = done && store.places.has(undo.id) && store.places.has(done.id);
    rows.tie(done ? [undo.id, done.id] : []);
    tie.hidden = !both;
    if (!both || !wide) return;
    const [lo, hi] = chart.window();
    const x = (us) => Math.min(wide, Math.max(0, ((chart.axis().at(us) - lo) / (hi - lo)) * wide));
    const [from, to] = [x(done.finished ?? done.started), x(undo.started)];
    const middle = (name) => (store.places.get(name) + (narrow ? 0.78 : 0.5)) * rows.height();
    tie.style.left = `${rule.track.offsetLeft + Math.min(from, to)}px`;
    tie.style.width = `${Math.max(2, Math.abs(to - from))}px`;
    tie.style.top = `${middle(done.id)}px`;
    tie.style.height = `${middle(undo.id) - middle(done.id)}px`;
  }

  // -- ears -----------------------------------------------------------------------------------------------------------------

  timelineKeys(outer, scroller, { store, rows, zoom, open, close, fold, search: () => bar.search.focus() });
  space.addEventListener("click", (event) => {
    const node = event.target.closest(".rn-trow");
    if (!node) return;
    if (event.target.closest(".rn-twist") && node.hasAttribute("aria-expanded")) {
      rows.focus(node.dataset.id, { scroll: false });
      fold(node.dataset.id, node.getAttribute("aria-expanded") !== "true");
    } else if (String(window.getSelection()) === "") {
      rows.focus(node.dataset.id, { scroll: false });
      open(node.dataset.id);
    }
  });
  space.addEventListener("dblclick", (event) => {
    const node = event.target.closest(".rn-track") && event.target.closest(".rn-trow");
    const row = node && store.get(node.dataset.id);
    if (row && Number.isFinite(row.started)) zoom.to(row);
  });
  space.addEventListener("pointerover", (event) => connect(event.target.closest(".rn-trow")?.dataset.id));
  space.addEventListener("pointerleave", () => connect(rows.selected()));
  space.addEventListener("focusin", (event) => {
    const id = event.target.closest(".rn-trow")?.dataset.id;
    if (id) rows.mark(id);
    connect(id);
  });
  scroller.addEventListener("pointermove", (event) => rule.point(event.clientX - chart.track().left));
  scroller.addEventListener("pointerleave", () => rule.point(null));
  scroller.addEventListener("scroll", () => rows.show(), { passive: true });
  const watched = new ResizeObserver(() => {
    if (outer.clientWidth && (rule.track.clientWidth !== wide || outer.clientWidth < 560 !== narrow)) measure();
  });
  const seen = new IntersectionObserver((entries) => {
    visible = entries.at(-1).isIntersecting;
    plan();
  });

  root.replaceChildren(outer);
  shade(outer);
  outer.addEventListener("pointerenter", () => shade(outer));
  scroller.setAttribute("aria-label", `Steps of ${store.view.workflow}`);
  head.draw();
  measure();
  if (!wide) everything();
  watched.observe(outer);
  seen.observe(outer);

  return {
    whole(next) {
      [newest, told] = [next, performance.now()];
      if (other) return;
      const [had, place] = [scroller.contains(active(outer)), rows.focused()];
      if (next.number !== store.view.number) return renew(next); // the instance went on in a new run
      store.take(next);
      spans = axis = null;
      head.draw();
      everything();
      details.follow([...store.rows.keys()]);
      if (had) rows.focus(place, { scroll: false });
    },
    update(delta) {
      newest = patched(newest, delta);
      told = performance.now();
      if (other) return;
      const low = store.view.live && scroller.scrollTop > 0 && scroller.scrollTop + scroller.clientHeight >= scroller.scrollHeight - 4;
      const { changed, moved } = store.patch(delta);
      if (changed.length || moved) spans = axis = null;
      if (delta.set) head.draw();
      if (moved) {
        rows.show();
        scroller.setAttribute("aria-rowcount", String(store.shown.length + 1));
        [scroller.hidden, empty.hidden] = [!store.shown.length, store.shown.length > 0];
        if (!wide) measure();
      }
      rows.refill(changed);
      if (moved) rows.refill(new Set([...changed.map((id) => store.parentOf(store.get(id) ?? { parent: "" })), LANE_ID].filter(Boolean)));
      bar.draw();
      again();
      if (low) scroller.scrollTop = scroller.scrollHeight;
      details.follow(changed);
      plan();
    },
    destroy() {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      watched.disconnect();
      seen.disconnect();
      zoom.stop();
      outer.remove();
    },
  };
}

const LANE_ID = "lane:undo";

// *delta* on a view that is not on the screen.
function patched(view, delta) {
  if (!delta.order && !delta.gone?.length && !Object.keys(delta.rows ?? {}).length) return { ...view, ...delta.set };
  const rows = new Map(view.rows.map((row) => [row.id, row]));
  for (const [id, row] of Object.entries(delta.rows ?? {})) rows.set(id, row);
  for (const id of delta.gone ?? []) rows.delete(id);
  const order = delta.order ?? [...rows.keys()];
  return { ...view, ...delta.set, rows: order.map((id) => rows.get(id)).filter(Boolean) };
}

kinds.timeline = timeline;
