// module: instances
// gives: instances
//
// All instances at a glance: a table of which the page holds only the rows that are seen, and of which the kernel is asked page by
// page. Rows are of one height; one instance is open at a time, its timeline in place under its row.

const PAGE = 60;
const AHEAD = 8; // rows beyond the edge that are drawn, so that scrolling shows no gaps
const TIMES = [["", "any time"], ["1h", "last hour"], ["24h", "last 24 hours"], ["7d", "last 7 days"], ["30d", "last 30 days"], ["from", "between …"]];
const COLUMNS = [
  ["status", "State"],
  ["id", "Instance"],
  ["workflow", "Workflow"],
  ["run", "Run"],
  ["updated", "Last event"],
  ["duration", "Took"],
  ["", "Steps"],
  ["", "What"],
];
const SAID = { ok: "executed", journal: "from journal", in_doubt: "may have run", wait: "waited", undo: "undone" };
const GOES_ON = ["running", "waiting", "compensating"];

function instancesAge(us) {
  const seconds = Math.floor(Math.abs(Date.now() - us / 1000) / 1000);
  if (seconds < 5) return "just now";
  const text = seconds < 60 ? `${seconds} s` : seconds < 3600 ? `${Math.floor(seconds / 60)} min`
    : seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} days`;
  return us / 1000 > Date.now() ? `in ${text}` : `${text} ago`;
}

const instancesMoment = (us) => new Date(us / 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
const instancesFile = (path) => path.split(/[\\/]/).pop();

// The rows that are known: pages of them under one filter and one order. What is stale is shown until it is read again.
class InstancesRows {
  constructor(link, view, told) {
    Object.assign(this, { link, told, filter: {}, sort: "", generation: 0, failed: "" });
    this.take(view, true);
  }

  take(found, anew) {
    if (anew) {
      this.pages = new Map();
      this.asked = new Set();
      this.old = new Set();
    }
    Object.assign(this, { total: found.total, counts: found.counts, stamp: found.stamp });
    const page = Math.floor((found.offset ?? 0) / PAGE);
    this.pages.set(page, found.rows);
    this.old.delete(page);
  }

  row(index) {
    return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  }

  choose(filter, sort) {
    Object.assign(this, { filter, sort });
    this.generation += 1;
    this.asked = new Set();
    return this.read(0, true);
  }

  stale() {
    for (const page of this.pages.keys()) this.old.add(page);
  }

  // Have the rows from first to last, as far as they are not there. Two pages are under way at most: whoever scrolls quickly wants
  // those where they stop, and is told of the others by nobody.
  need(first, last) {
    for (let page = Math.max(0, Math.floor(first / PAGE)); page * PAGE <= last && page * PAGE < Math.max(1, this.total); page++) {
      if (this.asked.size >= 2 && !this.failed) return;
      if (!this.asked.has(page) && (!this.pages.has(page) || this.old.has(page))) this.read(page, false);
    }
  }

  async read(page, anew) {
    const generation = this.generation;
    this.asked.add(page);
    try {
      const found = await this.link.ask("rows", { offset: page * PAGE, limit: PAGE, filter: this.filter, sort: this.sort });
      if (generation !== this.generation) return;
      this.asked.delete(page);
      this.failed = "";
      if (found.stamp !== this.stamp && !anew) this.stale();
      this.take(found, anew);
    } catch (error) {
      if (generation !== this.generation) return;
      this.failed = error.message; // it stays among those that were asked for: nothing is asked in a circle
    }
    this.told();
  }
}

class InstancesTable {
  constructor(root, view, link) {
    Object.assign(this, { root, view, link, active: 0, open: null, slots: new Map(), name: fresh("instances") });
    this.filter = { status: [], workflow: [], since: "", until: "", text: "" };
    this.sort = "";
    this.rows = new InstancesRows(link, view, () => this.draw());
    this.build();
    this.sizes = new ResizeObserver(() => this.measure());
    this.sizes.observe(this.box);
    this.ticks = setInterval(() => this.draw(), 10000); // "3 min ago" goes on
    this.draw();
  }

  destroy() {
    clearInterval(this.ticks);
    clearTimeout(this.typing);
    this.sizes.disconnect();
    this.close();
    this.root.replaceChildren();
  }

  whole(view) {
    this.view = view;
    this.rows.stale();
    this.draw();
  }

  update() {
    this.rows.asked.clear();
    this.rows.stale();
    this.draw();
  }

  // -- what stands still ------------------------------------------------------------------------------------------

  build() {
    this.said = make("span", { class: "rn-count", role: "status" });
    this.search = make("input", {
      type: "search", class: "rn-search", placeholder: "Search id, workflow, inputs, errors", "aria-label": "Search instances",
      on: { input: () => this.typed() },
    });
    this.flows = make("select", { "aria-label": "Workflow", on: { change: () => this.chose({ workflow: this.flows.value ? [this.flows.value] : [] }) } });
    this.times = make("select", { "aria-label": "Time of the last event", on: { change: () => this.timed() } },
      ...TIMES.map(([value, text]) => make("option", { value, text })));
    const edge = (label) => make("input", { type: "datetime-local", "aria-label": label, on: { change: () => this.timed() } });
    this.since = edge("Not before");
    this.until = edge("Before");
    this.between = make("span", { class: "rn-between", hidden: true }, this.since, " – ", this.until);
    this.chips = make("div", { class: "rn-chips", role: "group", "aria-label": "States" });
    this.inner = make("div", { class: "rn-inner", role: "rowgroup" });
    this.detail = make("div", { class: "rn-opened", hidden: true });
    this.inner.append(this.detail);
    this.heads = COLUMNS.map(([sort, text]) => make("div", { role: "columnheader", class: `rn-c-${text.toLowerCase().replace(" ", "-")}` },
      sort ? make("button", { type: "button", class: "rn-sort", text, on: { click: () => this.order(sort) } }) : make("span", { text })));
    this.head = make("div", { class: "rn-irow rn-ihead", role: "row", "aria-rowindex": "1" }, ...this.heads);
    this.scroller = make("div", {
      class: "rn-scroller", role: "treegrid", tabindex: "0", "aria-label": "Instances", "aria-colcount": String(COLUMNS.length),
      on: { scroll: () => this.soon(), keydown: (event) => this.pressed(event) },
    }, make("div", { role: "rowgroup", class: "rn-sticky" }, this.head), this.inner);
    this.box = make("div", { class: "rn-instances" },
      make("div", { class: "rn-tools" }, this.search, this.flows, this.times, this.between, this.said), this.chips, this.scroller);
    this.root.replaceChildren(this.box);
    sealed(this.box);
    shade(this.box);
  }

  typed() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.chose({ text: this.search.value.trim() }), 200);
  }

  timed() {
    const custom = this.times.value === "from";
    this.between.hidden = !custom;
    const at = (field) => (custom && field.value ? new Date(field.value).getTime() * 1000 : "");
    this.chose({ since: custom ? at(this.since) : this.times.value, until: at(this.until) });
  }

  chose(part) {
    this.filter = { ...this.filter, ...part };
    this.again();
  }

  order(name) {
    const down = name === "updated" || name === "duration" || name === "run" ? `-${name}` : name;
    const turned = down.startsWith("-") ? name : `-${name}`;
    this.sort = this.sort === down ? turned : this.sort === turned ? "" : down;
    this.again();
  }

  again() {
    this.close();
    this.active = 0;
    this.scroller.scrollTop = 0;
    this.rows.choose(this.filter, this.sort);
    this.drawHeads();
  }

  drawHeads() {
    COLUMNS.forEach(([name], i) => {
      const sorted = name && this.sort.replace("-", "") === name;
      if (sorted) this.heads[i].setAttribute("aria-sort", this.sort.startsWith("-") ? "descending" : "ascending");
      else this.heads[i].removeAttribute("aria-sort");
    });
  }

  drawTools() {
    const { counts, total, failed } = this.rows;
    const all = Object.values(counts.states).reduce((sum, each) => sum + each, 0);
    this.said.textContent = failed || (all === total ? `${total.toLocaleString()} instances` : `${total.toLocaleString()} of ${all.toLocaleString()}`);
    const states = Object.keys(this.view.states).filter((name) => counts.states[name] || this.filter.status.includes(name));
    const shape = JSON.stringify([states.map((name) => counts.states[name]), states, this.filter.status]);
    if (shape !== this.chipped) {
      this.chipped = shape;
      const focused = this.chips.contains(document.activeElement) ? document.activeElement.dataset.state : null;
      this.chips.replaceChildren(...states.map((name) => this.chip(name, counts.states[name] ?? 0)));
      if (focused) this.chips.querySelector(`[data-state="${focused}"]`)?.focus();
    }
    const flows = [...new Set([...Object.keys(counts.workflows), ...this.filter.workflow])].sort();
    const listed = JSON.stringify(flows.map((name) => [name, counts.workflows[name]]));
    if (listed !== this.flowed) {
      this.flowed = listed;
      this.flows.replaceChildren(make("option", { value: "", text: "all workflows" }),
        ...flows.map((name) => make("option", { value: name, text: `${name} (${(counts.workflows[name] ?? 0).toLocaleString()})` })));
      this.flows.value = this.filter.workflow[0] ?? "";
    }
  }

  chip(name, number) {
    const [mark, said] = this.view.states[name];
    const on = this.filter.status.includes(name);
    const status = on ? this.filter.status.filter((each) => each !== name) : [...this.filter.status, name];
    return make("button", { type: "button", class: "rn-chip", "data-state": name, "aria-pressed": String(on), on: { click: () => this.chose({ status }) } },
      make("span", { class: "rn-mark", "aria-hidden": "true", text: mark }), ` ${said} `, make("b", { text: number.toLocaleString() }));
  }

  // -- where what stands ------------------------------------------------------------------------------------------

  measure() {
    const high = this.box.clientWidth < 640 ? 54 : 32;
    const wide = this.box.clientWidth;
    if (high === this.high && wide === this.wide && this.detail.offsetHeight === this.room) return;
    this.high = high;
    this.wide = wide;
    this.box.dataset.narrow = String(high !== 32);
    this.draw();
  }

  // Headings of groups are rows, too: [group, index of the heading among all that stands here].
  headings() {
    const groups = [0, 1, 2].map((group) => this.rows.counts.groups[group] ?? 0);
    if (this.sort || groups.filter((each) => each > 0).length < 2) return [];
    let reached = 0;
    const found = [];
    groups.forEach((many, group) => {
      if (many) {
        found.push({ group, many, at: reached + found.length, before: found.length + 1 });
        reached += many;
      }
    });
    return found;
  }

  place(index, headings) {
    let place = index;
    for (const each of headings) if (place >= each.at) place += 1;
    return place;
  }

  top(place) {
    const below = this.open !== null && place > this.open.place ? this.room ?? 0 : 0;
    return place * this.high + below;
  }

  soon() {
    if (this.frame === undefined) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = undefined;
    if (this.high === undefined) return;
    this.drawTools();
    const headings = this.headings();
    const all = this.rows.total + headings.length;
    this.follow(headings);
    this.room = this.open === null ? 0 : this.detail.offsetHeight;
    this.inner.style.height = `${Math.max(all * this.high + this.room, 60)}px`;
    this.scroller.setAttribute("aria-rowcount", String(this.rows.total + 1));
    const from = this.scroller.scrollTop, to = from + this.scroller.clientHeight;
    const first = Math.max(0, Math.floor((from - this.room) / this.high) - AHEAD), last = Math.min(all - 1, Math.ceil(to / this.high) + AHEAD);
    const wanted = new Map();
    const at = new Map(headings.map((each) => [each.at, each]));
    let index = Math.max(0, first - headings.filter((each) => each.at < first).length);
    const begin = index;
    for (let place = first; place <= last; place++) {
      const heading = at.get(place);
      if (heading) wanted.set(`group ${heading.group}`, { place, heading });
      else wanted.set(`row ${index}`, { place, index: index++ });
    }
    this.rows.need(begin, Math.max(begin, index - 1));
    for (const [key, slot] of this.slots) if (!wanted.has(key)) { slot.node.remove(); this.slots.delete(key); }
    for (const [key, each] of wanted) this.slot(key, each);
    if (this.open !== null) this.detail.style.transform = `translateY(${(this.open.place + 1) * this.high}px)`;
    this.point();
  }

  slot(key, { place, index, heading }) {
    const row = heading ? null : this.rows.row(index);
    const shape = heading ? `${heading.group} ${heading.many}` : row ? JSON.stringify(row) + instancesAge(row.updated) + (this.open?.id === row.id) : "";
    let slot = this.slots.get(key);
    if (slot === undefined) {
      slot = { node: make("div", {}), shape: null };
      this.slots.set(key, slot);
      this.inner.append(slot.node);
    }
    const top = `translateY(${this.top(place)}px)`;
    if (slot.node.style.transform !== top) slot.node.style.transform = top;
    if (slot.shape === shape) return;
    slot.shape = shape;
    const made = heading ? this.heading(heading) : this.row(index, row);
    made.style.transform = top;
    slot.node.replaceWith(made);
    slot.node = made;
  }

  heading({ group, many }) {
    return make("div", { class: "rn-igroup", role: "row" },
      make("div", { role: "rowheader", "aria-colspan": String(COLUMNS.length) }, make("strong", { text: this.view.groups[group] }), ` ${many.toLocaleString()}`));
  }

  row(index, row) {
    const made = make("div", {
      class: "rn-irow", role: "row", id: `${this.name}-${index}`, "aria-rowindex": String(index + 2),
      on: { click: () => { if (!getSelection()?.toString()) this.chosen(index); } },
    });
    if (!row) {
      made.append(make("div", { role: "gridcell", class: "rn-faint", text: "…" }));
      return made;
    }
    const [mark, said] = this.view.states[row.state] ?? ["•", row.state.replaceAll("_", " ")];
    const end = row.finished ?? (GOES_ON.includes(row.status) ? Date.now() * 1000 : null);
    const due = row.due ? `waits until ${instancesMoment(row.due)}` : "";
    const what = [row.says || due, row.problem, row.parent ? `child of ${row.parent}` : ""].filter(Boolean).join(" · ");
    const cells = [
      make("div", { role: "gridcell", class: "rn-c-state" },
        make("span", { class: "rn-badge", "data-state": row.state }, make("span", { class: "rn-mark", "aria-hidden": "true", text: mark }), ` ${said}`)),
      make("div", { role: "gridcell", class: "rn-c-instance", title: `${row.id}${row.notebook ? `\n${row.notebook}` : ""}` },
        make("strong", { text: row.id }), row.notebook ? make("span", { class: "rn-faint", text: ` ${instancesFile(row.notebook)}` }) : null),
      make("div", { role: "gridcell", class: "rn-c-workflow", title: row.workflow, text: row.workflow }),
      make("div", { role: "gridcell", class: "rn-c-run", text: String(row.run) }),
      make("div", { role: "gridcell", class: "rn-c-last-event", title: instancesMoment(row.updated), text: instancesAge(row.updated) }),
      make("div", { role: "gridcell", class: "rn-c-took", text: end === null ? "" : duration(end - row.started) }),
      make("div", { role: "gridcell", class: "rn-c-steps" }, this.bars(row.bars)),
      make("div", { role: "gridcell", class: "rn-c-what", title: what, text: what }),
    ];
    made.dataset.id = row.id;
    made.setAttribute("aria-expanded", String(this.open?.id === row.id));
    made.append(...cells);
    return made;
  }

  bars(pieces) {
    if (!pieces.length) return null;
    const counts = new Map();
    for (const [look] of pieces) counts.set(look, (counts.get(look) ?? 0) + 1);
    const told = [...counts].map(([look, many]) => `${many} ${SAID[look] ?? look}`).join(", ");
    const made = make("div", { class: "rn-bars", role: "img", "aria-label": told, title: told });
    for (const [look, share] of pieces) {
      const piece = make("span", { "data-look": look });
      piece.style.flexGrow = String(Math.max(0.01, share));
      made.append(piece);
    }
    return made;
  }

  // -- keys and opening -------------------------------------------------------------------------------------------

  pressed(event) {
    if (event.target !== this.scroller || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.high) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps) this.go(this.active + steps[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.chosen(this.active);
    else if (event.key === "Escape") this.close(true);
    else return;
    event.preventDefault();
  }

  go(index) {
    this.active = Math.min(this.rows.total - 1, Math.max(0, index));
    const top = this.top(this.place(this.active, this.headings()));
    const { scrollTop, clientHeight } = this.scroller;
    const head = this.head.offsetHeight;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + this.high + head > scrollTop + clientHeight) this.scroller.scrollTop = top + this.high + head - clientHeight;
    this.draw();
  }

  point() {
    for (const [key, slot] of this.slots) slot.node.classList.toggle("rn-active", key === `row ${this.active}`);
    const there = this.slots.has(`row ${this.active}`);
    if (there) this.scroller.setAttribute("aria-activedescendant", `${this.name}-${this.active}`);
    else this.scroller.removeAttribute("aria-activedescendant");
  }

  async chosen(index) {
    const row = this.rows.row(index);
    this.active = index;
    if (!row) return this.point();
    if (this.open?.id === row.id) return this.close(true);
    this.close();
    const open = { id: row.id, index, place: this.place(index, this.headings()), out: null };
    this.open = open;
    const shut = make("button", { type: "button", class: "rn-shut", "aria-label": `Close ${row.id}`, text: "✕", on: { click: () => this.close(true) } });
    const inside = make("div", { class: "rn-inside", text: "…" });
    this.detail.replaceChildren(shut, inside);
    this.detail.setAttribute("role", "region");
    this.detail.setAttribute("aria-label", `Timeline of ${row.id}`);
    this.detail.hidden = false;
    this.sizes.observe(this.detail);
    this.draw();
    try {
      const { anchor } = await this.link.ask("open", { id: row.id });
      if (this.open !== open) return undefined;
      inside.replaceChildren();
      open.out = this.link.mount(inside, anchor);
    } catch (error) {
      inside.textContent = error.message;
    }
    return undefined;
  }

  // The open instance may stand elsewhere now; where nobody knows, it stays where it was.
  follow(headings) {
    if (this.open === null) return;
    for (const [page, rows] of this.rows.pages) {
      const at = rows.findIndex((row) => row.id === this.open.id);
      if (at >= 0) this.open.index = page * PAGE + at;
    }
    this.open.place = this.place(Math.min(this.open.index, Math.max(0, this.rows.total - 1)), headings);
  }

  close(focus = false) {
    if (this.open === null) return;
    this.open.out?.();
    this.sizes.unobserve(this.detail);
    this.open = null;
    this.detail.hidden = true;
    this.detail.replaceChildren();
    if (focus) this.scroller.focus();
    this.draw();
  }
}

function instances(root, view, link) {
  const table = new InstancesTable(root, view, link);
  return { update: () => table.update(), whole: (next) => table.whole(next), destroy: () => table.destroy() };
}
kinds.instances = instances;
