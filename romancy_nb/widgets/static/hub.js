// module: hub
//
// The living displays of a page. What a notebook keeps of a display is static HTML whose outermost element names what it shows
// (`data-romancy-live`). Where a kernel knows that, it sends the whole view and then what changes, and the display is drawn inside
// of that element, in the place of the static form, which comes back when the kernel goes.
//
// Stands last in its module; `kinds` and `make` come from dom.js.

const GRACE = 1500; // ms for an output that is drawn again; what is away for longer is closed
const BEAT = 45000; // ms between two signs that this page still looks
const AGAIN = 500; // ms until an anchor is asked for once more, at first
const MARK = "data-romancy-live";
const brought = new Map(); // kind of display -> promise of its styles, where what draws it did not come with this module

function applied(view, delta) {
  const next = { ...view, ...(delta.set ?? {}) };
  const changed = delta.rows ?? {};
  const touched = Object.keys(changed).length || delta.order || delta.append?.length || delta.gone?.length;
  if (!touched || !Array.isArray(view.rows)) return next;
  const rows = new Map(view.rows.map((row) => [row.id, row]));
  for (const id of delta.gone ?? []) rows.delete(id);
  for (const [id, row] of Object.entries(changed)) rows.set(id, row);
  next.rows = (delta.order ?? [...rows.keys()]).map((id) => rows.get(id)).filter(Boolean);
  return next;
}

// Get what draws a kind of display from the kernel, once for a page: most pages need no more than timelines.
function bring(what, ask) {
  if (!brought.has(what)) {
    const coming = ask("module").then(async ({ text, styles }) => {
      const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
      try {
        Object.assign(kinds, (await import(/* webpackIgnore: true */ url)).default);
      } finally {
        URL.revokeObjectURL(url);
      }
      return styles;
    });
    coming.catch(() => brought.delete(what)); // the next display of the kind asks again
    brought.set(what, coming);
  }
  return brought.get(what);
}

// Have the styles of a kind where an element stands: in the page, or in the shadow tree in which some frontends show widgets.
function dress(element, what, styles) {
  const home = element.getRootNode();
  const place = home.head ?? home;
  if (!place.querySelector(`style[data-romancy="${what}"]`)) place.append(make("style", { "data-romancy": what, text: styles }));
}

// One shown place of an anchor: the element of the page, what stood there, and what is drawn there now.
class Shown {
  constructor(element, what, view, link) {
    this.root = make("div", { class: "rn-live" });
    this.still = [];
    this.element = null;
    this.move(element);
    this.drawn = kinds[what](this.root, view, link);
  }

  move(element) {
    this.restore();
    this.element = element;
    this.still = [...element.childNodes];
    element.replaceChildren(this.root);
    element.romancyShown = this;
  }

  // Leave the static form as it was before.
  restore() {
    if (this.element === null) return;
    if (this.element.romancyShown === this) {
      this.element.romancyShown = undefined;
      this.element.replaceChildren(...this.still);
    }
    this.element = null;
  }

  get present() {
    return this.element !== null && this.element.isConnected && this.element.contains(this.root);
  }

  destroy() {
    try {
      this.drawn.destroy();
    } finally {
      this.restore();
    }
  }
}

class Hub {
  constructor(model) {
    this.model = model;
    this.anchors = new Map(); // anchor -> { what, view, n, shown: [], waiting: Set of elements, fresh }
    this.asked = new Map(); // number -> [resolve, reject]
    this.numbers = 0;
    this.over = false;
    this.page = Math.random().toString(36).slice(2, 10);
    this.heard = (message) => this.hear(message);
    this.left = () => this.end();
    model.on("msg:custom", this.heard);
    model.on("comm_live_update", this.left);
    this.away = () => {
      for (const anchor of this.anchors.keys()) this.send({ kind: "close", anchor });
    };
    window.addEventListener("pagehide", this.away);
    this.beat = setInterval(() => this.here(), BEAT);
  }

  // Look for elements to bring to life, now and from now on.
  watch() {
    this.observer = new MutationObserver((changes) => this.changed(changes));
    this.observer.observe(document.body, { childList: true, subtree: true });
    this.scan(document.body);
  }

