// module: fields
// gives: answerForm
//
// The fields of a question. Python reads the schema and says, field by field, what is asked for (widgets/fields.py); this draws the
// fields, checks what it can, hands on the answer, and shows what Python says to it.
//
// A control is { node, read(path, sink), focus(), complain(text) }. `read` returns the value, or undefined where it is left out,
// puts itself into sink.places under its path, and what is wrong with it into sink.problems. The paths of lists change while
// people add and remove entries, so they exist only in a reading.

const SLOW = 2500; // ms after which a person is told why nothing happens
const RADIOS = 6; // choices that are shown side by side
const under = (path, name) => (path === "" ? String(name) : `${path}.${name}`);

// -- what is wrong with a value, in the words of definitions/misfits.py ------------------------------------------------------

function wrongNumber(value, limits) {
  if ("minimum" in limits && value < limits.minimum) return `must be at least ${limits.minimum}`;
  if ("exclusiveMinimum" in limits && value <= limits.exclusiveMinimum) return `must be more than ${limits.exclusiveMinimum}`;
  if ("maximum" in limits && value > limits.maximum) return `must be at most ${limits.maximum}`;
  if ("exclusiveMaximum" in limits && value >= limits.exclusiveMaximum) return `must be less than ${limits.exclusiveMaximum}`;
  if (limits.multipleOf) {
    const times = value / limits.multipleOf;
    if (Math.abs(times - Math.round(times)) > 1e-9) return `must be a multiple of ${limits.multipleOf}`;
  }
  return "";
}

function wrongText(value, limits) {
  const length = [...value].length;
  if ("minLength" in limits && length < limits.minLength)
    return `must have at least ${plural(limits.minLength, "character", "characters")}`;
  if ("maxLength" in limits && length > limits.maxLength)
    return `must have at most ${plural(limits.maxLength, "character", "characters")}`;
  if ("pattern" in limits) {
    const pattern = compiled(limits.pattern);
    if (pattern && !pattern.test(value)) return `must match the pattern ${limits.pattern}`;
  }
  return "";
}

function compiled(pattern) {
  for (const flags of ["u", ""]) {
    try {
      return new RegExp(pattern, flags);
    } catch {
      // Python knows patterns that browsers do not: then Python checks
    }
  }
  return null;
}

function wrongLength(entries, limits) {
  if ("minItems" in limits && entries < limits.minItems)
    return `must have at least ${plural(limits.minItems, "entry", "entries")}`;
  if ("maxItems" in limits && entries > limits.maxItems)
    return `must have at most ${plural(limits.maxItems, "entry", "entries")}`;
  return "";
}

// -- the frame around a control: its label, its help, and what is wrong with it ---------------------------------------------

function optionalMark(field) {
  return field.required === false ? make("span", { class: "rn-faint", text: " (optional)" }) : null;
}

// A label beside one input.
function row(field, input, extra = null) {
  const [id, helpId, problemId] = [fresh("field"), fresh("help"), fresh("problem")];
  input.id = id;
  const problem = make("div", { class: "rn-problem", id: problemId, hidden: true });
  const help = helped(field);
  input.setAttribute("aria-describedby", help ? `${problemId} ${helpId}` : problemId);
  const name = field.label || "Answer";
  const node = make(
    "div",
    { class: "rn-row" },
    make("label", { for: id, class: "rn-label" }, make("span", { text: name }), optionalMark(field)),
    make("div", { class: "rn-control" }, input, extra, problem, help ? make("div", { class: "rn-help", id: helpId, text: help }) : null),
  );
  return { node, ...spoken(problem, [input]), focus: () => input.focus() };
}

// A legend above several inputs.
function group(field, body, { inputs = [], plain = false } = {}) {
  const [helpId, problemId, text] = [fresh("help"), fresh("problem"), helped(field)];
  const problem = make("div", { class: "rn-problem", id: problemId, hidden: true });
  const help = text ? make("div", { class: "rn-help", id: helpId, text }) : null;
  const node = make(
    "fieldset",
    { class: plain ? "rn-row rn-choices" : "rn-group", "aria-describedby": text ? `${problemId} ${helpId}` : problemId },
    make("legend", { class: "rn-label" }, make("span", { text: field.label || "Answer" }), optionalMark(field)),
    make("div", { class: "rn-control" }, ...(plain ? [body, problem, help] : [help, body, problem])),
  );
  const focus = () => node.querySelector("input, select, textarea, button")?.focus();
  return { node, ...spoken(problem, inputs), focus };
}

function spoken(problem, inputs) {
  return {
    complain(text) {
      problem.textContent = text;
      problem.hidden = text === "";
      for (const input of inputs) {
        if (text) input.setAttribute("aria-invalid", "true");
        else input.removeAttribute("aria-invalid");
      }
    },
  };
}

