// module: timeline_zoom
// gives: timelineZoom
//
// Which part of the axis is in sight: all of it, or a stretch of time that was zoomed to. The stretch is kept in time, so that a
// run that goes on does not move it.

const CLOSEST = 200; // µs that fill the width at the closest

function timelineZoom(chart, redraw) {
  let stretch = null; // [from, to] in µs

  const self = {
    window() {
      if (!stretch) return [0, 1];
      const axis = chart.axis();
      const [lo, hi] = stretch.map(axis.at);
      return hi - lo > 1e-9 ? [lo, hi] : [0, 1];
    },
    zoomed: () => stretch !== null,
    set(lo, hi) {
      const axis = chart.axis();
      const wide = Math.min(1, Math.max(hi - lo, CLOSEST * axis.scale));
      lo = Math.min(1 - wide, Math.max(0, lo));
      stretch = wide > 0.9999 ? null : [axis.time(lo), axis.time(lo + wide)];
      redraw();
    },
    // *at* is the place, as a share of what is in sight, that stays where it is.
    by(factor, at = 0.5) {
      const [lo, hi] = self.window();
      const wide = (hi - lo) / factor;
      const fixed = lo + at * (hi - lo);
      self.set(fixed - at * wide, fixed - at * wide + wide);
    },
    pan(share) {
      if (!stretch) return;
      const [lo, hi] = self.window();
      const by = Math.max(-lo, Math.min(1 - hi, share * (hi - lo)));
      self.set(lo + by, hi + by);
    },
    fit() {
      stretch = null;
      redraw();
    },
    // The stretch of one row, with some air.
    to(row) {
      const axis = chart.axis();
      const [a, b] = [axis.at(row.started), axis.at(row.finished ?? axis.end)];
      const air = Math.max((b - a) * 0.2, 0.002);
      self.set(a - air, b + air);
    },
  };

  const shareOf = (event) => {
    const { left, width } = chart.track();
    return width ? (event.clientX - left) / width : 0.5;
  };

  function wheel(event) {
    if (event.ctrlKey || event.metaKey) {
      self.by(Math.exp(-Math.max(-80, Math.min(80, event.deltaY)) * 0.006), Math.min(1, Math.max(0, shareOf(event))));
    } else if (stretch && (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))) {
      self.pan((event.shiftKey && !event.deltaX ? event.deltaY : event.deltaX) / Math.max(1, chart.track().width));
    } else return;
    event.preventDefault();
  }

  let dragged = null;
  function down(event) {
    if (event.button !== 0 || !stretch || !event.target.closest(".rn-track, .rn-ruler")) return;
    dragged = { x: event.clientX, moved: false, id: event.pointerId };
  }
  function move(event) {
    if (!dragged || event.pointerId !== dragged.id) return;
    const by = event.clientX - dragged.x;
    if (!dragged.moved && Math.abs(by) < 4) return;
    dragged.moved = true;
    chart.scroller.classList.add("rn-dragging");
    self.pan(-by / Math.max(1, chart.track().width));
    dragged.x = event.clientX;
  }
  function up() {
    if (dragged?.moved) chart.scroller.addEventListener("click", (event) => event.stopPropagation(), { capture: true, once: true });
    dragged = null;
    chart.scroller.classList.remove("rn-dragging");
  }
  chart.scroller.addEventListener("wheel", wheel, { passive: false });
  chart.scroller.addEventListener("pointerdown", down);
  window.addEventListener("pointermove", move);
  window.addEventListener("pointerup", up);
  self.stop = () => {
    window.removeEventListener("pointermove", move);
    window.removeEventListener("pointerup", up);
  };
  return self;
}
