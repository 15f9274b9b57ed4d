// module: timeline_details
// gives: timelineDetails
//
// What there is to know of one step, asked of the kernel when somebody looks; and what can be done with it.

const WITH_RESULT = new Set(["activity", "child", "side_effect", "wait", "question"]);
const OUTCOMES = { ok: "completed", unknown: "may have run", abandoned: "left running" };

function section(title, ...content) {
  const kept = content.filter(Boolean);
  return kept.length ? make("section", { class: "rn-part" }, make("h4", { text: title }), ...kept) : null;
}

const folded = (title, content, open = false) => make("details", { class: "rn-fold", open }, make("summary", { text: title }), content);
const facts = (pairs) => make("dl", { class: "rn-facts" }, ...pairs.flatMap(([label, text]) => [make("dt", { text: label }), make("dd", { text })]));

function attempts(list) {
  if (list.length < 2 && !list.some((each) => each.error)) return null;
  return make("ol", { class: "rn-attempts" }, ...list.map((each) => {
    const [started, finished] = [each.started, each.finished];
    const took = finished !== null && finished !== undefined ? `, ${duration(finished - started)}` : "";
    const delay = each.delay_us ? `, after a wait of ${duration(each.delay_us)}` : "";
    const error = each.error && typeof each.error === "object" ? each.error : each.error ? { type: "", message: each.error } : null;
    const text = error ? [error.type, error.message].filter(Boolean).join(": ") : "";
    return make("li", { "data-outcome": each.outcome },
      make("div", {}, make("span", { text: `attempt ${each.number}: ${OUTCOMES[each.outcome] ?? each.outcome}${took}${delay}` })),
      text ? make("div", { class: "rn-error-line", text }) : null,
      each.traceback ? folded("Traceback", timelineText(each.traceback)) : null);
  }));
}

function outputs(list) {
  return list.map((each) => {
    if (each.kind === "image") return timelineValue({ kind: "image", mime: each.mime, data: each.data });
    return make("div", { class: each.name === "stderr" ? "rn-stderr" : "" }, timelineText(each.text ?? each.data ?? ""));
  });
}

function code(it) {
  if (!it) return null;
  if (!it.changed) return it.then ? section("Code", make("div", { class: "rn-faint", text: it.now === null ? "as it was then" : "unchanged since" }), folded("Show", timelineText(it.then), it.then.length < 500)) : null;
  return section("Code", make("div", { text: "It was edited since this step ran." }), it.diff ? timelineDiff(it.diff) : null,
    it.then ? folded("As it was then", timelineText(it.then)) : null, it.now ? folded("As it is now", timelineText(it.now)) : null,
    it.reads?.length ? make("div", { class: "rn-faint", text: `reads ${it.reads.map((each) => (typeof each === "string" ? each : shown(each))).join(", ")}` }) : null);
}

function key(text) {
  if (!text) return null;
  const button = make("button", { type: "button", text: "Copy" });
  button.addEventListener("click", async () => (button.textContent = (await copied(text)) ? "Copied" : "Select it and copy"));
  return section("Idempotency key", make("div", { class: "rn-copyable" }, make("code", { class: "rn-code", text }), button));
}

// The question's form, in place; what Python says to an answer stands beside the fields.
function question(row, asked, link) {
  if (!asked) return null;
  if (!asked.form || asked.form.status !== "open") return section("Question", make("div", { text: asked.text }), asked.form?.answer ? make("div", { text: asked.form.answer }) : null);
  const form = answerForm(asked.form, async (value) => {
    try {
      const reply = await link.ask("act", { action: "answer", id: row.id, arguments: { value } });
      form.accepted(reply?.said);
    } catch (error) {
      form.refused(error.problems ?? [], error.message || "Refused.");
    }
  });
  return section("Question", make("div", { class: "romancy-form", "data-status": "open" }, make("div", { class: "rn-question", text: asked.text }), form.node));
}

function waits(wait, acting) {
  if (!wait) return null;
  const form = timelineSend(...acting("send"), wait.event ?? "");
  return section("Waits for an event", form, wait.schema ? folded("What it must carry", timelineValue({ kind: "json", value: wait.schema })) : null);
}

