// module: compare
// gives: Compared
//
// Two runs side by side on one axis of time: each step has two lanes, one above the other, and a word for what differs. Rows have one
// height, so that of ten thousand only those in sight are drawn. What a step was given and came to is asked for when it is clicked.

const C_ROW = 38; // px, also in compare.css
const C_SPARE = 8;
const C_MARKS = { same: "=", changed: "≠", here: "◧", there: "◨" };
const C_LOOKS = { ok: "executed", journal: "from journal", failed: "failed", running: "running", unknown: "may have run",
  cancelled: "cancelled", wait: "waiting", undo: "undoes", waiting: "waiting", in_doubt: "may have run" };

function summed(side) {
  const cost = side.cost ? `, ${side.cost}` : "";
  return `${side.words}, took ${side.took}, ${plural(side.steps, "step", "steps")}${cost}`;
}

class Compared {
  constructor(root, view, link) {
    Object.assign(this, { root, link, differing: false, wanted: "", chosen: null, asked: 0 });
    root.classList.add("rn-compare");
    sealed(root);
    shade(root);
    this.head = make("div", { class: "rn-c-head" });
    this.only = make("input", { type: "checkbox", on: { change: () => this.filter() } });
    this.search = make("input", { type: "search", class: "rn-c-search", placeholder: "Find a step", "aria-label": "Find a step",
      on: { input: () => this.filter() } });
    this.counted = make("span", { class: "rn-c-counted", "aria-live": "polite" });
    const bar = make("div", { class: "rn-c-bar" },
      make("label", {}, this.only, make("span", { text: " only what differs" })), this.search, this.counted);
    this.ruler = make("div", { class: "rn-c-ruler", "aria-hidden": "true" });
    this.space = make("div", { class: "rn-c-space" });
    this.list = make("div", { class: "rn-c-list", tabindex: "0", role: "listbox", "aria-label": "Steps of both",
      on: { scroll: () => this.draw(), keydown: (event) => this.key(event) } }, this.space);
    this.panel = make("div", { class: "rn-c-details", hidden: true });
    root.append(this.head, bar, this.ruler, this.list, this.panel);
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.list);
    this.whole(view);
  }

  whole(view) {
    this.view = view;
    const [here, there] = view.sides;
    const sides = [here, there].map((side) => make("div", { class: "rn-c-side" },
      make("strong", { text: side.title }), make("span", { text: summed(side) }),
      side.output && side.output !== "None" ? make("code", { text: side.output }) : null));
    this.head.replaceChildren(make("div", {}, make("strong", { class: "rn-c-name", text: view.workflow }),
      make("span", { class: "rn-c-summary", text: view.summary })), ...sides);
    this.ruler.replaceChildren(make("span", { text: `${here.title} above ${there.title}` }),
      make("span", { class: "rn-c-length", text: view.length }));
    this.filter();
  }

  filter() {
    this.differing = this.only.checked;
    this.wanted = this.search.value.trim().toLowerCase();
    this.rows = this.view.rows.filter((row) => (!this.differing || row.verdict !== "same")
      && (!this.wanted || row.name.toLowerCase().includes(this.wanted) || row.note.toLowerCase().includes(this.wanted)));
    const all = this.view.rows.length;
    this.counted.textContent = this.rows.length === all ? `${all} steps` : `${this.rows.length} of ${all} steps`;
    this.list.style.height = `${Math.min(12, Math.max(1, this.rows.length)) * C_ROW + 2}px`;
    this.space.style.height = `${this.rows.length * C_ROW}px`;
    this.list.scrollTop = Math.min(this.list.scrollTop, this.rows.length * C_ROW);
    this.draw(true);
  }

  draw(anew = false) {
    const first = Math.max(0, Math.floor(this.list.scrollTop / C_ROW) - C_SPARE);
    const last = Math.min(this.rows.length, Math.ceil((this.list.scrollTop + this.list.clientHeight) / C_ROW) + C_SPARE);
    if (!anew && this.first === first && this.last === last) return;
    [this.first, this.last] = [first, last];
    this.space.replaceChildren(...this.rows.slice(first, last).map((row, index) => this.row(row, first + index)));
    const chosen = this.space.querySelector('[aria-selected="true"]');
    if (chosen) this.list.setAttribute("aria-activedescendant", chosen.id);
    else this.list.removeAttribute("aria-activedescendant");
  }

  row(row, index) {
    const [one, other] = this.view.sides;
    const only = { here: `only ${one.title}`, there: `only ${other.title}`, same: "same", changed: "changed" }[row.verdict];
    const times = row.sides.map((side) => make("span", { text: side?.took ?? "" }));
    const node = make("div", { class: `rn-c-row rn-c-${row.verdict}`, role: "option", id: `${this.id()}-${index}`,
      "aria-selected": String(row.id === this.chosen), "aria-label": `${row.name}: ${row.note || only}`, title: row.note || only,
      on: { click: () => this.choose(index) } },
      make("span", { class: "rn-c-step" }, make("span", { class: "rn-c-mark", "aria-hidden": "true", text: C_MARKS[row.verdict] }),
        make("span", { text: row.name })),
      make("span", { class: "rn-c-lanes" }, ...row.sides.map((side) => this.lane(side))),
      make("span", { class: "rn-c-took" }, ...times), make("span", { class: "rn-c-note", text: row.note }));
    node.style.top = `${index * C_ROW}px`;
    node.firstChild.style.paddingLeft = `${Math.min(row.depth, 6) * 12}px`;
    return node;
  }

  id() {
    this.named ??= `rn-c-${Math.random().toString(36).slice(2, 9)}`;
    return this.named;
  }

  lane(side) {
    const lane = make("span", { class: "rn-c-lane" });
    for (const [left, right] of this.view.folds) {
      const fold = make("span", { class: "rn-c-fold" });
      Object.assign(fold.style, { left: `${left * 100}%`, width: `${(right - left) * 100}%` });
      lane.append(fold);
    }
    for (const [look, left, right] of side?.bar ?? []) {
      const piece = make("span", { class: `rn-c-piece rn-c-look-${look}`, title: C_LOOKS[look] ?? look });
      const wide = Math.max(0.4, (right - left) * 100);
      Object.assign(piece.style, { left: `${Math.min(left * 100, 100 - wide)}%`, width: `${wide}%` });
      lane.append(piece);
    }
    return lane;
  }

  key(event) {
    const now = this.rows.findIndex((row) => row.id === this.chosen);
    const to = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: this.rows.length - 1, PageDown: now + 10, PageUp: now - 10 }[event.key];
    if (to === undefined || this.rows.length === 0) return;
    event.preventDefault();
    this.choose(Math.min(this.rows.length - 1, Math.max(0, to)));
  }

  async choose(index) {
    const row = this.rows[index];
    this.chosen = row.id;
    const top = index * C_ROW;
    if (top < this.list.scrollTop) this.list.scrollTop = top;
    else if (top + C_ROW > this.list.scrollTop + this.list.clientHeight) this.list.scrollTop = top + C_ROW - this.list.clientHeight;
    this.draw(true);
    const asked = ++this.asked;
    let found;
    try {
      found = await this.link.ask("details", { id: row.id });
    } catch (error) {
      found = { said: error.message, sides: [] };
    }
    if (asked === this.asked) this.show(row, found);
  }

  show(row, found) {
    const sides = found.sides.map((side, index) => this.side(this.view.sides[index].title, side, found.what));
    const said = found.said ? make("div", { role: "alert", text: found.said }) : null;
    const close = make("button", { type: "button", class: "rn-c-close", text: "Close", on: { click: () => this.shut() } });
    this.panel.replaceChildren(make("div", { class: "rn-c-title" }, make("strong", { text: row.name }),
      make("span", { text: row.note }), close), make("div", { class: "rn-c-both" }, said, ...sides));
    this.panel.hidden = false;
  }

  side(title, side, what) {
    if (!side) return make("div", { class: "rn-c-facts" }, make("em", { text: title }), make("div", { text: "does not have this step" }));
    const facts = [["input", side.input, "input"], ["result", side.output, "output"], ["error", side.error, "error"]]
      .filter(([, content]) => content)
      .map(([label, content, name]) => make("div", { class: what.includes(name) ? "rn-c-differs" : "" },
        make("span", { class: "rn-c-label", text: label }), make("code", { text: content })));
    const attempts = side.attempts > 1 ? `, ${side.attempts} attempts` : "";
    return make("div", { class: "rn-c-facts" }, make("em", { text: title }),
      make("div", { text: `step ${side.seq}, ${side.status.replace("_", " ")}${attempts}${side.cost ? `, ${side.cost}` : ""}` }), ...facts);
  }

  shut() {
    this.asked += 1;
    this.chosen = null;
    this.panel.hidden = true;
    this.draw(true);
    this.list.focus({ preventScroll: true });
  }
}

kinds.compare = (root, view, link) => {
  const drawn = new Compared(root, view, link);
  return { update: () => {}, whole: (next) => drawn.whole(next), destroy: () => drawn.resized.disconnect() };
};