// The help that was written for a field, and what its value must keep to.
function helped(field) {
  return [field.help, field.bounds].filter(Boolean).join(" · ");
}

// -- controls ----------------------------------------------------------------------------------------------------------------

// What an empty input means: nothing for what is optional, the default for what may be left out, else a mistake.
function empty(field, self, path, sink) {
  if (field.nullable) return null;
  if (field.required === false) return undefined;
  sink.problems.push([path, "is required"]);
  return undefined;
}

function written(field, input, convert, extra = null) {
  const self = row(field, input, extra);
  if (field.default !== undefined && field.default !== null) input.value = shown(field.default);
  self.read = (path, sink) => {
    sink.places.set(path, self);
    if (input.validity?.badInput) {
      sink.problems.push([path, { integer: "must be a whole number", number: "must be a number" }[field.kind] ?? "is not complete"]);
      return undefined;
    }
    const cleared = typeof field.default === "string" && field.default !== "" && field.kind.endsWith("text");
    if (input.value === "" && !(cleared && !field.nullable)) return empty(field, self, path, sink);
    const { value, wrong } = convert(input.value);
    if (wrong) sink.problems.push([path, wrong]);
    return value;
  };
  return self;
}

function numeric(field) {
  const limits = field.limits ?? {};
  const whole = field.kind === "integer";
  const input = make("input", {
    type: "number",
    step: whole ? (limits.multipleOf ?? 1) : "any",
    min: limits.minimum ?? limits.exclusiveMinimum,
    max: limits.maximum ?? limits.exclusiveMaximum,
    inputmode: whole ? "numeric" : "decimal",
  });
  return written(field, input, (text) => {
    const value = Number(text);
    if (!Number.isFinite(value)) return { wrong: "must be a number" };
    if (whole && !Number.isInteger(value)) return { wrong: "must be a whole number" };
    if (whole && !Number.isSafeInteger(value)) return { wrong: "is too large for a browser: answer it in Python or in a terminal" };
    return { value, wrong: wrongNumber(value, limits) };
  });
}

function textual(field) {
  const long = field.kind === "long text";
  const input = long ? make("textarea", { rows: 3 }) : make("input", { type: "text", autocomplete: "off" });
  return written(field, input, (value) => ({ value, wrong: wrongText(value, field.limits ?? {}) }));
}

function temporal(field) {
  if (field.kind !== "datetime") {
    return written(field, make("input", { type: field.kind }), (value) => ({ value }));
  }
  const input = make("input", { type: "datetime-local" });
  const offset = -new Date().getTimezoneOffset();
  const sign = offset < 0 ? "-" : "+";
  const two = (number) => String(number).padStart(2, "0");
  const here = `${sign}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  const zone = make("select", { "aria-label": `${field.label || "Answer"}: time zone` });
  for (const [value, text] of [["", "no time zone"], ["Z", "UTC"], [here, `UTC${here}, this browser's`]]) {
    if (value !== "+00:00") zone.append(make("option", { value, text }));
  }
  const self = written(field, input, (value) => ({ value: value + zone.value }), zone);
  if (typeof field.default === "string") input.value = field.default.slice(0, 16);
  return self;
}

function choice(field) {
  const choices = field.kind === "boolean" ? [true, false] : field.choices;
  const values = field.nullable ? [...choices, null] : choices;
  const chosen = field.default === undefined ? -1 : values.findIndex((value) => value === field.default);
  if (values.length > RADIOS) {
    const input = make("select", {}, make("option", { value: "", text: "choose…" }));
    values.forEach((value, index) => input.append(make("option", { value: String(index), text: shown(value) })));
    const self = row(field, input);
    if (chosen >= 0) input.value = String(chosen);
    self.read = (path, sink) => {
      sink.places.set(path, self);
      return input.value === "" ? empty({ ...field, nullable: false }, self, path, sink) : values[Number(input.value)];
    };
    return self;
  }
  const name = fresh("radio");
  const inputs = values.map((value, index) => make("input", { type: "radio", name, value: String(index), checked: index === chosen }));
  const body = make(
    "div",
    { class: "rn-options" },
    ...values.map((value, index) => make("label", { class: "rn-option" }, inputs[index], make("span", { text: shown(value) }))),
  );
  const self = group(field, body, { inputs, plain: true });
  self.read = (path, sink) => {
    sink.places.set(path, self);
    const index = inputs.findIndex((input) => input.checked);
    return index < 0 ? empty({ ...field, nullable: false }, self, path, sink) : values[index];
  };
  return self;
}

