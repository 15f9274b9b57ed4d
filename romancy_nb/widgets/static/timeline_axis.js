// module: timeline_axis
// gives: timelineSpans, timelineAxis, timelinePieces, timelineTicks, atOnce
//
// The time axis: real time, with long stretches in which nothing ran folded away; and the pieces of a bar on it. The rule is the
// one of widgets/axis.py, and a test compares the two.

const FOLD = 0.035; // the width of a fold, as a share of the axis
const SHORTEST = 2000000;
const DOMINATES = 0.5;
const MOST = 4;
const STUB = 0.03;
const VISIBLE = 0.008;
const GROUPS = new Set(["branch", "batch"]);
const AT_ONCE = new Set(["side_effect", "channel", "publish", "armed"]); // steps that take no time
const WAITS = new Set(["timer", "wait", "question"]);

const atOnce = (row) => AT_ONCE.has(row.kind);

function endOf(row, asOf) {
  if (row.finished !== null && row.finished !== undefined) return row.finished;
  if (row.status === "running" || row.status === "waiting") return asOf;
  return Math.max(row.started, ...row.attempts.map(([, started, finished]) => finished ?? started));
}

// What of *rows* decides the axis, read once for all moments until a row changes: present only matters at the open end.
function timelineSpans(rows, started) {
  const spans = { start: Infinity, end: -Infinity, open: false, running: false, gaps: [], reached: 0, empty: true };
  const busy = [];
  for (const row of rows) {
    if (row.kind === "lane" || !Number.isFinite(row.started)) continue;
    spans.empty = false;
    spans.start = Math.min(spans.start, row.started);
    const open = row.finished === null && (row.status === "running" || row.status === "waiting");
    if (open) spans.open = true;
    else spans.end = Math.max(spans.end, endOf(row, 0));
    if (GROUPS.has(row.kind)) continue;
    for (const [, began, ended, outcome] of row.attempts) {
      if (outcome === "running") busy.push([began, Infinity]);
      busy.push([began, ended ?? began]);
    }
    if (atOnce(row)) busy.push([row.started, row.started]);
  }
  if (spans.empty) [spans.start, spans.end] = [started, started + 1];
  busy.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  spans.reached = spans.start;
  for (const [a, b] of busy) {
    if (a > spans.reached) spans.gaps.push([spans.reached, a]);
    spans.reached = Math.max(spans.reached, b);
  }
  spans.gaps = spans.gaps.sort((a, b) => b[1] - b[0] - (a[1] - a[0])).slice(0, MOST);
  spans.running = spans.reached === Infinity;
  return spans;
}

function timelineAxis(spans, asOf) {
  const { start } = spans;
  const end = Math.max(spans.open ? Math.max(asOf, spans.end) : spans.end, start + 1);
  const idle = spans.reached < end ? [...spans.gaps, [spans.reached, end]] : spans.gaps;
  const folds = [];
  let left = end - start;
  for (const gap of [...idle].sort((a, b) => b[1] - b[0] - (a[1] - a[0])).slice(0, MOST)) {
    const long = gap[1] - gap[0];
    if (long < SHORTEST || long < DOMINATES * left || long >= left) break;
    folds.push(gap);
    left -= long;
  }
  folds.sort((a, b) => a[0] - b[0]);
  const scale = (1 - FOLD * folds.length) / left;
  const knots = [[start, 0]];
  let [share, time] = [0, start];
  for (const [a, b] of folds) {
    share += (a - time) * scale;
    knots.push([a, share]);
    [share, time] = [share + FOLD, b];
    knots.push([b, share]);
  }
  knots.push([end, 1]);
  return { start, end, folds, knots, scale, at: (us) => between(knots, us, 0, 1, 0, 1), time: (x) => between(knots, x, 1, 0, start, end) };
}

// Both ways between time and share: *from* and *to* say which of a knot's two numbers is which.
function between(knots, value, from, to, least, most) {
  let index = 1;
  while (index < knots.length - 1 && knots[index][from] <= value) index++;
  const [a, b] = [knots[index - 1], knots[index]];
  const span = from === 0 ? Math.max(1, b[0] - a[0]) : b[1] - a[1] || 1;
  return Math.min(most, Math.max(least, a[to] + ((b[to] - a[to]) * (value - a[from])) / span));
}

function lookOf(row, outcome) {
  if (outcome === "ok") return row.lane === "undo" || row.undoes ? "undo" : row.look === "journal" ? "journal" : "ok";
  return outcome === "abandoned" ? "unknown" : outcome;
}