  scan(node) {
    if (node.nodeType !== Node.ELEMENT_NODE) return;
    if (node.hasAttribute(MARK)) this.found(node);
    for (const element of node.querySelectorAll(`[${MARK}]`)) this.found(element);
  }

  changed(changes) {
    let lost = false;
    for (const change of changes) {
      if (change.target.closest?.(".rn-live")) continue; // what is drawn by ourselves
      for (const node of change.addedNodes) this.scan(node);
      lost = lost || change.removedNodes.length > 0;
    }
    if (lost && this.sweeping === undefined) this.sweeping = setTimeout(() => this.sweep(), GRACE);
  }

  found(element) {
    const anchor = element.getAttribute(MARK);
    if (this.over || !anchor || element.romancyShown) return;
    const known = this.anchors.get(anchor);
    if (known === undefined) {
      this.anchors.set(anchor, { what: "", view: null, n: -1, shown: [], waiting: new Set([element]), fresh: false });
      this.knock(anchor, this.anchors.get(anchor), AGAIN);
    } else if (known.view === null || !known.fresh) {
      known.waiting.add(element);
      if (known.view !== null || known.unknown) this.send({ kind: "open", anchor });
    } else this.show(anchor, known, element);
  }

  // Ask for an anchor until there is an answer: what is asked before the frontend has made the kernel's second door (a subshell)
  // stands behind the cell that runs.
  knock(anchor, known, after) {
    if (this.over || this.anchors.get(anchor) !== known || known.view !== null || known.unknown) return;
    this.send({ kind: "open", anchor });
    if (after < 60 * AGAIN) setTimeout(() => this.knock(anchor, known, after * 2), after);
  }

  show(anchor, known, element) {
    if (element.romancyShown) return; // another kernel of this page was first
    const away = known.shown.find((each) => !each.present);
    if (away) away.move(element);
    else if (kinds[known.what] === undefined || brought.has(known.what)) this.dressed(anchor, known, element);
    else this.draw(anchor, known, element);
  }

  async dressed(anchor, known, element) {
    try {
      const { what } = known;
      const styles = await bring(what, (asked) => this.ask(anchor, asked, {}));
      if (this.over || this.anchors.get(anchor) !== known || !element.isConnected || element.romancyShown) return;
      dress(element, what, styles);
      this.draw(anchor, known, element);
    } catch (error) {
      console.warn("romancy: the display stays as it is:", error);
    }
  }

  draw(anchor, known, element) {
    if (known.view === null) return;
    try {
      known.shown.push(new Shown(element, known.what, known.view, this.link(anchor)));
    } catch (error) {
      console.warn("romancy: the display stays as it is:", error);
      element.romancyShown?.restore();
    }
  }

  // Forget what is no longer in the page.
  sweep() {
    this.sweeping = undefined;
    for (const [anchor, known] of this.anchors) {
      for (const each of known.shown.filter((each) => !each.present)) each.destroy();
      known.shown = known.shown.filter((each) => each.element !== null);
      for (const element of known.waiting) if (!element.isConnected) known.waiting.delete(element);
      if (known.shown.length === 0 && known.waiting.size === 0) {
        this.anchors.delete(anchor);
        if (!known.unknown) this.send({ kind: "close", anchor });
      }
    }
  }

  here() {
    const anchors = [...this.anchors].filter(([, known]) => known.fresh).map(([anchor]) => anchor);
    if (anchors.length) this.send({ kind: "here", anchors });
  }

  send(message) {
    if (this.over) return;
    try {
      this.model.send({ ...message, page: this.page });
    } catch {
      this.end(); // the notebook was closed, and this page lives on with others: nobody told us
    }
  }

  link(anchor) {
    return {
      anchor,
      ask: (what, more = {}) => this.ask(anchor, what, more),
      mount: (node, inner) => this.mount(node, inner),
    };
  }

  // Show another anchor inside of what is drawn here; returns what takes it out again.
  mount(node, inner) {
    const place = make("div", { class: "rn-place", [MARK]: inner });
    node.append(place);
    this.found(place);
    return () => {
      place.remove();
      if (this.sweeping === undefined) this.sweeping = setTimeout(() => this.sweep(), GRACE);
    };
  }

