// module: timeline_head
// gives: timelineHead, timelineActions, timelineSaid, timelineSend
//
// What stands above the rows: what run this is, how it stands, what to do next, and the buttons for that.

const RUN_MARKS = {
  completed: "✓", failed: "✗", running: "▶", waiting: "◷", paused: "‖", interrupted: "‖", stuck: "≠", cancelled: "⊘", compensating: "↩",
  compensated: "↩", compensation_failed: "✗", recurred: "⤷",
};
const REASONS = { edited: "after an edit", again: "started again", retry: "after a failure", parted: "since the code no longer fitted", fork: "a fork" };
// What a button says; where what it does cannot be taken back, what it asks first.
const ACTIONS = {
  resume: ["Resume"], cancel: ["Cancel the run", "Cancel it? What completed may be undone."], compensate: ["Undo the run", "Undo every completed step now?"],
  send: ["Send an event"], retry: ["Retry this step"], skip: ["Skip", "Leave this as it is?"], done: ["Note as done", "Note it as done, by hand?"],
  fork: ["Fork from here"], resolve: ["Say what became of it"], code: ["Copy as code"],
};
const BY_FORM = new Set(["answer", "resolve", "send"]); // what they do is in what is typed

const timelineSaid = () => make("div", { class: "rn-said-of", role: "status", "aria-live": "polite" });

// Buttons for *names*, and a line that says what came of each. ask(what, arguments) goes to the kernel; target() is {id} or {}; *edits*
// says that the step has a result, which a fork may replace; *said* is that line, where it outlives the buttons.
function timelineActions(link, target, names, { label, edits = false, said = timelineSaid(), done = () => {} }) {
  const extra = make("div", { class: "rn-extra" });
  const buttons = make("div", { class: "rn-buttons", role: "group", "aria-label": label });
  const node = make("div", { class: "rn-acting" }, buttons, extra, said);
  const say = (text, wrong = false) => {
    said.textContent = text;
    said.classList.toggle("rn-wrong", wrong);
  };
  const act = async (action, given = {}) => {
    say("Asked…");
    node.setAttribute("aria-busy", "true");
    try {
      const value = await link.ask("act", { action, ...target(), arguments: given });
      say(value?.said ?? "Done.");
      extra.replaceChildren();
    } catch (error) {
      say(error.message || String(error), true);
    }
    node.removeAttribute("aria-busy");
    done();
  };
  const sure = (action, question) => {
    const yes = make("button", { type: "button", class: "rn-danger", text: ACTIONS[action][0], on: { click: () => act(action) } });
    const no = make("button", { type: "button", text: "No", on: { click: () => back(action) } });
    extra.replaceChildren(make("div", { class: "rn-sure" }, make("span", { text: question }), yes, no));
    no.focus();
  };
  const back = (action) => {
    extra.replaceChildren();
    buttons.querySelector(`[data-action="${action}"]`)?.focus();
  };
  const code = (action, given, where) => codes(link, target, [[action, given]], where, say);
  const acting = (action) => [(given) => act(action, given), (given, where) => code(action, given, where)];
  const pressed = (action) => {
    if (action === "send") extra.replaceChildren(timelineSend(...acting("send"), ""));
    else if (action === "resolve") extra.replaceChildren(resolving(...acting("resolve")));
    else if (action === "fork") extra.replaceChildren(forking(...acting("fork"), edits));
    else if (action === "code") codes(link, target, names.filter((name) => name === "code" || !BY_FORM.has(name)).map((name) => [name]), extra, say);
    else if (ACTIONS[action]?.[1]) sure(action, ACTIONS[action][1]);
    else act(action);
    extra.querySelector("select, input, textarea")?.focus();
  };
  const own = names.filter((name) => name !== "answer");
  for (const name of own.length && !own.includes("code") ? [...own, "code"] : own) {
    buttons.append(make("button", { type: "button", "data-action": name, text: ACTIONS[name]?.[0] ?? name.replaceAll("_", " "), on: { click: () => pressed(name) } }));
  }
  return { node, acting };
}