function several(field) {
  const picked = Array.isArray(field.default) ? field.default : [];
  const inputs = field.choices.map((value) => make("input", { type: "checkbox", checked: picked.includes(value) }));
  const body = make(
    "div",
    { class: "rn-options" },
    ...field.choices.map((value, index) => make("label", { class: "rn-option" }, inputs[index], make("span", { text: shown(value) }))),
  );
  const self = group(field, body, { inputs, plain: true });
  self.read = (path, sink) => {
    sink.places.set(path, self);
    const value = field.choices.filter((_, index) => inputs[index].checked);
    const wrong = wrongLength(value.length, field.limits ?? {});
    if (wrong) sink.problems.push([path, wrong]);
    return value;
  };
  return self;
}

function json(field) {
  const input = make("textarea", { rows: 3, class: "rn-code", spellcheck: "false", placeholder: "JSON" });
  const self = written({ ...field, default: undefined }, input, (text) => {
    try {
      return { value: JSON.parse(text) };
    } catch (error) {
      return { wrong: `is no JSON: ${error.message}` };
    }
  });
  if (field.default !== undefined && field.default !== null) input.value = JSON.stringify(field.default, null, 1);
  return self;
}

function constant(field) {
  const self = { node: make("div", { class: "rn-constant", hidden: true }), focus() {}, complain() {} };
  self.read = (path, sink) => {
    sink.places.set(path, self);
    return field.default ?? null;
  };
  return self;
}

// What is there or not: simple things are left empty, others are switched on.
function optional(field) {
  const inner = { ...field.fields[0], name: field.name, label: field.label, help: field.help || field.fields[0].help };
  inner.nullable = true;
  inner.required = field.required;
  inner.default = field.default;
  if (!["object", "list", "tuple", "union", "choices", "constant"].includes(inner.kind)) return control(inner);
  const held = make("input", { type: "checkbox", checked: field.default !== undefined && field.default !== null });
  const body = make("div", { class: "rn-inner" });
  const self = group({ ...field, help: "" }, make("div", {}, make("label", { class: "rn-option" }, held, make("span", { text: "fill in" })), body));
  let filled = null;
  const follow = () => {
    filled = !held.checked ? null : inner.kind === "object" ? object(inner, { bare: true }) : control(inner);
    body.replaceChildren(...(filled ? [filled.node] : []));
  };
  held.addEventListener("change", follow);
  follow();
  self.read = (path, sink) => {
    const value = filled ? filled.read(path, sink) : null;
    if (!filled) sink.places.set(path, self);
    return value;
  };
  return self;
}

function fieldsOf(field, given) {
  return (field.fields ?? []).map((each) => {
    const known = given && typeof given === "object" && each.name in given;
    return [each, control(known ? { ...each, default: given[each.name] } : each)];
  });
}

function object(field, { bare = false } = {}) {
  const inside = fieldsOf(field, field.default);
  const body = make("div", { class: "rn-fields" }, ...inside.map(([, each]) => each.node));
  const self = bare ? bareGroup(field, body) : group(field, body);
  self.read = (path, sink) => {
    sink.places.set(path, self);
    const value = {};
    for (const [each, part] of inside) {
      const read = part.read(under(path, each.name), sink);
      if (read !== undefined) value[each.name] = read;
    }
    return value;
  };
  return self;
}

// The answer as a whole: its fields stand for themselves.
function bareGroup(field, body) {
  const problem = make("div", { class: "rn-problem", hidden: true });
  const help = field.help ? make("div", { class: "rn-help rn-intro", text: field.help }) : null;
  return { node: make("div", {}, help, body, problem), ...spoken(problem, []), focus: () => body.querySelector("input, select, textarea")?.focus() };
}

function tuple(field) {
  const parts = field.fields.map((each, index) => control({ ...each, label: each.label || `${index + 1}`, default: field.default?.[index] ?? each.default }));
  const self = group(field, make("div", { class: "rn-fields" }, ...parts.map((part) => part.node)));
  self.read = (path, sink) => {
    sink.places.set(path, self);
    return parts.map((part, index) => part.read(under(path, index), sink));
  };
  return self;
}