  ask(anchor, what, more) {
    const number = `${this.page}:${++this.numbers}`;
    return new Promise((resolve, reject) => {
      this.asked.set(number, [resolve, reject]);
      this.send({ kind: "ask", anchor, number, what, given: more });
      if (this.over && this.asked.has(number)) this.failed(number, "The kernel has gone.");
    });
  }

  failed(number, said, problems = []) {
    const [, reject] = this.asked.get(number);
    this.asked.delete(number);
    reject(Object.assign(new Error(said), { problems }));
  }

  hear(message) {
    if (this.over || message === null || typeof message !== "object") return;
    if (message.kind === "reply") this.reply(message);
    const known = this.anchors.get(message.anchor);
    if (known === undefined) return;
    if (message.kind === "whole") this.whole(message, known);
    else if (message.kind === "delta") this.delta(message, known);
    else if (message.kind === "gone") this.gone(known);
    else if (message.kind === "closed") {
      // nothing more comes; whoever still looks at it asks again
      known.fresh = false;
      if (known.shown.some((each) => each.present)) this.send({ kind: "open", anchor: message.anchor });
    }
  }

  reply(message) {
    const waits = this.asked.get(message.number);
    if (waits === undefined) return; // of another page
    if (message.ok) {
      this.asked.delete(message.number);
      waits[0](message.value);
    } else this.failed(message.number, message.said ?? "That did not work.", message.problems ?? []);
  }

  whole(message, known) {
    const again = known.view !== null && known.what === message.what;
    Object.assign(known, { what: message.what, view: message.view, n: message.n, fresh: true, unknown: false });
    if (again) this.each(known, (drawn) => drawn.whole(message.view));
    const waiting = [...known.waiting];
    known.waiting.clear();
    for (const element of waiting) if (element.isConnected) this.show(message.anchor, known, element);
  }

  delta(message, known) {
    if (known.view === null || message.n <= known.n) return; // it is in the whole view that came, or that comes
    if (message.n !== known.n + 1) {
      if (known.fresh) this.send({ kind: "open", anchor: message.anchor });
      known.fresh = false;
      return;
    }
    known.n = message.n;
    known.view = applied(known.view, message);
    this.each(known, (drawn) => drawn.update(message));
  }

  // This kernel does not know it: the static form is what there is.
  gone(known) {
    for (const each of known.shown) each.destroy();
    Object.assign(known, { shown: [], view: null, fresh: false, unknown: true });
    known.waiting.clear();
  }

  each(known, act) {
    for (const each of known.shown) {
      try {
        act(each.drawn);
      } catch (error) {
        console.warn("romancy: an update could not be drawn:", error);
      }
    }
  }

  // The kernel or the model has gone: what is static can be read by everybody.
  end() {
    if (this.over) return;
    this.over = true;
    clearInterval(this.beat);
    window.removeEventListener("pagehide", this.away);
    clearTimeout(this.sweeping);
    this.observer?.disconnect();
    this.model.off("msg:custom", this.heard);
    this.model.off("comm_live_update", this.left);
    for (const number of [...this.asked.keys()]) this.failed(number, "The kernel has gone.");
    for (const known of this.anchors.values()) for (const each of known.shown) each.destroy();
    this.anchors.clear();
  }
}

// The hub of a kernel has no view; it finds its places in the page.
function initialize({ model }) {
  if (model.get("anchor")) return undefined;
  const hub = new Hub(model);
  hub.watch();
  return () => hub.end();
}

// Where a frontend shows no more than views, each display is one.
function render({ model, el }) {
  const anchor = model.get("anchor");
  if (!anchor) return undefined;
  const hub = new Hub(model);
  const place = make("div", { class: "rn-place", [MARK]: anchor });
  place.innerHTML = model.get("still") ?? ""; // made by fallback_html.py, which escapes what is not ours
  el.append(place);
  hub.found(place);
  return () => hub.end();
}

export default { initialize, render };