// The bar of a row: [look, left, right, attempt] for each attempt and for the waiting in between, in shares of the axis.
function timelinePieces(row, axis, asOf) {
  const { at } = axis;
  if (row.kind === "lane" || !Number.isFinite(row.started)) return [];
  if (atOnce(row)) {
    const look = row.status === "failed" ? "failed" : row.look === "journal" ? "journal" : "ok";
    return [[look, at(row.started), at(row.started), 0]];
  }
  if (GROUPS.has(row.kind)) return [["group", at(row.started), at(endOf(row, asOf)), 0]];
  if (WAITS.has(row.kind)) return [["wait", at(row.started), at(endOf(row, asOf)), 0]];
  const pieces = [];
  let reached = at(row.started);
  row.attempts.forEach(([number, started, finished, outcome], index) => {
    const left = at(started);
    if (left > reached + VISIBLE) pieces.push(["wait", reached, left, 0]);
    let right;
    if (finished !== null && finished !== undefined) right = at(finished);
    else if (outcome === "running") right = at(asOf);
    else {
      // nobody knows how long it ran
      const following = index + 1 < row.attempts.length ? row.attempts[index + 1][1] : axis.end + 1;
      right = Math.min(left + STUB, following <= axis.end ? Math.max(left, at(following)) : 1);
    }
    pieces.push([lookOf(row, outcome), left, right, number]);
    reached = Math.max(reached, right);
  });
  if (row.status === "waiting") pieces.push(["wait", reached, Math.max(reached, at(asOf)), 0]);
  return pieces;
}

// -- ticks -------------------------------------------------------------------------------------------------------------------

const STEPS = [1, 2, 5].flatMap((n) => [1, 10, 100].map((ten) => n * ten * 1000)).sort((a, b) => a - b)
  .concat([1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2592000].map((s) => s * 1e6));
const APART = 84; // pixels that a label needs

// [share, words] of the ticks between *lo* and *hi*, on *width* pixels. What is near the run's start counts from it; what is
// far away, behind a fold, has the clock's time.
function timelineTicks(axis, started, lo, hi, width) {
  const step = STEPS.find((us) => ((us * axis.scale) / (hi - lo)) * width >= APART) ?? 31536000e6;
  const ticks = [];
  for (let index = 0; index + 1 < axis.knots.length; index++) {
    const [[a, xa], [b, xb]] = [axis.knots[index], axis.knots[index + 1]];
    if (axis.folds.some(([from]) => from === a) || xb < lo || xa > hi) continue;
    const near = started <= b && a - started < 600e6 && !ticks.length && step < 60e6;
    const zero = near ? started : -new Date(a / 1000).getTimezoneOffset() * -6e7;
    const from = Math.max(a, axis.time(Math.max(lo, xa)));
    const to = Math.min(b, axis.time(Math.min(hi, xb)));
    for (let us = zero + Math.ceil((from - zero - 1) / step) * step; us <= to + 1; us += step) {
      const share = axis.at(us);
      const last = ticks.at(-1);
      if (last && ((share - last[0]) / (hi - lo)) * width < APART * 0.75) continue;
      ticks.push([share, near ? offset(us - started, step) : clock(us, step)]);
      if (ticks.length > 60) return ticks;
    }
  }
  return ticks;
}

function offset(us, step) {
  if (Math.abs(us) < 1) return "0";
  const [sign, size] = [us < 0 ? "−" : "", Math.abs(us)];
  if (step < 1e6 && size < 1e6) return `${sign}${Math.round(size / 1000)} ms`;
  if (size < 60e6) return `${sign}${Number((size / 1e6).toFixed(3))} s`;
  const minutes = Math.floor(size / 60e6);
  const rest = Number(((size - minutes * 60e6) / 1e6).toFixed(3));
  return `${sign}${minutes} min${rest ? ` ${rest} s` : ""}`;
}

function clock(us, step) {
  const then = new Date(us / 1000);
  if (step >= 86400e6 || (then.getHours() === 0 && then.getMinutes() === 0 && step >= 3600e6))
    return then.toLocaleDateString([], { day: "numeric", month: "short" });
  const shape = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (step < 60e6) shape.second = "2-digit";
  if (step < 1e6) shape.fractionalSecondDigits = 3;
  return then.toLocaleTimeString([], shape);
}