function list(field) {
  const limits = field.limits ?? {};
  const entries = make("div", { class: "rn-entries" });
  const parts = [];
  const add = (given) => {
    const number = parts.length + 1;
    const template = field.fields[0];
    const part = control({ ...template, label: template.label || `Entry ${number}`, ...(given === undefined ? {} : { default: given }) });
    const entry = make("div", { class: "rn-entry" }, part.node);
    const remove = () => {
      const index = parts.indexOf(part);
      parts.splice(index, 1);
      entry.remove();
      number_();
      (parts[Math.min(index, parts.length - 1)] ?? { focus: () => more.focus() }).focus();
    };
    const button = make("button", { type: "button", class: "rn-remove", text: "Remove", on: { click: remove } });
    entry.append(button);
    parts.push(part);
    part.button = button;
    part.numbered = template.label ? null : part.node.querySelector(".rn-label > span");
    entries.append(entry);
    number_();
    return part;
  };
  const number_ = () =>
    parts.forEach((part, index) => {
      if (part.numbered) part.numbered.textContent = `Entry ${index + 1}`;
      part.button.setAttribute("aria-label", `Remove entry ${index + 1} of ${field.label || "the list"}`);
    });
  const more = make("button", { type: "button", class: "rn-more", text: "Add an entry", on: { click: () => add().focus() } });
  const self = group(field, make("div", {}, entries, more));
  const given = Array.isArray(field.default) ? field.default : Array(Math.min(limits.minItems ?? 0, 20)).fill(undefined);
  given.forEach((value) => add(value));
  self.read = (path, sink) => {
    sink.places.set(path, self);
    const wrong = wrongLength(parts.length, limits);
    if (wrong) sink.problems.push([path, wrong]);
    return parts.map((part, index) => part.read(under(path, index), sink));
  };
  return self;
}

function union(field) {
  const names = field.fields.map((each) => each.label || each.expects);
  const picker = make("select", { "aria-label": `${field.label || "Answer"}: which kind` });
  names.forEach((name, index) => picker.append(make("option", { value: String(index), text: name })));
  const body = make("div", {});
  const self = group(field, make("div", {}, picker, body));
  let part = null;
  const follow = () => {
    const each = field.fields[Number(picker.value)];
    part = each.kind === "object" ? object(each, { bare: true }) : control({ ...each, label: each.label || names[Number(picker.value)] });
    body.replaceChildren(part.node);
  };
  picker.addEventListener("change", follow);
  follow();
  self.read = (path, sink) => part.read(path, sink);
  return self;
}

function control(field) {
  const makers = {
    boolean: choice, choice, choices: several, integer: numeric, number: numeric, text: textual, "long text": textual, date: temporal,
    time: temporal, datetime: temporal, list, tuple, object, optional, union, constant, json,
  };
  return (makers[field.kind] ?? json)(field);
}

// -- the form ----------------------------------------------------------------------------------------------------------------

function ways(form) {
  return make(
    "details",
    { class: "rn-ways" },
    make("summary", { text: "Answer it from anywhere" }),
    ...form.ways.map(([where, command]) => make("div", {}, make("div", { class: "rn-faint", text: where }), make("code", { text: command }))),
  );
}

// The fields of *form*, a button, and the other ways to answer; `send(value)` hands the answer on.
function answerForm(form, send) {
  const root = form.root.kind === "object" ? object(form.root, { bare: true }) : control({ ...form.root, label: form.root.label || "Your answer" });
  const status = make("div", { class: "rn-status", role: "status", "aria-live": "polite" });
  const button = make("button", { type: "submit", class: "rn-send", text: "Send answer" });
  const node = make("form", { novalidate: true }, root.node, make("div", { class: "rn-actions" }, button, status), ways(form));
  let sink = { places: new Map(), problems: [] };
  let slow = 0;

  const say = (text, wrong = false) => {
    status.textContent = text;
    status.classList.toggle("rn-wrong", wrong);
  };
  const free = () => {
    clearTimeout(slow);
    button.disabled = false;
    node.removeAttribute("aria-busy");
  };
  const complain = (problems, otherwise) => {
    const homeless = [];
    let first = null;
    for (const place of sink.places.values()) place.complain("");
    for (const [path, reason] of problems) {
      const place = nearest(sink.places, path);
      if (place) place.complain(reason);
      else homeless.push(path ? `${path} ${reason}` : reason);
      first ??= place;
    }
    const many = plural(problems.length, "field needs", "fields need");
    say(homeless.join("; ") || (problems.length ? `Not sent: ${many} another look.` : otherwise), true);
    first?.focus();
  };

  node.addEventListener("submit", (event) => {
    event.preventDefault();
    if (button.disabled) return;
    for (const place of sink.places.values()) place.complain("");
    sink = { places: new Map(), problems: [] };
    const value = root.read("", sink);
    if (sink.problems.length) return complain(sink.problems, "");
    button.disabled = true;
    node.setAttribute("aria-busy", "true");
    say("Sending…");
    slow = setTimeout(() => say("Sent. The kernel is busy, or gone: the answer is taken when it is free. In a terminal it counts at once, see below."), SLOW);
    send(value === undefined ? null : value);
  });

  return {
    node,
    stop: () => clearTimeout(slow),
    accepted(said) {
      clearTimeout(slow);
      say(said || "Recorded.");
    },
    refused(problems, said) {
      free();
      complain(problems, said);
    },
  };
}

function nearest(places, path) {
  for (let at = path; ; at = at.slice(0, Math.max(at.lastIndexOf("."), 0))) {
    if (places.has(at)) return places.get(at);
    if (at === "") return null;
  }
}
