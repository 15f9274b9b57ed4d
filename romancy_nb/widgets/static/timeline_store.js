// module: timeline_store
// gives: timelineStore
//
// What a timeline knows: the view, its rows by id and in order, and which of them are shown: what is folded, what was looked for.

const LANE = "lane:undo";

function timelineStore(view) {
  const store = {
    view, rows: new Map(), order: [], shown: [], places: new Map(), parents: new Set(), folded: new Set(), inner: new Map(),
    text: "", looks: new Set(), matching: 0, total: 0, received: performance.now(),
  };

  store.take = (next) => {
    store.view = { ...next, rows: null }; // its rows are kept here, and the view is the hub's own
    store.received = performance.now();
    store.rows = new Map(next.rows.map((row) => [row.id, row]));
    store.order = next.rows.map((row) => row.id);
    store.relist();
  };

  // The present: as the kernel said it, and from then on as this browser's clock goes.
  store.now = () => store.view.as_of + (store.view.live ? (performance.now() - store.received) * 1000 : 0);

  // Take *delta* in. Returns the ids of rows that changed, and whether rows came, went or moved.
  store.patch = (delta) => {
    const changed = Object.keys(delta.rows ?? {});
    let moved = Boolean(delta.order || delta.append?.length || delta.gone?.length);
    if (delta.set) Object.assign(store.view, delta.set);
    if (delta.set && ("as_of" in delta.set || "live" in delta.set)) store.received = performance.now();
    for (const id of changed) {
      const [before, after] = [store.rows.get(id), delta.rows[id]];
      moved ||= !before || before.parent !== after.parent || before.look !== after.look;
      store.rows.set(id, after);
    }
    for (const id of delta.gone ?? []) store.rows.delete(id);
    if (delta.order) store.order = delta.order.filter((id) => store.rows.has(id));
    else if (moved) {
      const known = new Set(store.order);
      const fresh = [...(delta.append ?? []), ...changed].filter((id) => store.rows.has(id) && !known.has(id) && known.add(id));
      store.order = [...store.order.filter((id) => store.rows.has(id)), ...fresh];
    }
    if (moved || store.text) store.relist();
    return { changed, moved };
  };

  // The rows of the run that a child's row stands for; they have ids of their own.
  store.adopt = (id, rows) => {
    const outer = store.get(id);
    const own = (each) => (each ? `${id}/${each}` : each);
    const adopted = rows.map((row) => ({
      ...row, id: own(row.id), parent: own(row.parent) || id, depth: outer.depth + 1 + row.depth, undoes: own(row.undoes),
      undone_by: own(row.undone_by), lane: "forward", actions: [], within: id, inner: row.id,
    }));
    store.inner.set(id, new Map(adopted.map((row) => [row.id, row])));
  };

  store.get = (id) => {
    const own = store.rows.get(id);
    if (own) return own;
    if (id === LANE) return laneRow();
    for (const rows of store.inner.values()) if (rows.has(id)) return rows.get(id);
    return undefined;
  };

  function laneRow() {
    const undone = store.order.map((id) => store.rows.get(id)).filter((row) => row?.lane === "undo");
    const done = undone.filter((row) => row.status === "completed").length;
    return {
      id: LANE, seq: null, parent: "", depth: 0, lane: "undo", kind: "lane", name: "Undone, the last first", label: "", look: "undo",
      status: "", note: `${done} of ${undone.length}`, started: NaN, finished: null, attempts: [], progress: null, cost: "", undoes: "",
      undone_by: "", child: "", actions: [],
    };
  }

  // All rows in the order of the display, those of loaded children under their row.
  function* all() {
    let lane = false;
    const walk = function* (row) {
      yield row;
      const inner = store.inner.get(row.id);
      if (inner) for (const each of inner.values()) yield* walk(each);
    };
    for (const id of store.order) {
      const row = store.rows.get(id);
      if (row.lane === "undo" && !lane) {
        lane = true;
        yield laneRow();
      }
      yield* walk(row);
    }
  }
  store.all = all;

  const step = (row) => row.kind !== "lane" && row.kind !== "branch";
  const matches = (row) =>
    step(row) && (!store.looks.size || store.looks.has(row.look)) &&
    (!store.text || `${row.name} ${row.label} ${row.status} ${row.note} ${row.id}`.toLowerCase().includes(store.text));

  // Decide anew which rows are shown.
  store.relist = () => {
    const filtering = store.text !== "" || store.looks.size > 0;
    const rows = [...all()];
    const parentOf = (row) => row.parent || (row.lane === "undo" && row.kind !== "lane" ? LANE : "");
    store.parents = new Set(rows.map(parentOf).filter(Boolean));
    let kept = null;
    store.total = rows.reduce((sum, row) => sum + (step(row) ? 1 : 0), 0);
    store.matching = store.total;
    if (filtering) {
      const byId = new Map(rows.map((row) => [row.id, row]));
      kept = new Set();
      store.matching = 0;
      for (const row of rows) {
        if (!matches(row)) continue;
        store.matching++;
        for (let each = row; each && !kept.has(each.id); each = byId.get(parentOf(each))) kept.add(each.id);
      }
    }
    const hidden = new Set();
    store.shown = [];
    for (const row of rows) {
      const parent = parentOf(row);
      if (!filtering && (hidden.has(parent) || store.folded.has(parent))) hidden.add(row.id);
      else if (!kept || kept.has(row.id)) store.shown.push(row.id);
    }
    store.places = new Map(store.shown.map((id, index) => [id, index]));
  };

  store.parentOf = (row) => row.parent || (row.lane === "undo" && row.kind !== "lane" ? LANE : "");
  store.foldable = (row) => store.parents.has(row.id) || (row.kind === "child" && Boolean(row.child));
  store.open = (row) => store.parents.has(row.id) && !store.folded.has(row.id);
  store.level = (row) => row.depth + 1 + (row.lane === "undo" && row.kind !== "lane" ? 1 : 0);
  store.counts = () => {
    const counts = new Map();
    for (const row of store.rows.values()) if (row.kind !== "branch") counts.set(row.look, (counts.get(row.look) ?? 0) + 1);
    return counts;
  };
  store.take(view);
  return store;
}
