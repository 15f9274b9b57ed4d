// module: timeline_keys
// gives: timelineKeys
//
// The keyboard in the rows: a tree with one place that Tab reaches, and from there arrows.

const typed = (event) => event.target.closest("input, textarea, select, [contenteditable]") !== null;

// does: { store, rows, zoom, open(id), close(), fold(id, open), search() }
function timelineKeys(root, scroller, does) {
  const { store, rows, zoom } = does;
  const by = (step) => {
    const at = store.places.get(rows.focused()) ?? 0;
    rows.focus(store.shown[Math.max(0, Math.min(store.shown.length - 1, at + step))]);
  };
  const page = () => Math.max(1, Math.floor(scroller.clientHeight / rows.height()) - 1);

  function left() {
    const row = store.get(rows.focused());
    if (!row) return;
    if (store.open(row)) does.fold(row.id, false);
    else if (store.parentOf(row)) rows.focus(store.parentOf(row));
  }
  function right() {
    const row = store.get(rows.focused());
    if (!row || !store.foldable(row)) return;
    if (store.open(row)) by(1);
    else does.fold(row.id, true);
  }

  const inRows = {
    ArrowDown: () => by(1),
    ArrowUp: () => by(-1),
    PageDown: () => by(page()),
    PageUp: () => by(-page()),
    Home: () => rows.focus(store.shown[0]),
    End: () => rows.focus(store.shown.at(-1)),
    ArrowLeft: left,
    ArrowRight: right,
    Enter: () => does.open(rows.focused()),
    " ": () => does.open(rows.focused()),
  };
  const anywhere = {
    "/": () => does.search(),
    "+": () => zoom.by(1.5),
    "=": () => zoom.by(1.5),
    "-": () => zoom.by(1 / 1.5),
    0: () => zoom.fit(),
  };

  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return does.close(event);
    if (typed(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const row = event.target.closest(".rn-trow");
    if (event.shiftKey && (event.key === "ArrowLeft" || event.key === "ArrowRight") && row) zoom.pan(event.key === "ArrowLeft" ? -0.2 : 0.2);
    else if (row && event.target === row && inRows[event.key]) inRows[event.key]();
    else if (anywhere[event.key]) anywhere[event.key]();
    else return;
    event.preventDefault();
  });
}
