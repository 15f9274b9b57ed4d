// module: dom
// gives: make, fresh, plural, shown, told, duration, moment, sealed, shade, copied, active, kinds
//
// What everything that draws here begins with: making elements, and values and times in words. Every text from outside goes
// through textContent.

const unique = Math.random().toString(36).slice(2, 10); // a page may hold this module several times
let counter = 0;

// What can be shown, by name: kinds[what] = (root, view, link) => ({ update(delta), whole(view), destroy() }).
// `link.ask(what, arguments)` is a question to the kernel and returns a promise.
const kinds = {};

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") node.textContent = value;
    else if (name === "on") for (const [event, heard] of Object.entries(value)) node.addEventListener(event, heard);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const fresh = (what) => `romancy-${unique}-${what}-${++counter}`;
const plural = (number, one, many) => `${number} ${number === 1 ? one : many}`;

function shown(value) {
  if (value === true) return "yes";
  if (value === false) return "no";
  if (value === null || value === undefined) return "nothing";
  return typeof value === "string" ? value : JSON.stringify(value);
}

// Words, and times (in ms) between them as the reader's own clock has them.
function told(pieces) {
  return pieces.map((piece) => {
    if (typeof piece === "string") return piece;
    const then = new Date(piece);
    const today = then.toDateString() === new Date().toDateString();
    const text = then.toLocaleString([], today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
    return make("time", { datetime: then.toISOString(), title: then.toISOString(), text });
  });
}

// How long something took, from µs: the words of words.py.
function duration(us) {
  if (us <= 0) return "0 ms";
  if (us < 1000) return "<1 ms";
  if (us < 999500) return `${Math.round(us / 1000)} ms`;
  if (us < 9950000) return `${(us / 1e6).toFixed(1)} s`;
  const two = (number) => String(number).padStart(2, "0");
  const [seconds, minutes] = [Math.round(us / 1e6), Math.round(us / 6e7)];
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
  const hours = Math.round(us / 3.6e9);
  return `${Math.floor(hours / 24)} d ${two(hours % 24)} h`;
}

// A point in time (µs) as the reader's own clock has it.
function moment(us) {
  const then = new Date(us / 1000);
  if (Number.isNaN(then.getTime())) return "off the calendar";
  const today = then.toDateString() === new Date().toDateString();
  return then.toLocaleString([], today ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "medium" });
}

// Put *text* where a paste takes it from; false where the browser does not let a page do that.
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const box = make("textarea", { style: "position:fixed;opacity:0", "aria-hidden": "true" });
    const before = document.activeElement;
    box.value = text;
    document.body.append(box);
    box.select();
    const done = document.execCommand("copy");
    box.remove();
    before?.focus({ preventScroll: true });
    return done;
  }
}

// What has the focus, also where a frontend puts us into a shadow tree.
const active = (node) => node.getRootNode().activeElement ?? document.activeElement;

// A frontend's own shortcuts must not take what is typed here.
function sealed(root) {
  root.setAttribute("data-lm-suppress-shortcuts", "true");
  for (const kind of ["keydown", "keyup", "keypress"]) root.addEventListener(kind, (event) => event.stopPropagation());
  return root;
}

// How bright a computed colour is, from 0 to 1, in whichever of the notations of CSS a browser writes it.
function brightness(colour) {
  const [first, second, third] = (colour.match(/(?<![\w-])[\d.]+/g) ?? [0, 0, 0]).map(Number);
  if (/^(ok)?l/.test(colour)) return colour.startsWith("ok") ? first : first / 100;
  return (0.3 * first + 0.6 * second + 0.1 * third) / (colour.startsWith("color(") ? 1 : 255);
}

// Where the frontend does not say whether it is dark (marimo puts widgets into a shadow tree), the colour of its text does.
function shade(root) {
  if (root.closest("[data-jp-theme-light], .vscode-light, .vscode-dark")) return;
  root.dataset.dark = String(brightness(getComputedStyle(root.parentElement).color) > 0.55);
}