// A form: what *read* makes of its fields is done, or shown as code below it.
function asking(fields, submit, read, act, code) {
  const below = make("div", { class: "rn-wide" });
  const problem = make("div", { class: "rn-problem-of rn-wide", role: "alert" });
  const tried = (then) => {
    problem.textContent = "";
    try {
      then(read(), below);
    } catch (error) {
      problem.textContent = error instanceof SyntaxError ? `This is no JSON: ${error.message}` : error.message;
    }
  };
  const form = make("form", { class: "rn-send-event", novalidate: true }, ...fields, make("div", { class: "rn-buttons rn-wide" },
    make("button", { type: "submit", text: submit }), make("button", { type: "button", text: "Copy this as code", on: { click: () => tried(code) } })), problem, below);
  form.addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    tried(act);
  });
  return form;
}

const field = (tag, label, more = {}) => make(tag, { "aria-label": label, placeholder: label, spellcheck: "false", autocomplete: "off", ...more });

// An event with what it carries, in JSON.
function timelineSend(act, code, event) {
  const name = field("input", "Name of the event", { value: event });
  const payload = field("textarea", "What it carries, as JSON, or nothing", { rows: 2, class: "rn-code" });
  return asking([name, payload], "Send", () => {
    if (!name.value.trim()) throw new Error("an event has a name");
    return { event: name.value.trim(), payload: payload.value.trim() ? JSON.parse(payload.value) : null };
  }, act, code);
}

// What became of a step that may have run.
function resolving(act, code) {
  const outcomes = { executed: "It ran, with this result", failed: "It failed, with this error", not_executed: "It did not run" };
  const outcome = make("select", { "aria-label": "What became of it" }, ...Object.entries(outcomes).map(([value, text]) => make("option", { value, text })));
  const result = field("input", "Its result (JSON), or the error", { class: "rn-code" });
  const note = field("input", "A note: how do you know?", { class: "rn-wide" });
  outcome.addEventListener("change", () => (result.hidden = outcome.value === "not_executed"));
  return asking([outcome, result, note], "Note it, and go on", () => ({
    outcome: outcome.value, note: note.value.trim(), resume: true, ...(result.hidden || !result.value.trim() ? {} : { text: result.value.trim() }) }), act, code);
}

// Where a fork begins: with this step, or behind it, with a result that a person gives.
function forking(act, code, edits) {
  const result = field("textarea", "Another result of this step (JSON); empty: the fork does it anew", { rows: 2, class: "rn-code rn-wide" });
  return asking(edits ? [result] : [make("div", { class: "rn-wide", text: "The fork does this step anew." })], "Fork",
    () => (result.value.trim() ? { text: result.value.trim() } : {}), act, code);
}

// The Python and the magic that do what the buttons do, one block for each.
async function codes(link, target, wanted, where, say) {
  const replies = await Promise.allSettled(wanted.map(([action, given]) => link.ask("code", { ...target(), action, arguments: given })));
  const found = wanted.map(([action], index) => [action, replies[index].value?.code]).filter(([, code]) => code);
  if (!found.length) return say(replies[0]?.reason?.message ?? "There is no code for this.", true);
  const blocks = found.map(([action, code]) => {
    const copy = make("button", { type: "button", text: "Copy" });
    copy.addEventListener("click", async () => (copy.textContent = (await copied(code)) ? "Copied" : "Select it and copy"));
    const label = action === "code" ? "This call" : (ACTIONS[action]?.[0] ?? action);
    return make("div", {}, make("div", { class: "rn-faint", text: label }), make("div", { class: "rn-copyable" }, make("pre", { class: "rn-code", tabindex: "0", text: code }), copy));
  });
  where.replaceChildren(...blocks);
  if (found.length === 1 && (await copied(found[0][1]))) say("Copied.");
}