function known(row) {
  return facts([
    ["started", moment(row.started)],
    ...(row.finished !== null ? [["took", duration(row.finished - row.started)]] : []),
    ...(row.due ? [["due", moment(row.due)]] : []),
    ...(row.cost ? [["cost", row.cost]] : []),
  ]);
}

function timelineDetails(store, link, closed) {
  const body = make("div", { class: "rn-detail-body" });
  const title = make("strong", { class: "rn-detail-title", id: fresh("details") });
  const close = make("button", { type: "button", class: "rn-close", "aria-label": "Close the details", title: "Close (Escape)", text: "✕", on: { click: () => closed() } });
  const node = make("aside", { class: "rn-details", role: "region", "aria-labelledby": title.id, hidden: true }, make("div", { class: "rn-detail-head" }, title, close), body);
  let [shownId, shownAs, turn, said] = ["", "", 0, null];

  const state = (row) => JSON.stringify([row.status, row.look, row.attempts.length, row.finished, row.actions]);

  function fill(row, found) {
    const acts = timelineActions(link, () => ({ id: row.id }), row.actions ?? [], {
      label: `What to do with ${row.name}`, edits: WITH_RESULT.has(row.kind), said, done: () => follow([row.id]),
    });
    const timing = [...(found?.timing ?? []), ...(found?.attributes ?? [])];
    const parts = [
      row.actions?.length ? acts.node : null,
      question(row, found?.question, link),
      waits(found?.wait, acts.acting),
      found?.error ? section("Error", timelineTrace(found.error)) : null,
      found?.input && found.input.kind !== "none" ? section("Input", timelineValue(found.input)) : null,
      found?.output && found.output.kind !== "none" ? section("Result", timelineValue(found.output)) : null,
      found?.attempts ? section("Attempts", attempts(found.attempts)) : null,
      found?.outputs?.length ? section("What it printed, logged and drew", ...outputs(found.outputs)) : null,
      code(found?.code),
      section("Timing", timing.length ? facts(timing) : known(row)),
      key(found?.key),
    ];
    body.replaceChildren(...parts.filter(Boolean));
    if (!row.actions?.length) body.append(acts.node);
    if (row.within) body.prepend(make("div", { class: "rn-faint", text: `A step of ${store.get(row.within)?.child}` }));
  }

  // What is being typed in is not drawn anew under a person's hands.
  const typing = () => {
    const form = body.querySelector("form");
    return form !== null && (form.contains(active(form)) || [...form.querySelectorAll("input, textarea")].some((each) => each.value && each.value !== each.defaultValue && each.type !== "radio"));
  };

  async function read(row, quiet) {
    const mine = ++turn;
    shownAs = state(row);
    if (!quiet) body.replaceChildren(make("div", { class: "rn-faint", role: "status", text: "Reading…" }));
    if (row.kind === "branch") return fill(row, null); // a heading: the journal has nothing of its own for it
    try {
      const found = await link.ask("details", row.within ? { id: row.inner, child: store.get(row.within).child } : { id: row.id });
      if (mine === turn) fill(row, found);
    } catch (error) {
      if (mine !== turn) return;
      fill(row, null);
      body.prepend(make("div", { class: "rn-wrong", role: "status", text: error.message || "The kernel could not say more." }));
    }
  }

  // A row was changed: what is shown of it is asked for again.
  function follow(ids) {
    if (node.hidden || !ids.includes(shownId)) return;
    const row = store.get(shownId);
    if (row && state(row) !== shownAs && !typing()) read(row, true);
  }

  return {
    node,
    open(id) {
      const row = store.get(id);
      if (!row || row.kind === "lane") return;
      shownId = id;
      said = timelineSaid(); // stays when what was done changes the row, and the rest is drawn anew
      node.hidden = false;
      title.textContent = row.label || row.name;
      read(row, false);
    },
    follow,
    close() {
      turn++;
      shownId = "";
      node.hidden = true;
      body.replaceChildren();
    },
    shown: () => shownId,
  };
}