function timelineHead(store, link, choose) {
  const name = make("strong", { class: "rn-title", role: "heading", "aria-level": "3" });
  const badge = make("span", { class: "rn-badge-of" });
  const title = make("span", { class: "rn-faint" });
  const tabs = make("div", { class: "rn-tabs", role: "tablist", "aria-label": "Runs of this instance" });
  const said = make("div", { class: "rn-summary" });
  const about = make("div", { class: "rn-faint rn-about-run" });
  const problem = make("div", { class: "rn-problem-box" });
  const live = make("div", { class: "rn-hear", role: "status", "aria-live": "polite" });
  const actions = make("div");
  const far = make("div", { class: "rn-far", hidden: true }, make("div", { class: "rn-far-bar", role: "progressbar", "aria-label": "How far the run is" }, make("div")), make("span"));
  const node = make("div", { class: "rn-head" }, make("div", { class: "rn-line" }, name, badge, title), tabs, said, far, about, problem, actions, live);
  let [heard, acted, runs] = ["", "", ""];

  const drawTabs = (view) => {
    const all = view.runs ?? [];
    const text = JSON.stringify([all, view.number]);
    if (text === runs) return;
    runs = text;
    const had = tabs.contains(active(tabs));
    tabs.hidden = all.length < 2;
    tabs.replaceChildren(...all.map((run) =>
      make("button", {
        type: "button", role: "tab", "aria-selected": String(run.number === view.number), tabindex: run.number === view.number ? "0" : "-1", "data-status": run.status,
        title: REASONS[run.reason] ?? "", on: { click: () => choose(run.number) },
      }, make("span", { class: "rn-mark", "aria-hidden": "true", text: RUN_MARKS[run.status] ?? "•" }), ` run ${run.number} `, make("span", { class: "rn-faint", text: run.words ?? run.status }))));
    if (had) tabs.querySelector("[aria-selected=true]")?.focus();
  };
  tabs.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const all = [...tabs.children];
    all[(all.indexOf(active(tabs)) + step + all.length) % all.length]?.focus();
    event.preventDefault();
  });

  // A map's rows, counted; the bar is there while the map is.
  const drawFar = (it) => {
    far.hidden = !it;
    if (!it) return;
    const share = it.total ? Math.min(100, (100 * it.done) / it.total) : 0;
    far.firstChild.setAttribute("aria-valuenow", String(Math.round(share)));
    far.firstChild.firstChild.style.width = `${share}%`;
    far.lastChild.textContent = progressWords(it);
  };

  return {
    node,
    draw() {
      const { view } = store;
      drawFar(view.progress);
      name.textContent = view.workflow;
      badge.dataset.status = view.status;
      badge.replaceChildren(make("span", { "aria-hidden": "true", text: `${RUN_MARKS[view.status] ?? "•"} ` }), view.words);
      const reason = REASONS[(view.runs ?? []).find((run) => run.number === view.number)?.reason];
      title.textContent = `run ${view.number}${reason ? `, ${reason}` : ""}`;
      drawTabs(view);
      about.replaceChildren(`${view.instance} · started `, make("time", { datetime: new Date(view.started / 1000).toISOString(), text: moment(view.started) }),
        ...(view.notebook ? [" · ", make("span", { title: view.notebook, text: view.notebook.split(/[\\/]/).at(-1) })] : []), ...(view.output && view.output !== "None" ? [" → ", make("code", { text: view.output })] : []));
      problem.hidden = !view.problem && !view.hint;
      problem.dataset.status = view.status;
      problem.replaceChildren(...[view.problem, view.hint].filter(Boolean).map((text) => make("div", { text })));
      const wanted = JSON.stringify(view.actions ?? []);
      if (wanted !== acted) {
        acted = wanted;
        actions.replaceChildren(...(view.actions?.length ? [timelineActions(link, () => ({}), view.actions, { label: "What to do with this run" }).node] : []));
      }
      const news = `${view.workflow}, run ${view.number}: ${view.words}`;
      if (heard && news !== heard) live.textContent = news;
      heard = news;
      this.tick();
    },
    tick() {
      const { view } = store;
      const verb = view.finished !== null ? "took" : view.live ? "so far" : "stopped after"; // as marks.summary has it
      const text = [...(view.summary ?? []), `${verb} ${duration((view.finished ?? store.now()) - view.started)}`].join(" · ");
      if (said.textContent !== text) said.textContent = text;
    },
  };
}
